"""What a log promises about the accounts beside it, on every engine."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest
from msgspec import structs

from es_goals.events import PasswordChanged, TokenIssued, UserRegistered, UserRenamed, account_stream
from es_goals.storage.errors import CredentialTaken, UserNameTaken
from es_goals.storage.log import Cause, Credential, Identity, Log, Password, Token, Transaction, User
from es_goals.storage.writer import Writer
from tests.support.engines import DEADLINE, NOW, Engine
from tests.support.histories import START

CAUSE = Cause("command")
ANN = User("ann", "Ann", "ann@example.org", NOW)
BOB = User("bob", "Bob", None, NOW + 1, "auditor", NOW + 2, NOW + 3)
EVE = User("eve", "Ève 🏃", None, 2**53 + 1, "administrator")
NOWHERE = ["", "nobody", "a\0b", "\ud800", "\udcff", "x" * 100_000]
"""What nothing is found under: PostgreSQL cannot even be asked for some of them."""


@pytest.fixture
def log(engine: Engine) -> Log:
    """With Ann, Bob and Eve."""
    log = engine.open().log
    with log.writing() as transaction:
        for user in (EVE, ANN, BOB):
            transaction.add_user(user)
    return log


def add(log: Log, *credentials: Credential) -> None:
    with log.writing() as transaction:
        for credential in credentials:
            transaction.add(credential)


def change(log: Log, user: User) -> None:
    with log.writing() as transaction:
        transaction.change_user(user)


def token(number: int, user_id: str = "ann") -> Token:
    """One whose number tells its place."""
    return Token(f"token-{number:04}", user_id, f"on my 💻 {number}", "write", f"{number:064x}", NOW, NOW + number)


# Users.


def test_users_are_kept_with_all_that_is_known_of_them(log: Log, engine: Engine) -> None:
    for one in (log, engine.open().log):
        assert one.users() == [ANN, BOB, EVE]
        assert [one.user("bob"), one.user_named("ÈVE 🏃")] == [BOB, EVE]


@pytest.mark.parametrize("role", ["", "User", "root", "administrator "])
def test_a_user_of_a_role_that_there_is_not_is_refused(log: Log, role: str) -> None:
    with pytest.raises(UserNameTaken), log.writing() as transaction:
        transaction.add_user(User("zoe", "Zoe", None, NOW, role))

    assert log.users() == [ANN, BOB, EVE]


def test_what_may_change_of_a_user_does_and_the_rest_does_not(log: Log) -> None:
    changed = User("ann", "Anna", None, NOW, "user", NOW + 5, 2**53 + 1)
    change(log, structs.replace(changed, created_at=1, role="administrator"))
    found = [log.user("ann"), log.user_named("ANNA"), log.user_named("Ann")]
    change(log, ANN)

    assert found == [changed, changed, None]
    assert log.users() == [ANN, BOB, EVE]


def test_a_name_that_another_user_has_is_refused_whatever_its_case_and_nothing_is_changed(log: Log) -> None:
    for name in ("Bob", "bOB", "ＢＯＢ"):
        with log.writing() as transaction:
            with pytest.raises(UserNameTaken, match=f"found '{name}'"):
                transaction.change_user(structs.replace(ANN, name=name, email=None))
            assert transaction.user("ann") == ANN

    assert log.users() == [ANN, BOB, EVE]


def test_a_user_may_write_the_name_in_another_case(log: Log) -> None:
    change(log, structs.replace(ANN, name="aNN"))

    assert log.user_named("Ann") == structs.replace(ANN, name="aNN")


def test_a_name_that_was_given_up_is_anybodys(log: Log) -> None:
    with log.writing() as transaction:
        transaction.change_user(structs.replace(ANN, name="Anna"))
        transaction.change_user(structs.replace(BOB, name="ann"))
    with log.writing() as transaction:
        transaction.add_user(User("zoe", "bob", None, NOW))

    assert [user.name for user in log.users()] == ["Anna", "ann", "Ève 🏃", "bob"]
    assert [getattr(log.user_named(name), "id", None) for name in ("ANN", "ANNA", "BOB")] == ["bob", "ann", "zoe"]


def test_changing_nobody_changes_nobody(log: Log) -> None:
    change(log, User("nobody", "Nobody", None, NOW))

    assert log.users() == [ANN, BOB, EVE]


# Credentials.


def test_credentials_are_kept_whole(log: Log, engine: Engine) -> None:
    kept: list[Credential] = [Password("ann", "$argon2id$é"), token(1), token(2, "bob"), Identity("issuer é 🏃", "bob")]
    kept[2] = structs.replace(token(2, "bob"), scope="read", name="", expires_at=2**53 + 1, revoked_at=NOW)
    add(log, *kept)

    for one in (log, engine.open().log):
        assert [
            one.password("ann"),
            one.token(token(1).hash),
            one.token(token(2).hash),
            one.identity("issuer é 🏃"),
        ] == kept
        assert [one.password("bob"), one.token("token-0001"), one.identity("bob")] == [None] * 3
        assert [*one.credentials(Password), *one.credentials(Token), *one.credentials(Identity)] == kept


@pytest.mark.parametrize("text", NOWHERE, ids=lambda text: ascii(text[:9]))
def test_what_nothing_can_be_kept_under_is_not_found(log: Log, text: str) -> None:
    add(log, Password("ann", "hash"), token(1), Identity("issuer subject", "ann"))
    with log.writing() as transaction:
        transaction.append(account_stream("ann"), 0, [UserRegistered("ann")], CAUSE)
        for one in (log, transaction):
            assert [one.password(text), one.token(text), one.identity(text)] == [None] * 3
        transaction.append(account_stream("ann"), 1, [UserRenamed("ann")], CAUSE)

    assert log.stream_head(account_stream("ann")).version == 2


@pytest.mark.parametrize(
    "credential",
    [
        structs.replace(token(1), id="another"),
        structs.replace(token(1), hash="another"),
        structs.replace(token(2), scope="all"),
        structs.replace(token(2), user_id="nobody"),
        Identity("issuer subject", "ann"),
        Identity("issuer subject", "bob"),
        Identity("another", "nobody"),
        Identity("a\0b", "ann"),
        Identity("\ud800", "ann"),
        Password("nobody", "hash"),
        Password("ann", "a\0b"),
    ],
    ids=repr,
)
def test_a_credential_that_is_taken_or_nobodys_is_refused_without_its_secret_and_the_rest_goes_on(
    log: Log, credential: Credential
) -> None:
    kept: list[Credential] = [Password("ann", "hash"), token(1), Identity("issuer subject", "ann")]
    add(log, *kept)
    with log.writing() as transaction:
        with pytest.raises(CredentialTaken) as refusal:
            transaction.add(credential)
        transaction.append(account_stream("ann"), 0, [PasswordChanged("ann")], CAUSE)

    assert str(refusal.value) == f"expected a new {type(credential).__name__.lower()}; found one that is taken"
    assert [*log.credentials(Password), *log.credentials(Token), *log.credentials(Identity)] == kept
    assert log.head().position == 1


def test_a_password_takes_the_place_of_the_old_one(log: Log) -> None:
    add(log, Password("ann", "old"), Password("bob", "bob's"))
    add(log, Password("ann", "new"))

    assert log.credentials(Password) == [Password("ann", "new"), Password("bob", "bob's")]


def test_a_token_that_is_revoked_is_so_from_then_on_and_no_other(log: Log) -> None:
    add(log, token(1), token(2))
    with log.writing() as transaction:
        transaction.revoke("token-0001", NOW + 9)
        transaction.revoke("unknown", NOW + 9)

    revoked = structs.replace(token(1), revoked_at=NOW + 9)
    assert (log.token(token(1).hash), log.tokens("ann")) == (revoked, [revoked, token(2)])


def test_pages_join_into_all_of_them_in_order(log: Log) -> None:
    tokens = [token(number, ("ann", "bob")[number % 2]) for number in range(7)]
    identities = sorted(
        [Identity(f"{letter} issuer", "ann") for letter in "aBcé🏃\uffff"], key=lambda one: one.identity
    )
    add(log, *reversed(tokens), *identities)

    found, seen, after = list[Token](), list[Token](), ""
    while page := log.credentials(Token, after, 3):
        found += page
        after = page[-1].id
    after = ""
    while page := log.tokens("ann", after, 3):
        seen += page
        after = page[-1].id
    assert (found, seen) == (tokens, tokens[::2])
    assert log.tokens("eve") == []
    places = ["", *(one.identity for one in identities)]
    assert [log.credentials(Identity, after, 1)[:1] for after in places] == [*([one] for one in identities), []]


# With the events that tell of it.


class Refused(Exception):
    """A command's own rule."""


def test_accounts_are_changed_with_their_event_or_not_at_all(log: Log) -> None:
    def issue(number: int, *, refused: bool = False) -> None:
        with transaction.savepoint():
            version = transaction.stream_head(account_stream("ann")).version
            transaction.add(token(number))
            transaction.add(Password("ann", f"hash {number}"))
            transaction.add(Identity(f"issuer {number}", "ann"))
            transaction.change_user(structs.replace(ANN, name=f"Ann {number}", password_at=number))
            transaction.add_user(User(f"new-{number}", f"New {number}", None, NOW))
            event = TokenIssued("ann", f"token-{number:04}", "write", START)
            transaction.append(account_stream("ann"), version, [event], CAUSE)
            if number:
                transaction.revoke(token(number - 1).id, NOW)
            if refused:
                raise Refused

    with log.writing() as transaction, transaction.batch():
        issue(0)
        with pytest.raises(Refused):
            issue(1, refused=True)
        with pytest.raises(CredentialTaken):
            issue(0)
        issue(1)
        with pytest.raises(Refused):
            issue(2, refused=True)

    assert log.tokens("ann") == [structs.replace(token(0), revoked_at=NOW), token(1)]
    assert (log.password("ann"), log.identity("issuer 2")) == (Password("ann", "hash 1"), None)
    assert log.user("ann") == structs.replace(ANN, name="Ann 1", password_at=1)
    assert [user.id for user in log.users()] == ["ann", "bob", "eve", "new-0", "new-1"]
    assert [line.version for line in log.read(stream=account_stream("ann"))] == [1, 2]


def test_a_transaction_that_fails_leaves_accounts_as_they_were(log: Log) -> None:
    def fail() -> None:
        with log.writing() as transaction:
            transaction.add(Password("ann", "hash"))
            transaction.change_user(structs.replace(ANN, name="Anna"))
            raise Refused

    with pytest.raises(Refused):
        fail()

    assert (log.password("ann"), log.user("ann")) == (None, ANN)


Work = Callable[[Transaction], object]


async def together(writer: Writer, works: Sequence[Work]) -> list[object]:
    """Submit all while the writer is busy, so that they are one batch. Answers or errors, in order."""
    begun, gate = threading.Event(), threading.Event()

    def busy(_: Transaction) -> None:
        begun.set()
        gate.wait(DEADLINE)

    first = asyncio.create_task(writer.submit(busy))
    await asyncio.to_thread(begun.wait, DEADLINE)
    tasks = [asyncio.create_task(writer.submit(work)) for work in works]
    for _ in range(2):  # each has submitted its work, and all of it is handed over
        await asyncio.sleep(0)
    gate.set()
    return (await asyncio.gather(first, *tasks, return_exceptions=True))[1:]


def adding_to(user_id: str) -> Work:
    def work(transaction: Transaction) -> None:
        version = transaction.stream_head(account_stream(user_id)).version
        transaction.append(account_stream(user_id), version, [PasswordChanged(user_id)], CAUSE)
        transaction.add(Password(user_id, "hash"))

    return work


REFUSED: dict[str, Work] = {
    "a password": lambda transaction: transaction.add(Password("ann", "wrong")),
    "a token": lambda transaction: transaction.add(token(7)),
    "an identity": lambda transaction: transaction.add(Identity("wrong", "ann")),
    "a new name": lambda transaction: transaction.change_user(structs.replace(ANN, name="Wrong")),
    "a new user": lambda transaction: transaction.add_user(User("wrong", "Wrong", None, NOW)),
    "a token that is revoked": lambda transaction: transaction.revoke(token(1).id, NOW),
}


@pytest.mark.parametrize("wrong", REFUSED.values(), ids=REFUSED.keys())
def test_what_a_command_wrote_before_it_was_refused_does_not_stay_and_those_of_its_batch_do(
    log: Log, wrong: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_goals.storage.writer.BATCH_SECONDS", DEADLINE)  # however slow this machine is

    def refused(transaction: Transaction) -> None:
        wrong(transaction)
        raise Refused

    add(log, token(1))
    batches = list[int]()
    with closing(Writer(log, lambda _: None, lambda _: None, lambda: None, batches.append)) as writer:
        answers = asyncio.run(together(writer, [adding_to("bob"), refused, adding_to("eve")]))

    assert [type(answer) for answer in answers] == [type(None), Refused, type(None)]
    assert batches in ([4], [1, 3])  # with the busy one, or behind it
    assert log.credentials(Password) == [Password("bob", "hash"), Password("eve", "hash")]
    assert (log.users(), log.tokens("ann"), log.credentials(Identity)) == ([ANN, BOB, EVE], [token(1)], [])
    assert log.streams() == [account_stream("bob"), account_stream("eve")]
