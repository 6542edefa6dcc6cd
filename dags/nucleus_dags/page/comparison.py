"""Two models side by side: differences of F1 with intervals where a judgement has them, gained and lost nuclei."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nucleus_dags.page.model_rows import Generation, Row
from nucleus_dags.page.model_scores import F1, Group, Judgement, Measured, shown_thresholds


class Difference(NamedTuple):
    """F1 of two models at an IoU threshold, and the difference with its 95 % CI where it is known."""

    before: F1
    after: F1
    low: float | None
    high: float | None

    @property
    def value(self) -> float:
        return self.after.value - self.before.value

    @property
    def is_shown(self) -> bool:
        """Whether the CI excludes that nothing has changed."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Compared:
    """What the store knows of a pair of models."""

    differences: Mapping[Group, Mapping[float, Difference]]
    """By group and IoU threshold, of what both were scored on."""
    only_one: Sequence[str]
    """Test plates that only one of them was scored on, so that F1 over all of them isn't compared."""
    judgement: Judgement | None
    plates: Sequence[Mapping[str, Any]]
    """Nuclei that the second gained and lost against the first; one row per plate."""
    gained: str
    """Name of the picture of gained nuclei in the judgement: `gained`, or `lost` if it was made the other way round."""
    lost: str
    trained_on: Sequence[str]
    """Test plates that the second was trained on, or what it began from: its F1 there says nothing of others."""


def compare(before: Row, after: Row, measured: Measured, trained: Sequence[Generation]) -> Compared:
    """Put two models side by side; `trained` are the generations of the second."""
    pair = measured.of_pair(before.key, after.key) if before.key and after.key else None
    judgement, sign = pair or (None, 1)
    gained, lost = ("gained", "lost") if sign > 0 else ("lost", "gained")
    plates = judgement.plates if judgement else []
    tested = [set(row.scores.plates) if row.scores else set() for row in (before, after)]
    learnt_from = {plate.removeprefix("ingest/") for generation in trained for plate in generation.plates}
    return Compared(
        differences=_differences(before, after, judgement, sign),
        only_one=sorted(tested[0] ^ tested[1]),
        judgement=judgement,
        plates=[{**row, "gained": int(row[gained]), "lost": int(row[lost])} for row in plates],
        gained=gained,
        lost=lost,
        trained_on=sorted(tested[1] & learnt_from),
    )


def _differences(
    before: Row, after: Row, judgement: Judgement | None, sign: int
) -> dict[Group, dict[float, Difference]]:
    if before.scores is None or after.scores is None:
        return {}
    of_before, of_after = before.scores.intervals, after.scores.intervals
    same_plates = before.scores.plates == after.scores.plates
    # A judgement may be of fewer plates, or of versions of them that don't count any more.
    scored = (before.scores.result.path, after.scores.result.path)[::sign]
    known = _intervals(judgement, sign) if judgement and judgement.scores == scored else {}
    found: dict[Group, dict[float, Difference]] = {}
    for group, threshold in sorted(of_before.keys() & of_after.keys(), key=lambda one: (one[0].kind, one[0].name)):
        # Of cell lines and of all, F1 is of the same plates only if all are.
        if group.kind == "plate" or same_plates:
            low, high = known.get((group.name, threshold), (None, None)) if group.kind == "cell_line" else (None, None)
            one = Difference(of_before[group, threshold], of_after[group, threshold], low, high)
            found.setdefault(group, {})[threshold] = one
    return {group: of_group for group, of_group in found.items() if len(of_group) == len(shown_thresholds())}


def _intervals(judgement: Judgement, sign: int) -> dict[tuple[str, float], tuple[float, float]]:
    """Give the CI of the difference by cell line and IoU threshold."""
    known = {}
    for rule in judgement.content["rules"]:
        for threshold in shown_thresholds():
            if rule["metric"] == f"f1_at_{threshold}":
                low, high = sorted((sign * rule["low"], sign * rule["high"]))
                known[rule["cell_line"], threshold] = (low, high)
    return known
