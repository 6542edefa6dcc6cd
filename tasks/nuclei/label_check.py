"""Tells label images that are no labels, or not those of their image, by what they look like.

One check for annotated plates, for annotations that come back, and for what third-party tools write. `measure_labels`
looks at one field, `check_labels` at the measures of all fields of a plate together: what is wrong is often seen in
comparison with the others only. Clear mistakes are `problems`; a `doubt` is for a person to look at.

Told are masks and classes in place of numbered nuclei, outlines, points, a numbered background, exchanged nuclei and
background, one number for everything, numbers cut to 8 bits, labels that are moved, turned, of another field or of
another magnification, fields that were not annotated or only in part, and numbered parts of a field. Not told are
single wrong nuclei, boxes in place of outlines, and whatever else leaves the brightness inside different from that
outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.ignored import counted_nuclei
from tasks.nuclei.label_fit import Fit, Sketch, auc_of, measure_fit, ranks_of, sketch
from tasks.nuclei.label_forms import contrast, edges, holes, large_pieces
from tasks.nuclei.label_gaps import unlabelled_pieces
from tasks.nuclei.measure import Instances, measure_instances

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
SHARE_OF_A_REGION, TIMES_LARGER = 0.05, 5
"""Share of the field, and how many times larger than the others, from which a label is doubted to be a nucleus."""
SPARSE_MASKS = (
    "looks like a mask or like classes: the fields have one or two numbers each, and nuclei that lie apart share them; "
    "give every nucleus a number of its own, from 1, and the background 0"
)

GOOD_FIT, BAD_FIT = 0.9, 0.75
"""AUC from which labels fit, and below which they are doubted; annotated fields have 0.93 at least."""
CLEAR_GAIN, DOUBTFUL_GAIN = 0.1, 0.01
"""How much better the AUC of other labels must be; in annotated fields that is 0.001 at most."""
FEWEST_LABELS, LEAST_GAIN_BY_TURNS = 5, 0.05
"""Fewer nuclei than these fit somewhere else easily, so that moves explain nothing."""

FEWEST_UNLABELLED, UNLABELLED_SHARE = 3, 0.2
"""Pieces that look like nuclei in a field without labels, and as a share of the labels in others, from which a field is
doubted; the share is 0.13 at most in annotated fields."""
UNLABELLED_SHARE_OF_PLATE = 0.05
"""The same share of all fields together, from which every field with such pieces is doubted; in annotated plates it is
0.01 at most."""

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
    large_pieces: int
    """Connected pieces of all labels together, without those that are far smaller than the largest."""
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


def measure_labels(
    image: NDArray[Any], label_image: NDArray[np.integer], ignored: NDArray[np.bool_] | None = None
) -> LabelMeasures:
    """Measure labels, (y, x) integers from 0, of a (y, x) uint8 or uint16 image of the same size.

    Nuclei that are mostly ignored don't count, and what else is ignored is neither nucleus nor background.
    """
    label_image = counted_nuclei(label_image, ignored)
    instances = measure_instances(label_image)
    largest = int(instances.numbers[instances.areas_px.argmax()]) if len(instances.numbers) else 0
    owners, hole_areas = holes(label_image, ignored)
    filled_px = int(instances.areas_px.sum() + hole_areas.sum())
    spans_field = largest > 0 and all(np.any(edge == largest) for edge in edges(label_image))
    return LabelMeasures(
        instances=instances,
        largest_share=float(instances.areas_px.max(initial=0)) / label_image.size,
        background_share=1 - float(instances.areas_px.sum()) / label_image.size,
        spans_field=spans_field,
        contrast_of_largest=contrast(image, label_image, largest) if spans_field else 0.0,
        holes_of_largest=int(np.count_nonzero(owners == largest)),
        large_pieces=large_pieces(label_image),
        hole_share=float(hole_areas.sum()) / filled_px if filled_px else 0.0,
        fit=measure_fit(image, label_image, ignored),
        sketch=sketch(image, label_image, ignored=ignored),
    )


def check_labels(fields: Mapping[str, LabelMeasures]) -> dict[str, Verdict]:
    """Judge the labels of all fields of a plate, in its order, by the names that sentences shall give them."""
    verdicts = {name: Verdict() for name in fields}
    dark = _nuclei_are_dark(list(fields.values()))
    _judge_shapes(fields, verdicts)
    missing = _unlabelled(fields, dark)
    _judge_fits(fields, dark, missing, verdicts)
    _judge_completeness(fields, dark, missing, verdicts)
    return verdicts


def _judge_shapes(fields: Mapping[str, LabelMeasures], verdicts: Mapping[str, Verdict]) -> None:
    labels = sum(measures.labels for measures in fields.values())
    pieces = sum(measures.pieces for measures in fields.values())
    all_masks = len(fields) > 1 and pieces >= max(PIECES_OF_A_MASK * labels, FEWEST_PIECES)
    sparse_masks = _are_sparse_masks(fields.values())
    doubtful = _have_doubtful_pieces(labels, pieces)
    typical_px = _typical_area_px(fields.values())
    for name, measures in fields.items():
        if measures.labels == 0:
            continue
        if problem := _shape_problem(measures, all_masks, typical_px):
            verdicts[name].problems.append(problem)
        elif sparse_masks:
            verdicts[name].problems.append(SPARSE_MASKS)
        else:
            verdicts[name].doubts += _shape_doubts(measures, doubtful, typical_px)


def _are_sparse_masks(fields: Iterable[LabelMeasures]) -> bool:
    """Whether no field has more than two numbers, and these are of masks or of two classes.

    Fields with a number in several pieces speak for that, fields with two numbers in one piece each against it.
    """
    labelled = [measures for measures in fields if measures.labels]
    shared = sum(measures.large_pieces > measures.labels for measures in labelled)
    numbered = sum(measures.labels == 2 == measures.pieces for measures in labelled)
    return shared > numbered and all(measures.labels <= 2 for measures in labelled)


def _have_doubtful_pieces(labels: int, pieces: int) -> bool:
    return pieces >= max(DOUBTFUL_PIECES * labels, labels + 3)


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


def _shape_doubts(measures: LabelMeasures, doubtful_plate: bool, typical_px: float | None) -> Iterator[str]:
    labels, pieces = measures.labels, measures.pieces
    if _have_doubtful_pieces(labels, pieces) or (doubtful_plate and measures.large_pieces > labels):
        yield f"has {_in_words(labels)} in {pieces} separate pieces; every nucleus must have a number of its own"
    if measures.largest_share > LARGEST_SHARE:
        yield f"one label covers {measures.largest_share:.0%} of the field; a nucleus seldom does"
    elif (times := _times_larger(measures, typical_px)) is not None:
        yield (
            f"one label covers {measures.largest_share:.0%} of the field and is {times:.0f} times as large as the "
            "plate's nuclei; what is no nucleus must be 0, and parts of the field to be ignored are for ignored/"
        )
    elif measures.background_share == 0:
        yield "leaves no background: every pixel is part of a nucleus"
    if labels >= 3 and np.median(measures.instances.areas_px) <= LARGEST_OF_POINTS_PX:
        yield "has points in place of nuclei; every nucleus must be filled with its number"


def _times_larger(measures: LabelMeasures, typical_px: float | None) -> float | None:
    """Say how many times larger than all others the largest label is, if it is far larger than a nucleus."""
    areas_px = np.sort(measures.instances.areas_px)
    others = [float(np.median(areas_px[:-1]))] if len(areas_px) > 1 else []
    others += [typical_px] if typical_px is not None else []
    if not others or measures.largest_share <= SHARE_OF_A_REGION or areas_px[-1] < TIMES_LARGER * max(others):
        return None
    return float(areas_px[-1]) / max(others)


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


def _unlabelled(fields: Mapping[str, LabelMeasures], dark: bool) -> dict[str, int]:
    """Count, by field, what looks like nuclei and has no label."""
    areas_px = [area_px for measures in fields.values() for area_px in measures.instances.areas_px]
    sketches = {name: measures.sketch for name, measures in fields.items()}
    return unlabelled_pieces(sketches, float(np.median(areas_px)), dark) if areas_px else dict.fromkeys(fields, 0)


def _judge_fits(
    fields: Mapping[str, LabelMeasures], dark: bool, missing: Mapping[str, int], verdicts: Mapping[str, Verdict]
) -> None:
    fits = {name: _fit(measures, dark) for name, measures in fields.items()}
    aucs = [fit.auc for fit in fits.values() if fit]
    unexplained = []
    for name, fit in fits.items():
        labels = fields[name].labels
        # Of far more nuclei than labels, some always lie where these would come by a turn, or as in another field.
        if fit is None or verdicts[name].problems or (labels < FEWEST_LABELS and missing[name] > 2 * labels):
            continue
        if better := _better_labels(fit, labels):
            _add_better(verdicts[name], fit, *better)
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
    if turned_auc >= max(GOOD_FIT, fit.auc + LEAST_GAIN_BY_TURNS, fit.moved.auc):
        return turn, turned_auc
    if many and distance_px >= 2 * fit.step_px and fit.moved.auc >= max(GOOD_FIT, fit.auc + DOUBTFUL_GAIN):
        return f"moved by {distance_px:.0f} px ({_direction(fit)})", fit.moved.auc
    if many and magnified_auc >= max(GOOD_FIT, fit.auc + 2 * CLEAR_GAIN):
        return change, magnified_auc
    return None


def _direction(fit: Fit) -> str:
    """Say where the labels lie, seen from where they would fit."""
    down, right = -fit.moved.dy_px, -fit.moved.dx_px
    parts = [f"{abs(down)} px {'down' if down > 0 else 'up'}", f"{abs(right)} px {'right' if right > 0 else 'left'}"]
    return " and ".join(part for part, amount in zip(parts, (down, right), strict=True) if amount)


def _add_better(verdict: Verdict, fit: Fit, change: str, auc: float) -> None:
    measured = f"fit to the brightness {auc:.2f} without that, and {fit.auc:.2f} as they are; 0.5 is chance, 1 perfect"
    if fit.auc < GOOD_FIT and auc >= fit.auc + CLEAR_GAIN:
        verdict.problems.append(
            f"does not fit its image: the labels seem to be {change} ({measured}); save them as they lie on the image"
        )
    else:
        verdict.doubts.append(f"the labels seem to be {change} ({measured})")


def _field_of_labels(name: str, fields: Mapping[str, LabelMeasures], fit: Fit, dark: bool) -> str | None:
    """Give the labels of another field that fit the image clearly better, the nearest fields are tried."""
    names = list(fields)
    own, place = fields[name].sketch, names.index(name)
    ranks = ranks_of(own.image, own.known)
    nearest = sorted(range(len(names)), key=lambda other: abs(other - place))[1 : MOST_COMPARED + 1]
    aucs = {}
    for other in (fields[names[number]] for number in nearest):
        if other.labels and other.sketch.full_shape == own.full_shape:
            auc = auc_of(ranks, other.sketch.share_inside, own.known_share)
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


def _judge_completeness(
    fields: Mapping[str, LabelMeasures], dark: bool, missing: Mapping[str, int], verdicts: Mapping[str, Verdict]
) -> None:
    labels = {name: measures.labels for name, measures in fields.items()}
    in_part = {name for name, more in missing.items() if _is_in_part(more, labels[name])}
    others = labels.keys() - in_part
    more_in_others = sum(missing[name] for name in others)
    if more_in_others >= max(FEWEST_UNLABELLED, UNLABELLED_SHARE_OF_PLATE * sum(labels[name] for name in others)):
        in_part |= {name for name, more in missing.items() if more}
    for name in in_part:
        verdict, more = verdicts[name], missing[name]
        if not (verdict.problems or verdict.doubts):
            seen = f"as {'dark' if dark else 'bright'} and as large as the plate's nuclei"
            pieces = "1 more piece is" if more == 1 else f"some {more} more pieces are"
            what_to_do = "label it" if more == 1 else "label them"
            verdict.doubts.append(f"has {_in_words(labels[name])}, but {pieces} {seen}; {what_to_do} too")


def _is_in_part(more: int, labels: int) -> bool:
    return more >= (UNLABELLED_SHARE * labels if labels else FEWEST_UNLABELLED) and more > 0


def _in_words(labels: int) -> str:
    return {0: "no label", 1: "1 label"}.get(labels, f"{labels} labels")
