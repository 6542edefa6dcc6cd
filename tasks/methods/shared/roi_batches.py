"""ROIs of a file, for the training loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.ignored import with_margin
from tasks.nuclei.roi_file import RoiReader

if TYPE_CHECKING:
    from tasks.methods.shared.training import Batch

ReadBatch = Callable[[RoiReader, list[int]], "Batch"]


class RoiBatches:
    """ROIs of a file; `read` gives a batch of rows, and may say that it leaves out what isn't annotated."""

    def __init__(self, path: Path, read: ReadBatch, leaves_out_ignored: bool = False) -> None:
        self._reader, self._read = RoiReader(path, leaves_out_ignored), read
        self.view = self._reader.view
        self.training_rows: NDArray[np.integer[Any]] = self._reader.training_rows
        self.validation_rows: NDArray[np.integer[Any]] = self._reader.validation_rows

    def batch(self, rows: list[int]) -> Batch:
        return self._read(self._reader, rows)


def annotated_in(reader: RoiReader, rows: list[int]) -> Batch:
    """Give which pixels count in the loss, one array (b, y, x) bool; none of a file of which all is annotated."""
    if not reader.has_ignored:
        return ()
    return (np.stack([~with_margin(reader.ignored(row)) for row in rows]),)
