"""What a training costs, measured on those that the store holds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tasks.contract import read_result
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside


class TrainingCost(NamedTuple):
    """A training that was done."""

    task: str
    seconds: float
    rois: int
    epochs: int
    gpus: str
    """Names of the GPUs; "none" on CPUs."""

    def __str__(self) -> str:
        where = "CPUs" if self.gpus in ("", "none") else self.gpus
        of_what = f"{self.rois:,} ROIs, {self.epochs} epochs"
        pace = f"{self.rois * self.epochs / self.seconds:.0f} ROIs a second"
        return f"the last one here took {_in_words(self.seconds)} on {where} ({self.task}: {of_what}, {pace})"


def last_training(store: Path) -> TrainingCost | None:
    """Give the cost of the training that ended last; None if none is there of which it is known."""
    folders = [path.parent for path in store.glob("train_*/[!.]*/result.json")]
    for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True):
        if (cost := _cost_of(folder, store)) is not None:
            return cost
    return None


def _cost_of(folder: Path, store: Path) -> TrainingCost | None:
    try:
        training = read_result(folder)
        seconds, epochs = training.metrics.get("training_seconds", 0), training.params.get("cycles", 0)
        if not seconds or not epochs:
            return None
        augmented = read_result(inside(store, str(Path(training.params["rois"]).parent)))
    except (InputError, OSError):
        return None
    return TrainingCost(training.task, seconds, augmented.params["rois"], epochs, training.machine.get("gpus", ""))


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
