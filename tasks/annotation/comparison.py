"""What an annotator changed: each nucleus that was sent or came back is of one of seven kinds.

It was kept, changed, split, merged, deleted or added, or it has its outline and only its class is another one: nobody
could say any more what it is, or somebody could now.

A nucleus was split if two or more that came back lie mostly (at least half of their area) in it, merged if two or more
that were sent lie mostly in the same one. Of the rest, pairs with the highest IoU belong together down to 0.1; what is
left over was deleted or added.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.runs import row_runs
from tasks.nuclei.scoring import SPLIT_MERGE_IOU, IouPairs, iou_pairs

MOSTLY = 0.5

SECONDS_BY_HAND = 12 * 3600 / 1382
"""For a nucleus: the paper's 12 hours for 1,382."""


@dataclass(frozen=True)
class Comparison:
    """What became of the nuclei of a field; numbers are labels, of the label image that was sent unless said."""

    kept: tuple[int, ...] = ()
    reclassified: tuple[int, ...] = ()
    """As they were sent to the pixel, but from sure to unsure or back."""
    changed: Mapping[int, float] = field(default_factory=dict)
    """IoU with what came back, by label."""
    split: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Labels that came back, by the one that was sent."""
    merged: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Labels that were sent, by the one that came back."""
    deleted: tuple[int, ...] = ()
    added: tuple[int, ...] = ()
    """Labels that came back."""
    partner: Mapping[int, int] = field(default_factory=dict)
    """Label that came back, by the one that was sent, for those that were kept, reclassified or changed."""

    @property
    def nuclei(self) -> int:
        """How many came back."""
        parts = sum(map(len, self.split.values()))
        outlines = len(self.kept) + len(self.reclassified) + len(self.changed)
        return outlines + parts + len(self.merged) + len(self.added)

    @property
    def edits(self) -> int:
        """How many nuclei an annotator had to work on."""
        return sum(self.counts().values()) - len(self.kept)

    def counts(self) -> dict[str, int]:
        """How many of each kind; `merged` counts those that came back."""
        kinds = ("kept", "changed", "split", "merged", "deleted", "added", "reclassified")
        return {kind: len(getattr(self, kind)) for kind in kinds}


@dataclass(frozen=True)
class Effort:
    """Time that preliminary labels saved."""

    hours: float
    hours_by_hand: float
    is_measured: bool
    """Whether a tool recorded the hours. Otherwise each edit counts as if the nucleus had been drawn by hand."""

    @property
    def saved_share(self) -> float:
        """Of the hours by hand; the paper has 0.83. Below 0 if correcting took longer."""
        return 1 - self.hours / self.hours_by_hand if self.hours_by_hand else 0.0


def effort(comparisons: Sequence[Comparison], minutes: float | None) -> Effort:
    """Give the hours of several fields together, and those that drawing by hand would have taken, as in the paper."""
    by_hand = sum(each.nuclei for each in comparisons) * SECONDS_BY_HAND / 3600
    if minutes is not None:
        return Effort(minutes / 60, by_hand, is_measured=True)
    return Effort(sum(each.edits for each in comparisons) * SECONDS_BY_HAND / 3600, by_hand, is_measured=False)


def compare(
    sent: NDArray[np.integer],
    returned: NDArray[np.integer],
    looked_at: NDArray[np.bool_] | None = None,
    sent_unsure: Collection[int] = (),
    returned_unsure: Collection[int] = (),
) -> Comparison:
    """Compare two label images (y, x) of one size, as far as they were looked at, a (y, x) mask; None for all.

    `sent_unsure` and `returned_unsure` are labels of nuclei of which nobody could say what they are. Raises InputError
    as `iou_pairs` does.
    """
    if looked_at is not None:
        sent, returned = (_seen(labels, looked_at) for labels in (sent, returned))
    pairs = iou_pairs(sent, returned)
    shares = _Shares.of(pairs, sent, returned)
    split = _groups(pairs.true_position, pairs.predicted_position, shares.of_returned >= MOSTLY)
    free = ~np.isin(pairs.true_position, list(split)) & ~np.isin(pairs.predicted_position, _members(split))
    merged = _groups(pairs.predicted_position, pairs.true_position, (shares.of_sent >= MOSTLY) & free)
    used_sent, used_returned = set(split) | set(_members(merged)), set(_members(split)) | set(merged)
    matched = _matched(pairs, used_sent, used_returned)
    partners = {sent_place: returned_place for sent_place, returned_place, _ in matched}
    sent_ids, returned_ids = pairs.true_ids.tolist(), pairs.predicted_ids.tolist()
    same = [(sent_ids[one], returned_ids[other]) for one, other, iou in sorted(matched) if iou == 1]
    of_other_class = {one for one, other in same if (one in sent_unsure) != (other in returned_unsure)}
    return Comparison(
        kept=tuple(one for one, _ in same if one not in of_other_class),
        reclassified=tuple(sorted(of_other_class)),
        changed={sent_ids[one]: iou for one, _, iou in sorted(matched) if iou < 1},
        split={sent_ids[one]: tuple(returned_ids[part] for part in parts) for one, parts in split.items()},
        merged={returned_ids[one]: tuple(sent_ids[part] for part in parts) for one, parts in merged.items()},
        deleted=_left(sent_ids, used_sent | set(partners)),
        added=_left(returned_ids, used_returned | set(partners.values())),
        partner={sent_ids[one]: returned_ids[other] for one, other in sorted(partners.items())},
    )


def _seen(labels: NDArray[np.integer], looked_at: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Give the labels that have a pixel in what was looked at, whole."""
    runs = row_runs(labels, looked_at)
    of_runs = runs.labels(labels)
    seen = np.unique(of_runs[runs.labels(looked_at)])
    return runs.filled(np.where(np.isin(of_runs, seen), of_runs, 0))


@dataclass(frozen=True)
class _Shares:
    """What each pair shares, of the area of the nucleus that was sent, and of the one that came back."""

    of_sent: NDArray[np.float64]
    of_returned: NDArray[np.float64]

    @classmethod
    def of(cls, pairs: IouPairs, sent: NDArray[np.integer], returned: NDArray[np.integer]) -> _Shares:
        area_sent = _areas(sent, pairs.true_ids)[pairs.true_position]
        area_returned = _areas(returned, pairs.predicted_ids)[pairs.predicted_position]
        shared = pairs.iou * (area_sent + area_returned) / (1 + pairs.iou)
        return cls(shared / area_sent, shared / area_returned)


def _areas(labels: NDArray[np.integer], ids: NDArray[np.integer]) -> NDArray[np.float64]:
    runs = row_runs(labels)
    of_runs = runs.labels(labels)
    inside = of_runs > 0
    positions = np.searchsorted(ids, of_runs[inside])
    return np.bincount(positions, weights=runs.length_px[inside], minlength=len(ids)).astype(np.float64)


def _groups(
    one: NDArray[np.integer], parts: NDArray[np.integer], belong: NDArray[np.bool_]
) -> dict[int, tuple[int, ...]]:
    """Give the parts of each that has two or more."""
    groups: dict[int, list[int]] = {}
    for whole, part in zip(one[belong].tolist(), parts[belong].tolist(), strict=True):
        groups.setdefault(whole, []).append(part)
    return {whole: tuple(members) for whole, members in sorted(groups.items()) if len(members) > 1}


def _members(groups: Mapping[int, tuple[int, ...]]) -> list[int]:
    return [member for members in groups.values() for member in members]


def _matched(pairs: IouPairs, used_sent: set[int], used_returned: set[int]) -> list[tuple[int, int, float]]:
    """Give pairs of positions with their IoU, the best first; each nucleus is in one pair at most."""
    taken_sent, taken_returned = set(used_sent), set(used_returned)
    matched = []
    for place in np.argsort(-pairs.iou, kind="stable").tolist():
        one, other, iou = (
            int(pairs.true_position[place]), int(pairs.predicted_position[place]), float(pairs.iou[place]),
        )  # fmt: skip
        if iou >= SPLIT_MERGE_IOU and one not in taken_sent and other not in taken_returned:
            taken_sent.add(one)
            taken_returned.add(other)
            matched.append((one, other, iou))
    return matched


def _left(ids: Sequence[int], used: set[int]) -> tuple[int, ...]:
    return tuple(number for place, number in enumerate(ids) if place not in used)
