"""Kill -9 under load: what was acknowledged stays, once, and the service is up again in seconds."""

import os
import random
import signal
from pathlib import Path
from time import monotonic

from tests.support.load import Load, history, serving
from tests.support.serving import PATIENCE, Served, wait_for

SECONDS_TO_BE_UP = 5.0
VICTIMS = ("worker",) * 6 + ("everybody",) * 3 + ("master",) * 2
ROUNDS = len(VICTIMS)


def test_what_was_acknowledged_survives_kill_9_of_workers_and_masters_under_load(tmp_path: Path) -> None:
    chance = random.Random("D1")  # noqa: S311
    orphans: list[int] = []
    with serving(tmp_path) as served:
        with Load(served, may_be_cut_off=True) as load:
            for number, victim in enumerate(chance.sample(VICTIMS, ROUNDS) + chance.choices(VICTIMS, k=2 * ROUNDS)):
                if number >= ROUNDS and load.replayed():
                    break
                load.wait_for_more(chance.randrange(1, 40))
                wait_for_a_write(served, chance.uniform(0, 0.003))
                if victim == "worker":
                    kill_a_worker(served, chance)
                elif victim == "everybody":
                    served.kill()
                    start_again(served)
                else:
                    orphans += kill_the_master(served)
                load.wait_for_more(5, SECONDS_TO_BE_UP)

        # Some commands had no answer, and some of those were recorded all the same.
        assert load.cut_off() > 0
        assert set(load.statuses()) <= {200, 201, 409, 503}
        load.check(history(served.db))
        served.verified()
        wait_for(lambda: not any(map(lives, orphans)), "workers without a master to end")


def wait_for_a_write(served: Served, seconds: float) -> None:
    """And some milliseconds: whoever is killed then may have recorded what it has not answered."""
    wal = served.db.with_name("events.db-wal")
    before, until = wal.stat().st_mtime_ns, monotonic() + PATIENCE
    while wal.stat().st_mtime_ns == before and monotonic() < until:
        pass
    until = monotonic() + seconds
    while monotonic() < until:
        pass


def kill_a_worker(served: Served, chance: random.Random) -> None:
    """The master starts another one."""
    old = served.workers()
    worker = chance.choice(old)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: has_workers(served, without=worker), "another worker", SECONDS_TO_BE_UP)


def kill_the_master(served: Served) -> list[int]:
    """Alone; the workers that it leaves behind go on for a moment beside those of the next one."""
    orphans = served.workers()
    served.process.kill()
    served.process.wait()
    start_again(served)
    return orphans


def start_again(served: Served) -> None:
    """Somebody may answer all the time: the workers of a master that was killed."""
    began = monotonic()
    served.launch()
    wait_for(lambda: has_workers(served), "workers", SECONDS_TO_BE_UP)
    assert monotonic() - began < SECONDS_TO_BE_UP


def has_workers(served: Served, without: int | None = None) -> bool:
    workers = served.workers()
    return len(workers) == 2 and without not in workers


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
