"""How well labels fit the brightness of their image, and which other labels would fit better.

The measure is the area under the ROC curve (AUC): the probability that a pixel inside the labels is brighter than one
outside. It is 0.5 for labels of another image, near 1 for bright nuclei and near 0 for dark ones. On 383 annotated
fields of fluorescence microscopy it is 0.93 to 1.00, and no shift of the labels improves it by more than 0.001; for
the labels of another field, or turned ones, it is 0.5 on average.

All is measured on images that are made smaller, so that it takes little time and memory whatever the size of a field.
Of fields that are annotated in part, what is ignored is neither inside nor outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from tasks.nuclei.measure import intensity_histogram

LOOK_PX = 512
"""Longer side of the images on which labels are compared with brightness."""
SKETCH_PX = 256
"""Longer side of what is kept of every field, to compare it with the labels of others."""

MAGNIFICATIONS = (1.5, 2.0, 3.0, 4.0)
"""Ratios of two objectives of one microscope."""

_TURNS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "transposed (x and y are exchanged)": np.transpose,
    "flipped upside down": np.flipud,
    "flipped left to right": np.fliplr,
    "rotated by 180°": lambda labels: np.rot90(labels, 2),
    "rotated by 90° to the right": np.rot90,
    "rotated by 90° to the left": lambda labels: np.rot90(labels, 3),
    "transposed and rotated by 180°": lambda labels: np.rot90(labels, 2).T,
}
"""What labels can be, with what undoes it."""


class Move(NamedTuple):
    """Labels moved by (dy, dx) px, and the AUC that they would have there."""

    auc: float
    dy_px: int
    dx_px: int


@dataclass(frozen=True)
class Sketch:
    """A field and its labels made small."""

    image: NDArray[np.uint16]
    """(y, x); of full range for images of 8 bit too."""
    inside: NDArray[np.uint8]
    """(y, x), 255 where all is inside the labels."""
    full_shape: tuple[int, int]
    known: NDArray[np.bool_] | None = None
    """(y, x), where nothing is ignored; None where nothing is anywhere."""

    @property
    def share_inside(self) -> NDArray[np.float32]:
        """Share of each pixel that is inside the labels; 0 where anything is ignored."""
        share = self.inside.astype(np.float32) / np.float32(255)
        return share if self.known is None else share * self.known

    @property
    def known_share(self) -> float:
        return 1.0 if self.known is None else float(self.known.mean())


@dataclass(frozen=True)
class Fit:
    """AUC of the labels of a field as they are, and of changed ones."""

    auc: float
    moved: Move
    """The best within a quarter of the field; `auc` itself where no move is better."""
    moved_dark: Move
    """The same for nuclei that are darker than their surroundings: the move with the lowest AUC."""
    turned: dict[str, float]
    """AUC of turned labels, by how they are turned in words."""
    magnified: dict[str, float] = field(default_factory=dict)
    """Best AUC of labels of another magnification, in words; measured only where the labels fit badly."""
    step_px: int = 1
    """Pixels of the field in one of the small image."""

    @property
    def of_dark_nuclei(self) -> Fit:
        """The same for dark nuclei: the probability that a pixel inside is darker."""
        swapped = self.moved_dark._replace(auc=1 - self.moved_dark.auc)
        turned = {name: 1 - auc for name, auc in self.turned.items()}
        return replace(self, auc=1 - self.auc, moved=swapped, turned=turned, magnified={})


def sketch(
    image: NDArray[Any],
    label_image: NDArray[np.integer],
    side_px: int = SKETCH_PX,
    ignored: NDArray[np.bool_] | None = None,
) -> Sketch:
    """Make a field, (y, x) uint8 or uint16, and its labels small; the noise of single pixels is blurred."""
    scale = 257 if image.dtype == np.uint8 else 1
    small = cv2.GaussianBlur(_shrunk(image, side_px) * scale, (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE)
    inside = _shrunk(label_image > 0, side_px) * 255
    height, width = image.shape
    known = None if ignored is None else _shrunk(ignored, side_px) == 0
    return Sketch(np.rint(small).astype(np.uint16), np.rint(inside).astype(np.uint8), (height, width), known)


def measure_fit(
    image: NDArray[Any], label_image: NDArray[np.integer], ignored: NDArray[np.bool_] | None = None
) -> Fit | None:
    """Measure how labels fit a (y, x) uint8 or uint16 image; None where there is no inside or no outside.

    Of fields that are annotated in part, other magnifications aren't tried.
    """
    look = sketch(image, label_image, LOOK_PX, ignored)
    inside, known_share = look.share_inside, look.known_share
    if not 0 < inside.mean() < known_share:
        return None
    ranks = ranks_of(look.image, look.known)
    step_px = _step(image.shape, LOOK_PX)
    auc = auc_of(ranks, inside, known_share)
    turned = {name: turn(inside) for name, turn in _TURNS.items()}
    return Fit(
        auc,
        *_moved(ranks, inside, known_share, auc, step_px),
        turned={
            name: auc_of(ranks, other, known_share) for name, other in turned.items() if other.shape == ranks.shape
        },
        magnified=_magnified(ranks, inside) if 0.2 < auc < 0.8 and look.known is None else {},
        step_px=step_px,
    )


def auc_of(ranks: NDArray[np.float32], inside: NDArray[np.float32], known_share: float = 1.0) -> float:
    """Give the probability that a pixel inside is brighter than one outside; ties count half.

    `ranks` are those of `ranks_of`; `inside` is the share of each pixel that is inside. From the mean rank inside, as
    in the Mann-Whitney U test. Outside are the other pixels of the `known_share`.
    """
    total = float(inside.sum())
    if not 0 < total < known_share * inside.size:
        return 0.5
    mean_inside = float(np.vdot(ranks, inside)) / total
    outside_share = 1 - total / (known_share * inside.size)
    return float(np.clip(0.5 + (mean_inside - float(ranks.mean())) / outside_share, 0, 1))


def ranks_of(image: NDArray[np.uint16], known: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Give the share of the known pixels that are darker than each, those that are equal counted half.

    Pixels that aren't known get the mean, 0.5.
    """
    seen = image if known is None else image[known]
    histogram = intensity_histogram(seen)
    ranks = (np.cumsum(histogram) - histogram / 2) / max(seen.size, 1)
    of_pixels: NDArray[np.float32] = ranks.astype(np.float32)[image]
    return of_pixels if known is None else np.where(known, of_pixels, np.float32(0.5))


def _moved(
    ranks: NDArray[np.float32], inside: NDArray[np.float32], known_share: float, auc: float, step_px: int
) -> tuple[Move, Move]:
    """Give the moves with the highest and the lowest AUC; what leaves the field on one side enters on the other."""
    height, width = ranks.shape
    rows, columns = (np.arange(-(size // 4), size // 4 + 1) for size in (height, width))
    aucs = _auc_of_all_moves(ranks, inside, known_share)[np.ix_(rows % height, columns % width)]
    best, lowest = (np.unravel_index(place, aucs.shape) for place in (aucs.argmax(), aucs.argmin()))
    moves = [Move(float(aucs[y, x]), int(rows[y]) * step_px, int(columns[x]) * step_px) for y, x in (best, lowest)]
    none = Move(auc, 0, 0)
    return (moves[0] if moves[0].auc > auc else none), (moves[1] if moves[1].auc < auc else none)


def _auc_of_all_moves(
    ranks: NDArray[np.float32], inside: NDArray[np.float32], known_share: float = 1.0
) -> NDArray[np.float32]:
    spectrum = scipy.fft.rfft2(ranks - ranks.mean()) * np.conj(scipy.fft.rfft2(inside))
    mean_inside = scipy.fft.irfft2(spectrum, s=ranks.shape) / inside.sum()
    aucs: NDArray[np.float32] = np.clip(0.5 + mean_inside / (1 - inside.mean() / known_share), 0, 1)
    return aucs


def _magnified(ranks: NDArray[np.float32], inside: NDArray[np.float32]) -> dict[str, float]:
    """Compare with the labels as an objective of another magnification would give them, of about the same place."""
    found = {}
    for times in MAGNIFICATIONS:
        wider, closer = _middle(inside, times), _middle(ranks, times)
        if 0 < wider.mean() < 1:
            found[f"of {times:g} times lower magnification"] = _best_nearby(ranks, wider)
        equal_ranks = ranks_of(np.rint(closer * (2**16 - 1)).astype(np.uint16))
        found[f"of {times:g} times higher magnification"] = _best_nearby(equal_ranks, inside)
    return found


def _best_nearby(ranks: NDArray[np.float32], inside: NDArray[np.float32]) -> float:
    """Give the best AUC of labels moved by a sixteenth of the field at most, as a stage that returns may miss."""
    rows, columns = (np.arange(-(size // 16), size // 16 + 1) % size for size in ranks.shape)
    return float(_auc_of_all_moves(ranks, inside)[np.ix_(rows, columns)].max())


def _middle(image: NDArray[np.float32], times: float) -> NDArray[np.float32]:
    """Magnify the middle of an image to its whole size."""
    height, width = image.shape
    part_height, part_width = max(1, round(height / times)), max(1, round(width / times))
    y, x = (height - part_height) // 2, (width - part_width) // 2
    part = np.ascontiguousarray(image[y : y + part_height, x : x + part_width])
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _shrunk(image: NDArray[Any], side_px: int) -> NDArray[np.float32]:
    step = _step(image.shape, side_px)
    size = tuple(max(1, round(length / step)) for length in reversed(image.shape))
    return np.asarray(cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def _step(shape: tuple[int, ...], side_px: int) -> int:
    return -(-max(shape) // side_px)
