"""When to stop annotating: what F1 the next nuclei are expected to bring, from the rounds so far.

F1 against the number n of annotated nuclei is taken to follow an inverse power law, as learning curves of classifiers
do (Figueroa et al. 2012, BMC Medical Informatics and Decision Making 12, 8; Viering and Loog 2023, IEEE Transactions on
Pattern Analysis and Machine Intelligence 45, 7799, who also show where curves don't):

    F1(n) = limit - (limit - F1 of the first round) x (1 + (n - first n) / scale) ^ -rate

With `scale`, it is defined for a first round without any nucleus too, as of a model that others trained. Every such
curve on a grid of these four is weighed by how well it explains what was seen (a posterior with a flat prior on limit
and F1 of the first round, and on the logarithms of scale and rate), so that few rounds or wide intervals give a wide
expectation, not a wrong one. Errors of the rounds are taken to be normal and independent; of rounds scored on the same
fields they aren't, so that the expectation is wider than it need be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MORE_NUCLEI = 100
WORTH = 0.01
"""F1 that 100 more nuclei must be expected to bring to be worth the ten minutes of correcting them. Two trainings on
the same images with other seeds differ by as much."""
SPREAD_OF_TRAININGS = 0.01
"""Standard deviation of F1 at 0.7 among trainings that differ by their seed only."""
FEWEST_ROUNDS = 3
"""Two rounds fit a curve of any limit."""
CONFIDENCE = 0.9

_LIMITS = np.linspace(0.02, 1.0, 50)
_SCALES = np.geomspace(10, 3000, 8)
_RATES = np.geomspace(0.1, 3, 8)
_FIRST_VALUES, _FIRST_ERRORS = 21, 4
"""F1 of the first round is tried at so many values, within so many standard errors."""

Advice = Literal["go on", "stop", "look at the annotations"]


class Round(NamedTuple):
    """F1 after a round of annotation, with its 95 % interval."""

    nuclei: int
    """Annotated in all until then."""
    f1: float
    low: float
    high: float
    own_proposals: int = 0
    """True labels that the model itself proposed: its F1 is too good then."""


@dataclass(frozen=True)
class Expectation:
    """What is expected of F1 with more nuclei, and what to do."""

    advice: Advice
    why: str
    gain: float | None = None
    """Of F1 by the next 100 nuclei: median, and the interval of 90 %. None if there are too few rounds to say."""
    gain_low: float | None = None
    gain_high: float | None = None


class Curves(NamedTuple):
    """Learning curves that explain the rounds, and how well."""

    first_nuclei: int
    limit: NDArray[np.float64]
    """(curves,), like the other three."""
    first: NDArray[np.float64]
    scale: NDArray[np.float64]
    rate: NDArray[np.float64]
    weight: NDArray[np.float64]
    """Sums up to 1."""

    def f1(self, nuclei: float) -> NDArray[np.float64]:
        """Give F1 by each curve, (curves,)."""
        return self.limit - (self.limit - self.first) * (1 + (nuclei - self.first_nuclei) / self.scale) ** -self.rate

    def quantiles(self, values: NDArray[np.float64], shares: Sequence[float]) -> list[float]:
        """Give the quantiles of one value per curve, (curves,), by the curves' weights."""
        order = np.argsort(values)
        reached = np.cumsum(self.weight[order])
        at = np.minimum(np.searchsorted(reached, shares), len(values) - 1)
        found: list[float] = values[order][at].tolist()
        return found


def fitted(rounds: Sequence[Round]) -> Curves:
    """Weigh all curves that don't fall by the rounds, which must be in the order of their nuclei."""
    around = _FIRST_ERRORS * _error(rounds[0])
    firsts = np.linspace(max(0, rounds[0].f1 - around), min(1, rounds[0].f1 + around), _FIRST_VALUES)
    grid = np.meshgrid(_LIMITS, firsts, _SCALES, _RATES, indexing="ij")
    limit, first, scale, rate = (axis.ravel() for axis in grid)
    rises = limit >= first
    parts = (limit[rises], first[rises], scale[rises], rate[rises])
    curves = Curves(rounds[0].nuclei, *parts, weight=np.ones(int(rises.sum())))
    differences = [(curves.f1(one.nuclei) - one.f1) / _error(one) for one in rounds]
    squares = np.sum(np.square(differences), axis=0)
    likelihood = np.exp(-0.5 * (squares - np.min(squares)))
    return curves._replace(weight=likelihood / likelihood.sum())


def expected(rounds: Sequence[Round]) -> Expectation:
    """Give what the next 100 nuclei of a cell line are expected to bring, and whether to go on annotating.

    `rounds` are of one cell line. Those of one number of nuclei, such as trainings anew, count as one each.
    """
    rounds = sorted(rounds, key=lambda one: one.nuclei)
    seen = len({one.nuclei for one in rounds})
    if seen < FEWEST_ROUNDS:
        several = "1 round of annotation is" if seen == 1 else f"{seen} rounds of annotation are"
        return Expectation("go on", f"{several} too few to say; {FEWEST_ROUNDS} are needed.")
    curves = fitted(rounds)
    last = rounds[-1].nuclei
    gains = curves.f1(last + MORE_NUCLEI) - curves.f1(last)
    tail = (1 - CONFIDENCE) / 2
    low, gain, high = curves.quantiles(gains, (tail, 0.5, 1 - tail))
    return Expectation(*_advice(rounds, gain, low, high), gain, low, high)


def _advice(rounds: Sequence[Round], gain: float, low: float, high: float) -> tuple[Advice, str]:
    best, last = max(rounds[:-1], key=lambda one: one.low), rounds[-1]
    if last.high < best.low:
        return (
            "look at the annotations",
            f"F1 fell from {best.f1:.2f} with {best.nuclei} nuclei to {last.f1:.2f} with {last.nuclei}, by more than "
            "chance explains; something is wrong with what was annotated since, or with the training.",
        )
    in_words = (
        f"The next {MORE_NUCLEI} nuclei are expected to bring {gain:+.3f} ({CONFIDENCE:.0%} CI {low:.3f}-{high:.3f})"
    )
    if gain >= WORTH:
        return "go on", f"{in_words}, and {WORTH:g} is worth annotating them."
    sure = "and surely" if high < WORTH else "though it isn't sure that it is"
    return "stop", f"{in_words}, {sure} less than {WORTH:g}, by which two trainings differ anyway."


def _error(one: Round) -> float:
    """Give the standard error of a round's F1, that among trainings included."""
    of_fields = (one.high - one.low) / (2 * stats.norm.ppf(0.975))
    return float(np.hypot(of_fields, SPREAD_OF_TRAININGS))
