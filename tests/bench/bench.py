"""What a measurement is told, and what it answers."""

from pathlib import Path

from msgspec import Struct


class Sample(Struct, frozen=True):
    """One number of one round. Names are stable, as `commands.create.p99`; units are among `/s`, `ms`, `s`, `MiB`,
    `x` (a ratio)."""

    name: str
    value: float
    unit: str
    round: int


class Bench(Struct, frozen=True):
    """One round of a group: `folder` is its own and empty, `logs` keeps made logs from run to run, `seconds` is how
    long wrk runs. `small`: everything is tried on tiny logs, and no number means anything."""

    round: int
    small: bool
    seconds: float
    folder: Path
    logs: Path

    def sample(self, name: str, value: float, unit: str) -> Sample:
        """A number of this round."""
        return Sample(name, value, unit, self.round)
