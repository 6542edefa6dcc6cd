"""Whether a score is good enough, given how sure it is."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tasks.nuclei.intervals import more_nuclei

Answer = Literal["good enough", "not good enough", "can't be told"]


class Score(NamedTuple):
    """F1 with its 95 % CI."""

    f1: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.f1:.3f} ({self.low:.3f} to {self.high:.3f})"

    def answer(self, least_f1: float) -> Answer:
        """Say whether it is `least_f1` at least: only if the whole interval says so."""
        if self.low >= least_f1:
            return "good enough"
        return "not good enough" if self.high < least_f1 else "can't be told"

    def nuclei_lacking(self, least_f1: float, nuclei: int) -> int:
        """Give about how many more nuclei than those scored, in further fields, would let `answer` tell.

        That is where an interval with the same middle, whose sides shrink alike, would just end at `least_f1`.
        """
        towards = self.f1 - self.low if self.f1 >= least_f1 else self.high - self.f1
        return more_nuclei(nuclei, towards, abs(self.f1 - least_f1))
