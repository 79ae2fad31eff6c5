"""Logs copied from engine to engine: the same, byte for byte; gone on with where it was cut off; never into another."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs

from es_goals.accounts import changes
from es_goals.events import UserRegistered, account_stream
from es_goals.ids import wall_clock
from es_goals.storage import Storage, open_log
from es_goals.storage import copying as module
from es_goals.storage.copying import copy
from es_goals.storage.errors import Conflict, StorageError
from es_goals.storage.log import (
    Cause,
    Credential,
    Head,
    Identity,
    Log,
    Password,
    StoredKey,
    Token,
    Transaction,
    User,
    UserRow,
)
from es_goals.upkeep import verification
from es_goals.upkeep.accounts import expect_accounts
from es_goals.upkeep.verification import anchor, verify_log
from tests.support.engines import ENGINES, NOW, Engine, HandClock, open_storage
from tests.support.histories import created, many, record, register
from tests.support.load import fill
from tests.support.names import compared_before

WAYS = [("sqlite", "postgres18"), ("postgres15", "sqlite"), ("sqlite", "sqlite"), ("postgres18", "postgres15")]
CAUSE = Cause("command-ü", "ann@example.org", "since „it“ rained 🌧 \\ \t")


@pytest.fixture(autouse=True)
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts are what a test needs here, whatever their events say."""
    monkeypatch.setattr(verification, "expect_accounts", lambda _: None)


@pytest.fixture(params=WAYS, ids="-to-".join)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Storage, Storage]]:
    """Two empty logs."""
    with ExitStack() as opened:
        yield cast(tuple[Storage, Storage], tuple(new(opened, kind, tmp_path) for kind in request.param))


@pytest.fixture(params=WAYS[:2], ids="-to-".join)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Log, Log]]:
    """Two empty logs of two engines, one way and the other."""
    with ExitStack() as opened:
        source, target = (new(opened, kind, tmp_path) for kind in request.param)
        yield source.log, target.log


def new(opened: ExitStack, kind: str, folder: Path) -> Storage:
    place = folder / str(len(list(folder.iterdir())))
    place.mkdir()
    storage = open_storage(opened.enter_context(ENGINES[kind](place)), HandClock())
    opened.callback(storage.close)
    return storage


def unheard(done: int, total: int) -> None:
    del done, total


def whole(log: Log) -> tuple[list[Any], ...]:
    """Events, users, commands, passwords, tokens, identities."""
    kinds = (log.credentials(Password), log.credentials(Token), log.credentials(Identity))
    return log.read(limit=10_000), log.users(limit=10_000), log.commands(limit=10_000), *kinds


def small(log: Log, users: int = 4) -> None:
    """Users, each with a key of the registration, credentials, some events, and keys of those."""
    for number in range(users):
        user = register(log, f"id-{number}", f"Ünser {number}")
        lines = record(log, user.id, *many(5, first=10 * number))
        with log.writing() as transaction:
            position = lines[0].position
            for credential in credentials(user.id):
                transaction.add(credential)
            transaction.store_key(
                StoredKey("account:", f"key-{number}", bytes([number] * 32), position - 1, position - 1)
            )
            transaction.store_key(
                StoredKey(f"user:{user.id}", 'k \\ "', b"\x00\xff" * 16, position, lines[-1].position)
            )


def credentials(user_id: str) -> list[Credential]:
    """One of each, and a token that is good no more."""
    return [
        Password(user_id, f"hash of {user_id}"),
        Token(f"a {user_id}", user_id, "Ünser 🗝", "read", f"a hash {user_id}", NOW, 2**53 + 1),
        Token(f"b {user_id}", user_id, "", "write", f"b hash {user_id}", NOW, NOW, NOW + 1),
        Identity(f"https://issuer.example/é {user_id}", user_id),
    ]


class Cut(Exception):
    """The copy ends here."""


class CutOff:
    """A log that takes so many more transactions."""

    def __init__(self, log: Log, pages: int) -> None:
        self._log, self._left = log, pages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """One less."""
        if not self._left:
            raise Cut
        self._left -= 1
        with self._log.writing() as transaction:
            yield transaction


def test_a_copy_is_the_same_in_all_that_was_recorded(both: tuple[Storage, Storage]) -> None:
    source, target = (storage.log for storage in both)
    fill(both[0], 1_200, users=3)
    small(source)
    with source.writing() as transaction:
        transaction.append(account_stream("eve"), 0, [UserRegistered("eve")], CAUSE)
        transaction.add_user(User("eve", "Éve 🏃", "eve@example.org", 2**53 + 1, "auditor", 7, 2**53 + 1))
        transaction.append("user:eve", 0, [created("e1", name="null \0 and \u2028, „x“ \\u0000 \"'")], CAUSE)
        transaction.store_key(StoredKey("account:", "a key\\", b"\x00\xff" * 16, 1, 1))
    told = list[tuple[int, int]]()
    head = copy(source, target, lambda *done: told.append(done))

    assert whole(target) == whole(source)
    assert (target.head(), head) == (source.head(), source.head())
    assert [target.user_named("ÉVE 🏃"), target.owner("e1")] == [source.user("eve"), "eve"]
    assert target.id != source.id
    assert anchor(target, head.position, unheard) == anchor(source, head.position, unheard)
    assert verify_log(target, anchor(source, 1_000, unheard), unheard).users == 8
    assert told[-1] == (head.position, head.position)
    assert all(before < after for (before, _), (after, _) in pairwise(told))


def test_there_and_back_is_the_same(pair: tuple[Log, Log], tmp_path: Path) -> None:
    source, target = pair
    small(source)
    copy(source, target, unheard)
    with ExitStack() as opened:
        back = new(opened, "sqlite", tmp_path).log
        copy(target, back, unheard)

        assert whole(back) == whole(source)


def test_a_copy_goes_on_as_a_log_of_its_own(pair: tuple[Log, Log]) -> None:
    source, target = pair
    small(source)
    copy(source, target, unheard)
    (line,) = record(target, "id-1", created("later"))

    assert (line.position, line.version) == (source.head().position + 1, source.stream_head("user:id-1").version + 1)
    with pytest.raises(Conflict):
        copy(source, target, unheard)


def test_a_copy_of_nothing_is_nothing(pair: tuple[Log, Log]) -> None:
    assert copy(*pair, unheard) == Head()
    assert whole(pair[1]) == ([],) * 6


def test_a_copy_that_was_cut_off_behind_any_page_goes_on_there(
    pair: tuple[Log, Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = pair
    small(source)
    monkeypatch.setattr(module, "PAGE", 3)
    cuts, sizes = 0, [0]
    while True:
        try:
            head = copy(source, cast(Log, CutOff(target, 1)), unheard)
            break
        except Cut:
            cuts += 1
            sizes.append(sum(len(part) for part in whole(target)))

    # Pages of 24 events, 4 users, 4 passwords, 8 tokens, 4 identities, 8 commands; the last one is not cut off.
    assert cuts == 8 + 2 + 2 + 3 + 2 + 3 - 1
    assert sizes == sorted(set(sizes))
    assert whole(target) == whole(source)
    assert head == source.head()


def test_a_copy_that_was_cut_off_while_it_tells_of_its_progress_goes_on_there(
    pair: tuple[Log, Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = pair
    small(source)
    monkeypatch.setattr(module, "PAGE", 10)

    def cut(done: int, total: int) -> None:
        del total
        raise Cut(done)

    for position in (10, 20, 24):
        with pytest.raises(Cut, match=f"^{position}$"):
            copy(source, target, cut)
        assert target.head().position == position
    copy(source, target, cut)

    assert whole(target) == whole(source)


def test_what_is_recorded_while_a_log_is_copied_is_left_to_the_next_copy(
    pair: tuple[Log, Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = pair
    small(source)
    before = whole(source)
    monkeypatch.setattr(module, "PAGE", 7)

    def busy(done: int, total: int) -> None:
        del total
        user = register(source, f"{'a' if done % 2 else 'z'}-{done}")
        (line,) = record(source, user.id, created(f"goal-{user.id}"))
        with source.writing() as transaction:
            transaction.store_key(StoredKey(line.stream, "key", bytes(32), line.position, line.position))
            for credential in credentials(user.id):
                transaction.add(credential)

    head = copy(source, target, busy)
    assert (head.position, whole(target)) == (len(before[0]), before)
    assert verify_log(target, None, unheard).head.position == head.position
    later = copy(source, target, unheard)

    assert later == source.head() != head
    assert whole(target) == whole(source)


def test_of_an_account_that_is_changed_while_it_is_copied_the_events_come_with_the_rows(
    pair: tuple[Log, Log],
) -> None:
    source, target = pair
    ann, changed = register(source, "ann"), list[int]()

    def busy(done: int, total: int) -> None:
        del total
        if len(changed) < 3:
            changed.append(done)
            with source.writing() as transaction:
                token = Token(f"t{done}", ann.id, "new", "read", f"hash {done}", 0, 7_000_000)
                changes.issue(transaction, token, CAUSE)

    copy(source, target, busy)

    expect_accounts(target)
    assert len(target.tokens("ann")) == len(changed) == 3


def change(log: Log, *users: User) -> None:
    with log.writing() as transaction:
        for user in users:
            transaction.change_user(user)


def test_what_became_of_accounts_since_the_last_copy_is_brought_to_the_target(pair: tuple[Log, Log]) -> None:
    source, target = pair
    small(source)
    copy(source, target, unheard)
    zero, *others = source.users()
    change(source, *(structs.replace(user, name=f"Another {user.id}") for user in others))
    change(source, User("id-0", "ünser 0", "new@example.org", zero.created_at, "user", NOW, NOW + 1))
    with source.writing() as transaction:
        transaction.add(Password("id-1", "another hash"))
        transaction.revoke("a id-1", NOW + 7)
        transaction.add(Token("c", "id-1", "new", "read", "c hash", NOW, NOW))
        transaction.add(Identity("another issuer", "id-1"))
    copy(source, target, unheard)

    assert whole(target) == whole(source)
    assert (target.user_named("ANOTHER ID-1"), target.user_named("Ünser 1")) == (source.user("id-1"), None)
    assert [one.revoked_at for one in target.tokens("id-1")] == [NOW + 7, NOW + 1, None]


@pytest.mark.parametrize("new", ["a", "z"])
def test_a_name_that_somebody_else_has_by_now_is_theirs_in_the_target_too(
    pair: tuple[Log, Log], monkeypatch: pytest.MonkeyPatch, new: str
) -> None:
    source, target = pair
    small(source)
    copy(source, target, unheard)
    monkeypatch.setattr(module, "PAGE", 1)
    _, one, two, three = source.users()
    change(source, *(structs.replace(user, name=user.id) for user in (one, two, three)))
    change(source, structs.replace(one, name=two.name), structs.replace(two, name=one.name))
    register(source, new, three.name)
    for pages in (2, 1):  # cut off behind the events and the names that were given up, and behind the next user
        with pytest.raises(Cut):
            copy(source, cast(Log, CutOff(target, pages)), unheard)
    copy(source, target, unheard)

    assert whole(target) == whole(source)


@pytest.fixture(params=WAYS[:2], ids="-to-".join)
def older_and_empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Log, Log]]:
    """A log that was of schema 3, where users have names that are the same by now; and an empty one of another
    engine."""
    source, target = request.param
    with ExitStack() as opened:
        engine = opened.enter_context(Engine(opened.enter_context(ENGINES[source](tmp_path))))
        compared_before(engine.open().log)
        yield engine.open().log, new(opened, target, tmp_path).log


def test_names_are_compared_in_a_copy_of_an_older_log_as_there(
    older_and_empty: tuple[Log, Log], tmp_path: Path
) -> None:
    older, other = older_and_empty
    head = copy(older, other, unheard)
    older.backup_into(str(tmp_path / "backup.db"), unheard)

    assert other.user_rows() == older.user_rows()
    assert other.user_named("Bob") == older.user("id-older")
    assert anchor(other, head.position, unheard) == anchor(older, head.position, unheard)
    with closing(open_log(str(tmp_path / "backup.db"), wall_clock)) as backup:
        assert backup.user_rows() == older.user_rows()


def test_a_copy_follows_where_somebody_else_has_the_name_and_nothing_else_is_new(
    older_and_empty: tuple[Log, Log],
) -> None:
    older, other = older_and_empty
    copy(older, other, unheard)
    _, oldest, bob, _ = (row.user for row in older.user_rows())
    with other.writing() as transaction:  # as where it was cut off before the oldest user came
        transaction.copy_user(UserRow(oldest, "id-older"))
        transaction.copy_user(UserRow(bob, "bob"))
    copy(older, other, unheard)
    assert other.user_rows() == older.user_rows()

    change(older, structs.replace(oldest, name="Robert"), structs.replace(bob, name="Bobby"), bob)
    copy(older, other, unheard)
    assert other.user_rows() == older.user_rows()
    assert [other.user_named("bob"), other.user("id-young")] == [bob, bob]


@pytest.mark.parametrize(
    "other",
    [
        Token("a id-1", "id-1", "another name", "read", "a hash id-1", NOW, 2**53 + 1),
        Token("a id-1", "id-1", "Ünser 🗝", "write", "a hash id-1", NOW, 2**53 + 1),
        Token("a id-1", "id-1", "Ünser 🗝", "read", "a hash id-1", NOW, 2**53 + 1, NOW),
        Token("b id-1", "id-1", "", "write", "b hash id-1", NOW, NOW, NOW + 2),
        Token("zz", "id-1", "", "write", "zz", NOW, NOW),
        Identity("https://issuer.example/é id-1", "id-2"),
        Identity("another", "id-1"),
    ],
    ids=lambda one: "-".join(map(str, structs.astuple(one))),
)
def test_a_target_with_other_credentials_is_refused(pair: tuple[Log, Log], other: Token | Identity) -> None:
    source, target = pair
    small(source)
    with target.writing() as transaction:
        transaction.copy(source.read(), ())
        for user in source.users():
            transaction.add_user(user)
        transaction.add(other)

    with pytest.raises(Conflict, match=r"expected nothing in the target but what the source has; found"):
        copy(source, target, unheard)
    assert other in [*target.credentials(Token), *target.credentials(Identity)]


# Another log is never mixed with this one.


def other_event(target: Log) -> None:
    register(target, "another id")


def longer(target: Log) -> None:
    small(target, users=6)


OTHERS = {"another first event": other_event, "a longer log": longer}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_a_target_with_other_events_is_refused_and_left_as_it_was(pair: tuple[Log, Log], other: Any) -> None:
    source, target = pair
    small(source)
    other(target)
    before = whole(target)

    with pytest.raises(Conflict, match="expected the target to be empty or a copy's beginning"):
        copy(source, target, unheard)
    assert whole(target) == before


def expect_refused(pair: tuple[Log, Log], write: Callable[[Transaction], None], error: type[StorageError]) -> None:
    """A copy to a target that already has something else, here written to it."""
    source, target = pair
    small(source)
    with target.writing() as transaction:
        write(transaction)
    with pytest.raises(error, match=r"expected .*; found"):
        copy(source, target, unheard)


@pytest.mark.parametrize(
    "user",
    [
        User("id-1", "Another", None, 1),
        User("id-1", "Ünser 1", None, NOW, "administrator"),
        User("another id", "ünser 1", None, 1),
        User("a", "Before", None, 1),
        User("id-11", "Between", None, 1),
        User("z", "Behind", None, 1),
    ],
    ids=lambda user: f"{user.id}-{user.name}",
)
def test_a_target_with_other_users_is_refused(pair: tuple[Log, Log], user: User) -> None:
    expect_refused(pair, lambda transaction: transaction.add_user(user), StorageError)

    assert pair[1].user(user.id) == user


@pytest.mark.parametrize(
    "command",
    [
        StoredKey("account:", "key-1", b"another", 2, 2),
        StoredKey("account:", "a", bytes(32), 1, 1),
        StoredKey("user:id-1", "other", bytes(32), 1, 1),
        StoredKey("z", "z", bytes(32), 1, 1),
    ],
    ids=lambda command: f"{command.stream}-{command.key}",
)
def test_a_target_with_other_commands_is_refused(pair: tuple[Log, Log], command: StoredKey) -> None:
    expect_refused(pair, lambda transaction: transaction.store_key(command), Conflict)

    assert pair[1].stored_key(command.stream, command.key) == command


def test_lines_that_do_not_come_next_are_refused_and_none_of_them_kept(pair: tuple[Log, Log]) -> None:
    source, target = pair
    small(source)
    lines = source.read()
    for wrong in ([*lines[:5], lines[6]], [lines[1]], [lines[0], lines[0]], lines[2:]):
        with pytest.raises(Conflict), target.writing() as transaction:
            transaction.copy(wrong, ())
    assert target.head() == Head()

    with target.writing() as transaction:
        with pytest.raises(Conflict):
            transaction.copy(lines[1:], ())
        transaction.copy(lines, ())
        with pytest.raises(Conflict):
            transaction.copy((), [*source.commands(), source.commands()[0]])
    assert target.read() == lines


def test_what_postgresql_cannot_hold_is_refused_there_and_taken_by_sqlite(tmp_path: Path) -> None:
    with ExitStack() as opened:
        source, other, postgres = (new(opened, kind, tmp_path).log for kind in ("sqlite", "sqlite", "postgres18"))
        with source.writing() as transaction:
            transaction.append("user:ann", 0, [created("a1")], Cause("c", None, "a\0b"))

        with pytest.raises(Conflict, match="expected what follows position 0"):
            copy(source, postgres, unheard)
        copy(source, other, unheard)
        assert (other.read(), postgres.read()) == (source.read(), [])


def test_times_are_those_of_the_source_also_where_they_are_ahead_of_the_targets_clock(pair: tuple[Log, Log]) -> None:
    source, target = pair
    ahead = wall_clock() + 10**15
    cast(Any, source)._clock.now = ahead
    small(source)
    copy(source, target, unheard)

    assert {line.at for line in target.read()} == {ahead}
    assert record(target, "id-1", created("later"))[0].at == ahead
