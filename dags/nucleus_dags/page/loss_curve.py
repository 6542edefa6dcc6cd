"""The loss curve of a training, as a picture in the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nucleus_dags.page.trainings import Training

WIDTH, HEIGHT = 480, 180
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 28
"""Margins, in px."""


@dataclass(frozen=True)
class Curve:
    """Points of a line, as SVG has them."""

    points: str
    last: tuple[float, float]


@dataclass(frozen=True)
class LossCurve:
    """A picture of `WIDTH` x `HEIGHT` px: loss against cycles, by a logarithmic scale."""

    name: str
    training: Curve
    validation: Curve
    ticks: Sequence[tuple[float, str]]
    """Heights in px, with the loss there."""
    first: int
    total: int
    summary: str
    """What it shows, for who can't see it."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def loss_curve(training: Training) -> LossCurve | None:
    """Draw a training; None before its first cycle is done."""
    cycles = [cycle for cycle in training.cycles if cycle.loss > 0 and cycle.validation_loss > 0]
    if not cycles:
        return None
    losses = [cycle.loss for cycle in cycles]
    validation = [cycle.validation_loss for cycle in cycles]
    # A line that ran along the edge would be hidden by it.
    low, high = min(losses + validation) * 0.9, max(losses + validation) * 1.1
    last = max(training.total, cycles[-1].number)
    places = [_across(cycle.number, last) for cycle in cycles]
    best = min(cycles, key=lambda cycle: cycle.validation_loss)
    return LossCurve(
        training.name,
        _curve(places, [_up(loss, low, high) for loss in losses]),
        _curve(places, [_up(loss, low, high) for loss in validation]),
        [(_up(loss, low, high), f"{loss:.3g}") for loss in (low, math.sqrt(low * high), high)],
        1,
        last,
        f"Loss of {len(cycles)} of {last} epochs: {losses[-1]:.4g}, on the fields kept back {validation[-1]:.4g}; "
        f"lowest there {best.validation_loss:.4g}, after epoch {best.number}.",
    )


def _across(number: int, last: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * ((number - 1) / (last - 1) if last > 1 else 0.5)


def _up(loss: float, low: float, high: float) -> float:
    share = (math.log(loss) - math.log(low)) / (math.log(high) - math.log(low))
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)


def _curve(places: Sequence[float], heights: Sequence[float]) -> Curve:
    points = [(round(place, 1), height) for place, height in zip(places, heights, strict=True)]
    return Curve(" ".join(f"{x},{y}" for x, y in points), points[-1])
