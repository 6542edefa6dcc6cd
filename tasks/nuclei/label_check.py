"""Tells label images that are no labels, or not those of their image, by what they look like.

One check for annotated plates, for annotations that come back, and for what third-party tools write. `measure_labels`
looks at one field, `check_labels` at the measures of all fields of a plate together: what is wrong is often seen in
comparison with the others only. Clear mistakes are `problems`; a `doubt` is for a person to look at.

Told are masks and classes in place of numbered nuclei, outlines, points, a numbered background, exchanged nuclei and
background, one number for everything, numbers cut to 8 bits, labels that are moved, turned, of another field or of
another magnification, fields that were not annotated or only in part. Not told are single wrong nuclei, boxes in place
of outlines, and whatever else leaves the brightness inside different from that outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.label_fit import Fit, Sketch, auc_of, measure_fit, ranks_of, sketch
from tasks.nuclei.measure import Instances, edge_pixels, intensity_histogram, measure_instances

PIECES_OF_A_MASK = 3
"""Pieces per label from which labels are a mask or classes; annotated fields have 1.01 at most."""
FEWEST_PIECES = 6
DOUBTFUL_PIECES = 1.2
LABELS_OF_8_BIT = 255
HOLES_OF_OUTLINES = 0.3
"""Share of the nuclei's area that labels enclose without filling it, from which they are outlines."""
LEAST_BACKGROUND = 0.3
"""Share of the field from which a label that touches all edges is tried as its background."""
LARGEST_OF_POINTS_PX = 9
"""Median area of labels up to which they are points."""
LARGER_THAN_NUCLEI_PX = 256
"""Side of a field that no nucleus fills."""
LARGEST_SHARE = 0.5
"""Share of the field from which one nucleus is doubted; in annotated fields it is 0.05 at most."""

GOOD_FIT, BAD_FIT = 0.9, 0.75
"""AUC from which labels fit, and below which they are doubted; annotated fields have 0.93 at least."""
CLEAR_GAIN, DOUBTFUL_GAIN = 0.1, 0.01
"""How much better the AUC of other labels must be; in annotated fields that is 0.001 at most."""
FEWEST_LABELS, FEW_LABELS_GAIN = 5, 0.05
"""Fewer nuclei than these fit somewhere else easily, so that they must fit much better there."""

MOST_COMPARED = 200
"""Fields whose labels are tried on a field that its own don't fit; the nearest in the order of the plate."""
MOST_EXPLAINED = 50
"""Fields of a plate for which that is done."""


@dataclass(frozen=True)
class LabelMeasures:
    """What a label image and its image look like."""

    instances: Instances
    largest_share: float
    """Share of the field under the label with the largest area."""
    background_share: float
    spans_field: bool
    """Whether the largest label touches all four edges."""
    contrast_of_largest: float
    """How far its brightness is from that of the other labels: AUC, less 0.5; 0 where there are no others."""
    holes_of_largest: int
    hole_share: float
    """Pixels that are enclosed by one label, as a share of these and the labels together."""
    fit: Fit | None
    sketch: Sketch

    @property
    def labels(self) -> int:
        return len(self.instances.numbers)

    @property
    def pieces(self) -> int:
        return int(self.instances.pieces.sum())


@dataclass
class Verdict:
    """Sentences on the labels of a field, without its name."""

    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def measure_labels(image: NDArray[Any], label_image: NDArray[np.integer]) -> LabelMeasures:
    """Measure labels, (y, x) integers from 0, of a (y, x) uint8 or uint16 image of the same size."""
    instances = measure_instances(label_image)
    largest = int(instances.numbers[instances.areas_px.argmax()]) if len(instances.numbers) else 0
    owners, hole_areas = _holes(label_image)
    filled_px = int(instances.areas_px.sum() + hole_areas.sum())
    spans_field = largest > 0 and all(np.any(edge == largest) for edge in _edges(label_image))
    return LabelMeasures(
        instances=instances,
        largest_share=float(instances.areas_px.max(initial=0)) / label_image.size,
        background_share=1 - float(instances.areas_px.sum()) / label_image.size,
        spans_field=spans_field,
        contrast_of_largest=_contrast(image, label_image, largest) if spans_field else 0.0,
        holes_of_largest=int(np.count_nonzero(owners == largest)),
        hole_share=float(hole_areas.sum()) / filled_px if filled_px else 0.0,
        fit=measure_fit(image, label_image),
        sketch=sketch(image, label_image),
    )


def check_labels(fields: Mapping[str, LabelMeasures]) -> dict[str, Verdict]:
    """Judge the labels of all fields of a plate, in its order, by the names that sentences shall give them."""
    verdicts = {name: Verdict() for name in fields}
    dark = _nuclei_are_dark(list(fields.values()))
    _judge_shapes(fields, verdicts)
    _judge_fits(fields, dark, verdicts)
    _judge_completeness(fields, dark, verdicts)
    return verdicts


def _judge_shapes(fields: Mapping[str, LabelMeasures], verdicts: Mapping[str, Verdict]) -> None:
    labels = sum(measures.labels for measures in fields.values())
    pieces = sum(measures.pieces for measures in fields.values())
    all_masks = len(fields) > 1 and pieces >= max(PIECES_OF_A_MASK * labels, FEWEST_PIECES)
    typical_px = _typical_area_px(fields.values())
    for name, measures in fields.items():
        if measures.labels == 0:
            continue
        if problem := _shape_problem(measures, all_masks, typical_px):
            verdicts[name].problems.append(problem)
        else:
            verdicts[name].doubts += _shape_doubts(measures)


def _typical_area_px(fields: Iterable[LabelMeasures]) -> float | None:
    """Give the median area of all labels; None of too few."""
    areas_px = [area_px for measures in fields for area_px in measures.instances.areas_px]
    return float(np.median(areas_px)) if len(areas_px) >= 2 * FEWEST_LABELS else None


def _shape_problem(measures: LabelMeasures, all_masks: bool, typical_px: float | None) -> str | None:
    labels, pieces = measures.labels, measures.pieces
    covers_field = measures.spans_field and measures.largest_share >= LEAST_BACKGROUND
    if measures.largest_share == 1 and min(measures.sketch.full_shape) >= LARGER_THAN_NUCLEI_PX:
        return "gives every pixel the same number; the background must be 0, and every nucleus have a number of its own"
    if measures.hole_share >= (HOLES_OF_OUTLINES if pieces >= 3 else 0.5) and not covers_field:
        return (
            f"looks like outlines: its labels enclose {measures.hole_share:.0%} of the nuclei's area without filling "
            "it; fill every nucleus with its number"
        )
    if covers_field and _is_background(measures):
        return (
            f"the background seems to have a number: one label covers {measures.largest_share:.0%} of the field and "
            "touches all its edges; the background must be 0, and every nucleus have a number of its own"
        )
    if pieces >= max(PIECES_OF_A_MASK * labels, FEWEST_PIECES) or (all_masks and pieces > labels):
        numbers = "all have the same number" if labels == 1 else f"share {labels} numbers"
        return (
            f"looks like a mask or like classes: {pieces} separate pieces {numbers}; "
            "give every nucleus a number of its own, from 1, and the background 0"
        )
    if labels == LABELS_OF_8_BIT and pieces >= labels + 3:
        return (
            f"its numbers seem to be cut to 8 bits: all {labels} that fit are used, for {pieces} separate pieces; "
            "save it with 16 bits, where every nucleus has a number of its own"
        )
    area_px = measures.largest_share * measures.sketch.full_shape[0] * measures.sketch.full_shape[1]
    if measures.largest_share > 0.9 and typical_px is not None and area_px > 10 * typical_px:
        return (
            f"one label covers {measures.largest_share:.0%} of the field; the background must be 0, and every nucleus "
            "have a number of its own"
        )
    return None


def _is_background(measures: LabelMeasures) -> bool:
    """Whether the label that touches all edges is the background; a nucleus in a tiny crop can look like one."""
    if measures.labels == 1:
        return measures.holes_of_largest >= 3
    is_large = measures.largest_share >= LARGEST_SHARE or measures.background_share < 0.02
    return is_large and (measures.labels >= FEWEST_LABELS or abs(measures.contrast_of_largest) >= 0.35)


def _shape_doubts(measures: LabelMeasures) -> Iterator[str]:
    labels, pieces = measures.labels, measures.pieces
    if pieces >= max(DOUBTFUL_PIECES * labels, labels + 3):
        yield f"has {labels} labels in {pieces} separate pieces; every nucleus must have a number of its own"
    if measures.largest_share > LARGEST_SHARE:
        yield f"one label covers {measures.largest_share:.0%} of the field; a nucleus seldom does"
    elif measures.background_share == 0:
        yield "leaves no background: every pixel is part of a nucleus"
    if labels >= 3 and np.median(measures.instances.areas_px) <= LARGEST_OF_POINTS_PX:
        yield "has points in place of nuclei; every nucleus must be filled with its number"


def _nuclei_are_dark(fields: Sequence[LabelMeasures]) -> bool:
    """Whether the nuclei of the plate are darker than their surroundings, as in bright field."""
    fits = [measures.fit for measures in fields if measures.fit]
    if not fits:
        return False
    typical = float(np.median([fit.auc for fit in fits]))
    if abs(typical - 0.5) >= 0.25:
        return typical < 0.5
    # They fit nowhere as they are; what fits when moved or turned decides.
    bright, dark = (
        np.mean([max([fit.moved.auc, *fit.turned.values()]) for fit in seen])
        for seen in (fits, [fit.of_dark_nuclei for fit in fits])
    )
    return bool(dark > bright + 0.1)


def _judge_fits(fields: Mapping[str, LabelMeasures], dark: bool, verdicts: Mapping[str, Verdict]) -> None:
    fits = {name: _fit(measures, dark) for name, measures in fields.items()}
    aucs = [fit.auc for fit in fits.values() if fit]
    unexplained = []
    for name, fit in fits.items():
        if fit is None or verdicts[name].problems:
            continue
        if better := _better_labels(fit, fields[name].labels):
            _add_better(verdicts[name], fit, fields[name].labels, *better)
        elif fit.auc < BAD_FIT:
            unexplained.append(name)
    for number, name in enumerate(unexplained):
        fit = fits[name]
        assert fit is not None
        other = _field_of_labels(name, fields, fit, dark) if number < MOST_EXPLAINED else None
        if other is None:
            verdicts[name].doubts.append(_bad_fit(fit, aucs, dark))
        else:
            verdicts[name].problems.append(
                f"does not fit its image, which {other} fits: label images seem to be exchanged; give every image its "
                "own labels"
            )


def _fit(measures: LabelMeasures, dark: bool) -> Fit | None:
    return measures.fit.of_dark_nuclei if measures.fit and dark else measures.fit


def _better_labels(fit: Fit, labels: int) -> tuple[str, float] | None:
    """Give how the labels seem to be changed, in words, and the AUC that they would have without that."""
    many = labels >= FEWEST_LABELS
    turn, turned_auc = max(fit.turned.items(), key=lambda item: item[1], default=("", 0.0))
    change, magnified_auc = max(fit.magnified.items(), key=lambda item: item[1], default=("", 0.0))
    distance_px = float(np.hypot(fit.moved.dy_px, fit.moved.dx_px))
    if turned_auc >= max(GOOD_FIT, fit.auc + FEW_LABELS_GAIN, fit.moved.auc):
        return turn, turned_auc
    gain = DOUBTFUL_GAIN if many else FEW_LABELS_GAIN
    if distance_px >= 2 * fit.step_px and fit.moved.auc >= max(GOOD_FIT, fit.auc + gain):
        return f"moved by {distance_px:.0f} px ({_direction(fit)})", fit.moved.auc
    if many and magnified_auc >= max(GOOD_FIT, fit.auc + 2 * CLEAR_GAIN):
        return change, magnified_auc
    return None


def _direction(fit: Fit) -> str:
    """Say where the labels lie, seen from where they would fit."""
    down, right = -fit.moved.dy_px, -fit.moved.dx_px
    parts = [f"{abs(down)} px {'down' if down > 0 else 'up'}", f"{abs(right)} px {'right' if right > 0 else 'left'}"]
    return " and ".join(part for part, amount in zip(parts, (down, right), strict=True) if amount)


def _add_better(verdict: Verdict, fit: Fit, labels: int, change: str, auc: float) -> None:
    # A turn is one try; of all the moves, one suits single nuclei easily.
    is_sure = labels >= FEWEST_LABELS or change in fit.turned
    measured = f"fit to the brightness {auc:.2f} without that, and {fit.auc:.2f} as they are; 0.5 is chance, 1 perfect"
    if is_sure and fit.auc < GOOD_FIT and auc >= fit.auc + CLEAR_GAIN:
        verdict.problems.append(
            f"does not fit its image: the labels seem to be {change} ({measured}); save them as they lie on the image"
        )
    else:
        verdict.doubts.append(f"the labels seem to be {change} ({measured})")


def _field_of_labels(name: str, fields: Mapping[str, LabelMeasures], fit: Fit, dark: bool) -> str | None:
    """Give the labels of another field that fit the image clearly better, the nearest fields are tried."""
    names = list(fields)
    own, place = fields[name].sketch, names.index(name)
    ranks = ranks_of(own.image)
    nearest = sorted(range(len(names)), key=lambda other: abs(other - place))[1 : MOST_COMPARED + 1]
    aucs = {}
    for other in (fields[names[number]] for number in nearest):
        if other.labels and other.sketch.full_shape == own.full_shape:
            auc = auc_of(ranks, other.sketch.share_inside)
            aucs[1 - auc if dark else auc] = other
    best = max(aucs, default=0.0)
    if best < max(GOOD_FIT, fit.auc + CLEAR_GAIN):
        return None
    return next(other for other, measures in fields.items() if measures is aucs[best])


def _bad_fit(fit: Fit, aucs: list[float], dark: bool) -> str:
    how = "darker" if dark else "brighter"
    typical = f", and in {np.median(aucs):.0%} in the plate's typical field" if len(aucs) > 1 else ""
    return (
        f"the labels hardly fit the brightness of their image: of two pixels, the one inside the labels is {how} than "
        f"the one outside in {fit.auc:.0%} of all pairs{typical}"
    )


def _judge_completeness(fields: Mapping[str, LabelMeasures], dark: bool, verdicts: Mapping[str, Verdict]) -> None:
    typical_px = _typical_area_px(fields.values())
    levels = {name: _level(measures.sketch, dark) for name, measures in fields.items()}
    known = [level for level in levels.values() if level is not None]
    if typical_px is None:
        return
    for name, measures in fields.items():
        level = levels[name]
        if verdicts[name].problems or verdicts[name].doubts:
            continue
        missing = _unlabelled(measures.sketch, np.median(known) if level is None else level, typical_px, dark)
        if missing >= max(3, measures.labels):
            seen = f"as {'dark' if dark else 'bright'} and as large as the plate's nuclei"
            amount = f"has {measures.labels} labels" if measures.labels else "has no label"
            verdicts[name].doubts.append(f"{amount}, but some {missing} more pieces are {seen}")


def _level(small: Sketch, dark: bool) -> float | None:
    """Give the brightness halfway between the labels and what is outside; None without labels."""
    image = _bright(small, dark)
    inside, outside = image[small.inside > 200], image[small.inside < 50]
    return (float(np.median(inside)) + float(np.median(outside))) / 2 if len(inside) and len(outside) else None


def _unlabelled(small: Sketch, level: float, typical_px: float, dark: bool) -> int:
    """Count the pieces that are brighter than `level`, as large as half a nucleus, and not labelled."""
    bright = (_bright(small, dark) > level).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=4)
    labelled = np.bincount(pieces.ravel(), weights=small.inside.ravel() / 255, minlength=count)
    areas = stats[:, cv2.CC_STAT_AREA]
    least = max(typical_px / 2 * small.image.size / np.prod(small.full_shape), 4)
    return int(np.count_nonzero((areas >= least)[1:] & (labelled < 0.1 * areas)[1:]))


def _bright(small: Sketch, dark: bool) -> NDArray[np.uint16]:
    return np.iinfo(np.uint16).max - small.image if dark else small.image


def _edges(label_image: NDArray[np.integer]) -> tuple[NDArray[np.integer], ...]:
    return label_image[0], label_image[-1], label_image[:, 0], label_image[:, -1]


def _contrast(image: NDArray[Any], label_image: NDArray[np.integer], largest: int) -> float:
    """Give the AUC, less 0.5, of the pixels of a label against those of the other labels; 0 where there are none."""
    inside, others = (
        intensity_histogram(image[pixels])
        for pixels in (label_image == largest, (label_image > 0) & (label_image != largest))
    )
    pairs = float(inside.sum()) * float(others.sum())
    return float((inside * (np.cumsum(others) - others / 2)).sum()) / pairs - 0.5 if pairs else 0.0


def _holes(label_image: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the label around each piece of background that one label encloses alone, and the areas in px."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((label_image == 0).astype(np.uint8), connectivity=4)
    lowest, highest = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)
    for here, there in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[1:], np.s_[:-1]),
    ):
        border = (label_image[here] == 0) & (label_image[there] > 0)
        piece, label = pieces[here][border], label_image[there][border].astype(np.int64)
        np.minimum.at(lowest, piece, label)
        np.maximum.at(highest, piece, label)
    at_edge = np.unique(edge_pixels(pieces))
    enclosed = (lowest == highest) & ~np.isin(np.arange(count), at_edge)
    enclosed[0] = False
    return highest[enclosed], stats[enclosed, cv2.CC_STAT_AREA].astype(np.int64)
