"""What was done to make the log: every kind of change, by every kind of caller, by HTTP and the command line.

All of it goes through the public surface of the version that records. Only its clock and its chance are replaced, so
that the same history has the same times, ids and tokens again.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from tests.support.serving import Served

BEGIN = 1_709_280_000  # 2024-03-01T08:00:00Z
STEP = 3_601_000_001_000  # ns between two things that are done
LONG = "3153600000"  # seconds, the longest that may be set: what was signed in then still is

ENV = {
    "ES_GOALS_SESSION_LIFETIME": LONG,
    "ES_GOALS_SESSION_IDLE": LONG,
    "ES_GOALS_TOKEN_IDLE": LONG,
    "ES_GOALS_TICK": "10",  # what is folded when would differ each time
}
PASSWORDS = {name: f"the password of {name}" for name in ("ann", "bob", "vera", "dora")}
NEW_PASSWORD = "another password of bob"  # noqa: S105

REPLACED = """
import collections, hashlib, itertools, os, time
def now():
    with open(os.environ["CLOCK"]) as file:
        return int(file.read())
begun, counts = now(), collections.defaultdict(itertools.count)
def urandom(size):
    return hashlib.shake_256(b"%d %d %d" % (begun, size, next(counts[size]))).digest(size)
os.urandom, time.time_ns = urandom, now
from es_goals.cli import main
main()
"""
"""The command line, for a Python whose `es_goals` it is."""

OUTLINE = """\
# House
- [x] Paint the door
- Mend the roof
\t- Buy tiles
\t- [x] Find a ladder
# Garden
- Plant an apple tree
"""

JSON = {"Content-Type": "application/json"}


def goal(number: int) -> str:
    """An id that a client brought."""
    return f"00000000-0000-4000-8000-{number:012}"


class History:
    """Done step by step in a folder, by the `es_goals` of a Python. `keys`: the tokens in the log, by who has them."""

    def __init__(self, folder: Path, python: Path) -> None:
        self._folder, self._program = folder, (str(python), "-I", "-c", REPLACED)
        self._clock, self._now = folder / "clock", BEGIN * 1_000_000_000
        self._served: Served | None = None
        self.keys: dict[str, str] = {}
        self._env = {**ENV, "CLOCK": str(self._clock)}
        self._set_clock()

    def _set_clock(self) -> None:
        unfinished = self._clock.with_suffix(".new")
        unfinished.write_text(str(self._now))
        unfinished.replace(self._clock)

    def _step(self) -> None:
        self._now += STEP
        self._set_clock()

    def serve(self, *, accounts: bool) -> None:
        """Begin to serve."""
        self._step()  # or it would make the secrets that the last command made
        self._served = Served(self._folder, workers=1, env=self._env, accounts=accounts, program=self._program)

    def stop(self) -> None:
        """Serve no more."""
        if self._served is not None:
            self._served.stop()
            self._served = None

    def run(self, *arguments: str, stdin: str = "") -> str:
        """A command of the command line."""
        self._step()
        command = [*self._program, "--db", "events.db", *arguments]
        env = {**os.environ, **self._env}
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=self._folder, env=env)  # noqa: S603
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ask(
        self, by: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}
    ) -> httpx2.Response:
        """A request, by who has a key or (empty) by nobody; it must succeed."""
        assert self._served is not None
        self._step()
        content = b"" if body is None else msgspec.json.encode(body)
        named = {**JSON, **({"Authorization": f"Bearer {self.keys[by]}"} if by else {}), **headers}
        answer = self._served.client.request(method, path, content=content, headers=named)
        assert answer.is_success, (method, path, body, answer.text)
        return answer

    def batch(self, by: str, user: str, *commands: Any, **members: Any) -> None:
        """Several commands at once."""
        self.ask(by, "POST", f"/v2/users/{user}/commands", {"commands": commands, **members})


def write(history: History) -> None:
    """All of it."""
    people(history)
    history.serve(accounts=True)
    accounts(history)
    trees(history)
    changes(history)
    deletions(history)
    history.stop()
    upkeep(history)
    history.serve(accounts=False)
    strangers(history)
    history.stop()
    history.run("rebuild")
    history.run("verify")
    history.run("backup", "backup")


def people(history: History) -> None:
    """The first ones, by the command line."""
    history.run("user", "add", "root", "--role", "administrator")
    for name, role in (("ann", "user"), ("vera", "auditor")):
        history.run("user", "add", name, "--role", role, "--password-stdin", stdin=f"{PASSWORDS[name]}\n")
    for key, *options in (
        ("root",), ("root reads", "--scope", "read"), ("ann", "--for", "a laptop"), ("ann reads", "--scope", "read"),
        ("vera",), ("ann revoked", "--for", "lost"),
    ):  # fmt: skip
        history.keys[key] = history.run("token", key.split()[0], "--expires", "36500d", *options)
    history.keys["ann expired"] = history.run("token", "ann", "--expires", "1d")


def accounts(history: History) -> None:
    """Users made, renamed, signed in, and their passwords and tokens."""
    made = {"name": "bob", "email": "bob@example.org", "password": PASSWORDS["bob"], "reason": "a new colleague"}
    history.ask("root", "POST", "/v2/users", made, {"Idempotency-Key": "bob"})
    for name in ("dora", "eva", "Zoe\u0308"):
        history.ask("root", "POST", "/v2/users", {"name": name})
    history.ask("root", "PATCH", "/v2/users/eva", {"name": "Eve", "email": "eve@example.org"})
    history.ask("root", "PATCH", "/v2/users/Eve", {"email": None, "reason": "she asked"})
    history.ask("root", "PUT", "/v2/users/dora/password", {"new": PASSWORDS["dora"]})
    for name in ("bob", "dora"):
        signed_in = history.ask("", "POST", "/v2/sessions", {"user": name, "password": PASSWORDS[name]})
        history.keys[f"{name} signed in"] = signed_in.json()["token"]
    password = {"new": NEW_PASSWORD, "current": PASSWORDS["bob"], "reason": "told somebody"}
    history.ask("bob signed in", "PUT", "/v2/users/bob/password", password)
    for key, by, scope in (("bob", "bob signed in", "write"), ("dora", "dora signed in", "read")):
        new = {"name": f"of {key}", "scope": scope, "expires_at": "2124-02-29T23:59:59.5+01:00"}
        history.keys[key] = history.ask(by, "POST", "/v2/tokens", new).json()["token"]
    tokens = history.ask("ann", "GET", "/v2/tokens").json()["tokens"]
    lost = next(token["id"] for token in tokens if token["name"] == "lost")
    history.ask("ann", "DELETE", f"/v2/tokens/{lost}", None, {"X-Reason": "left%20in%20a%20train%2C%20%C3%BC"})


def trees(history: History) -> None:
    """Goals of two users, some by an administrator."""
    ann, first = "/v2/users/ann/goals", {"name": "Run a marathon", "id": goal(1), "due": "2024-09-29T09:00:00+02:00"}
    description = "in Berlin,\nin the rain „maybe“ <b>\t🏃"
    history.ask("ann", "POST", ann, {**first, "description": description}, {"Idempotency-Key": "marathon"})
    history.ask("ann", "POST", ann, {"name": "Run 10 km", "parent_id": goal(1), "id": goal(2), "reason": "a start"})
    history.ask("ann", "POST", ann, {"name": "Buy shoes", "parent_id": goal(2), "id": goal(3)})
    history.ask("root", "POST", ann, {"name": "Buy socks", "parent_id": goal(2), "id": goal(4), "before": goal(3)})
    more = [
        {"type": "CreateGoal", "name": "Run 21 km", "parent_id": goal(1), "id": goal(5)},
        {"type": "CreateGoal", "name": "Train", "parent_id": goal(5), "id": goal(6), "start": "2023-12-31T23:30:00Z"},
        {"type": "CreateGoal", "name": "Monday", "parent_id": goal(6), "id": goal(7)},
        {"type": "CreateGoal", "name": "Friday", "parent_id": goal(6), "id": goal(8)},
        {"type": "CreateGoal", "name": "Wednesday", "parent_id": goal(6), "id": goal(9), "after": goal(7)},
        {"type": "CreateGoal", "name": "Buy shoes", "parent_id": goal(5), "id": goal(10)},
    ]
    body = {"commands": more, "reason": "half of it"}
    history.ask("ann", "POST", "/v2/users/ann/commands", body, {"Idempotency-Key": "half"})
    reason = {"X-Reason": "percent%2Dencoded%3A%20%E2%9C%93"}
    texts = ("Read „Ulysses“ & <i>Finnegans Wake</i> 📚", "Straße e\u0301 \u05e9\u05dc\u05d5\u05dd", "Sleep")
    for number, name in enumerate(texts, start=11):
        history.ask("ann", "POST", ann, {"name": name, "id": goal(number)}, reason)
    bob = "/v2/users/bob/goals"
    history.ask("bob signed in", "POST", bob, {"name": "Bake bread", "id": goal(101), "description": ""})
    for number, name in enumerate(("Flour", "Yeast", "Oven"), start=102):
        history.ask("bob", "POST", bob, {"name": name, "parent_id": goal(101), "id": goal(number)})
    history.ask("bob", "POST", bob, {"name": "Sleep", "id": goal(105)})
    history.ask("bob", "POST", bob, {"name": "Buy an oven", "parent_id": goal(104), "id": goal(106)})


def changes(history: History) -> None:
    """Renamed, described, scheduled, moved, completed, opened again."""
    change = [
        (11, {"name": "Read Ulysses", "description": "Bloom"}), (11, {"description": None}),
        (12, {"start": "2024-04-01T00:00:00.25Z", "due": "2024-05-01T00:00:00Z"}), (12, {"due": None}),
        (3, {"name": "Buy running shoes", "reason": "not just any"}), (3, {"name": "Buy running shoes"}),
    ]  # fmt: skip
    for number, members in change:
        history.ask("ann", "PATCH", f"/v2/goals/{goal(number)}", members)
    history.ask("ann", "PATCH", f"/v2/goals/{goal(13)}", {"name": "Sleep more"}, {"If-Match": '"r1.v13.g0.c"'})
    for number, members in (
        (13, {"before": goal(1)}), (13, {"after": goal(1)}), (9, {"before": goal(7)}), (10, {"parent_id": goal(2)}),
        (5, {"parent_id": None}), (5, {"parent_id": goal(1), "after": goal(2)}), (8, {"parent_id": goal(8 - 3)}),
    ):  # fmt: skip
        history.ask("ann", "POST", f"/v2/goals/{goal(number)}/move", members)
    history.ask("ann", "POST", f"/v2/goals/{goal(3)}/complete", {"end": "2024-03-05T10:00:00+01:00"})
    history.ask("ann", "POST", f"/v2/goals/{goal(6)}/complete", {"cascade": True, "reason": "the whole week"})
    history.ask("ann", "POST", f"/v2/goals/{goal(7)}/reopen", {"reason": "it rained"})
    history.ask("ann", "POST", f"/v2/goals/{goal(2)}/complete", None, {"Idempotency-Key": "10 km"})
    history.ask("ann", "POST", f"/v2/goals/{goal(12)}/complete", None, {"X-Reason": "before%20it%20began"})
    history.ask("root", "POST", f"/v2/goals/{goal(102)}/complete", {})
    batch = (
        {"type": "CompleteGoal", "id": goal(103)}, {"type": "ReopenGoal", "id": goal(102)},
        {"type": "ChangeGoal", "id": goal(105), "name": "Sleep well"}, {"type": "CompleteGoal", "id": goal(106)},
        {"type": "MoveGoal", "id": goal(105), "before": goal(101)},
    )  # fmt: skip
    history.batch("bob", "bob", *batch, reason="a quiet evening")


def deletions(history: History) -> None:
    """Deleted and restored, in other places too."""
    history.ask("ann", "POST", "/v2/users/ann/goals", {"name": "Learn Greek", "id": goal(14)})
    for number, parent in ((15, 14), (16, 15), (17, 14)):
        named = {"name": f"Lesson {number}", "parent_id": goal(parent), "id": goal(number)}
        history.ask("ann", "POST", "/v2/users/ann/goals", named)
    history.ask("ann", "DELETE", f"/v2/goals/{goal(15)}", {"reason": "too hard"})
    history.ask("ann", "DELETE", f"/v2/goals/{goal(14)}")
    history.ask("ann", "POST", f"/v2/goals/{goal(14)}/restore")
    history.ask("ann", "POST", f"/v2/goals/{goal(15)}/restore", {"parent_id": None})
    history.ask("ann", "DELETE", f"/v2/goals/{goal(14)}", None, {"Idempotency-Key": "no Greek"})
    history.ask("ann", "DELETE", f"/v2/goals/{goal(10)}")
    history.ask("bob", "DELETE", f"/v2/goals/{goal(104)}", {"reason": "it is broken"})
    batch = (
        {"type": "CreateGoal", "name": "Toaster", "parent_id": goal(101), "id": goal(107)},
        {"type": "DeleteGoal", "id": goal(107)},
        {"type": "RestoreGoal", "id": goal(107), "parent_id": None},
    )
    history.batch("bob", "bob", *batch)
    history.ask("ann", "POST", "/v2/users/ann/goals", {"name": "Its id is the service's"})


def upkeep(history: History) -> None:
    """By the command line: disabled and enabled, linked, a password, an import."""
    history.run("user", "disable", "dora")
    history.run("user", "disable", "vera")
    history.run("user", "enable", "vera")
    history.run("user", "link", "ann", "--issuer", "https://login.example", "--subject", "ann-1")
    history.run("user", "password", "vera", stdin=f"{PASSWORDS['vera']}\n")
    history.run("token", "ann", "--expires", "36500d", "--for", "nobody has it")
    history.run("import", "-", "--user", "ida", stdin=OUTLINE)


def strangers(history: History) -> None:
    """While it was open: nobody was signed in. And as clients of the original did."""
    history.ask("", "POST", "/v2/users", {"name": "olga", "reason": "nobody is asked"}, {"Idempotency-Key": "olga"})
    history.ask("", "POST", "/v1.0/goals", {"user": "olga", "name": "Knit", "description": "a scarf"})
    history.ask("", "POST", "/v1.0/goals?user=olga&name=Wool&parent_name=Knit")
    history.ask("", "PUT", "/v1.0/goals", {"user": "olga", "name": "Wool"}, {"Idempotency-Key": "wool"})
    history.ask("", "POST", "/v1.0/goals", {"user": "olga", "name": "Sew"})
    history.ask("", "DELETE", "/v1.0/goals", {"name": "Sew"})
    history.ask("", "POST", "/v2/users/olga/goals", {"name": "status", "id": goal(201)})
    history.ask("", "PATCH", f"/v2/goals/{goal(201)}", {"description": "as nobody"}, {"X-Reason": "a stranger%27s"})
