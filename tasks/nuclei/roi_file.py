"""The HDF5 file of training ROIs: its layout, writing and reading.

    image           (n, y, x)           augmented grey image: uint8 in layout 1; uint16, grey level x 16, in layout 2
    labels          (n, y, x) uint16    augmented label image, 0 = background
    distance_map    (n, y, x) uint8     normalised distance map x 255
    blurred_border  (n, y, x) uint8     blurred border x 255
    ignored         (n, y, x) bool      pixels that aren't annotated, or whose distance depends on such ones; only
                                        where a field is annotated in part
    rois            (n,) table          source (row of `sources`), scale, y, x, height, width, is_validation
    sources         (m,) table          plate, cell_line, fov, region (y0, x0, y1, x1), zoom: how much the field was
                                        magnified before scaling; the file's where it is missing
    attributes      layout (int), zoom (float): how much all fields were magnified, 1 where each plate was by the size
                    of its nuclei to nucleus_px (float), which is missing otherwise,
                    scaling (text): how their intensities became grey levels; minmax where it is missing

A chunk is one ROI, since training reads ROIs in random order; LZF unpacks faster than a disk reads. Of 16 bits, the
upper bytes are packed apart from the lower ones, which are noise; finer steps would hold nothing else.
The targets are rounded to 1/255; the squared error of rounding, 1e-6, is a thousandth of a good network's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.intensity import GreyLevels, recorded_scaling
from tasks.nuclei.targets import TARGETS, Target
from tasks.nuclei.view import View

StoredImage = NDArray[np.uint8 | np.uint16]
WHOLE_LEVELS, FINE_LEVELS = 1, 2
"""Layouts, by what the images hold."""
STEPS_OF_A_LEVEL = 16
"""In layout 2."""

ROI_FILE = "rois.h5"
"""Its name in the output of `augment`."""
ROI_TABLE = np.dtype(
    [
        ("source", "i4"),
        ("scale", "f4"),
        ("y", "i4"),
        ("x", "i4"),
        ("height", "i4"),
        ("width", "i4"),
        ("is_validation", "?"),
    ]
)
SOURCE_TABLE = np.dtype(
    [
        ("plate", "S100"),
        ("cell_line", "S100"),
        ("fov", "S255"),
        *((name, "i4") for name in ("y0", "x0", "y1", "x1")),
        ("zoom", "f8"),
    ]
)


@dataclass(frozen=True)
class RoiBlock:
    """ROIs of consecutive rows: the arrays are as in the file, `rows` is their part of the table."""

    image: StoredImage
    labels: NDArray[np.uint16]
    distance_map: NDArray[np.uint8]
    blurred_border: NDArray[np.uint8]
    rows: NDArray[np.void]
    ignored: NDArray[np.bool_] | None = None
    """None where all is annotated."""


def as_stored(grey: GreyLevels) -> StoredImage:
    """Give grey levels as they are in a file: uint8 as it is, of others the steps as uint16."""
    if grey.dtype == np.uint8:
        return np.asarray(grey, np.uint8)
    return np.asarray(np.rint(grey * np.float32(STEPS_OF_A_LEVEL)), np.uint16)


@dataclass(frozen=True, order=True)
class RoiSource:
    """A field, or a region of it, that ROIs were cut from."""

    plate: str
    cell_line: str
    fov: str
    region: tuple[int, int, int, int]
    """y0, x0, y1, x1 in px."""
    zoom: float
    """How much it was magnified."""


class RoiWriter:
    """Writes a ROI file block by block; a context manager."""

    def __init__(
        self,
        path: Path,
        amount: int,
        roi_px: int,
        view: View,
        sources: Sequence[RoiSource],
        has_ignored: bool = False,
    ) -> None:
        # There is no chunk cache, because on a full disk HDF5 crashes when it empties the cache at the end.
        self._file = h5py.File(path, "w", libver="latest", rdcc_nbytes=0)
        shape, chunks = (amount, roi_px, roi_px), (1, roi_px, roi_px)
        self._image_dtype = np.dtype(np.uint16 if view.scaling == "percentile" else np.uint8)
        dtypes = {"image": self._image_dtype, "labels": np.uint16} | dict.fromkeys(TARGETS, np.uint8)
        dtypes |= {"ignored": np.bool_} if has_ignored else {}
        for name, dtype in dtypes.items():
            self._file.create_dataset(name, shape, dtype, chunks=chunks, compression="lzf", shuffle=name == "image")
        self._file.create_dataset("rois", (amount,), ROI_TABLE)
        rows = [(s.plate.encode(), s.cell_line.encode(), s.fov.encode(), *s.region, s.zoom) for s in sources]
        self._file.create_dataset("sources", data=np.array(rows, SOURCE_TABLE))
        layout = WHOLE_LEVELS if self._image_dtype == np.uint8 else FINE_LEVELS
        self._file.attrs.update(layout=layout, zoom=view.zoom, scaling=view.scaling)
        if view.nucleus_px is not None:
            self._file.attrs["nucleus_px"] = view.nucleus_px

    def write(self, first_row: int, block: RoiBlock) -> None:
        if block.image.dtype != self._image_dtype:
            raise TypeError(
                f"Images are {block.image.dtype}; by the scaling of this file they are {self._image_dtype}."
            )
        rows = slice(first_row, first_row + len(block.rows))
        for name in ("image", "labels", *TARGETS):
            self._file[name][rows] = getattr(block, name)
        if block.ignored is not None:
            self._file["ignored"][rows] = block.ignored
        self._file["rois"][rows] = block.rows

    def __enter__(self) -> RoiWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # On a full disk closing fails too, with a less telling error than that of writing.
        with suppress(RuntimeError) if error else nullcontext():
            self._file.close()


class RoiReader:
    """Reads batches of ROIs for training. A reader must not be shared between threads.

    A file of fields that are annotated in part is for those who say that they leave out what is ignored. To others it
    is an InputError, since they would take it for background.
    """

    def __init__(self, path: Path, leaves_out_ignored: bool = False) -> None:
        self._path = path
        with self._whole():
            self._file = h5py.File(path, "r")
            self._layout = int(self._file.attrs["layout"])
            if self._layout not in (WHOLE_LEVELS, FINE_LEVELS):
                raise InputError(
                    f"{path} has layout {self._layout}, and this program reads {WHOLE_LEVELS} and {FINE_LEVELS}; "
                    "run augment again."
                )
            self.has_ignored = "ignored" in self._file
            if self.has_ignored and not leaves_out_ignored:
                raise InputError(
                    f"{path} has ROIs of fields that are annotated in part, and this method can't leave out the rest; "
                    "train it on plates without ignored/."
                )
            self.roi_px: int = self._file["image"].shape[1]
            self.view = _view_of(self._file.attrs)
            is_validation = self._file["rois"]["is_validation"]
            self.training_rows = np.flatnonzero(~is_validation)
            self.validation_rows = np.flatnonzero(is_validation)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Name the file where a part of it is missing or damaged. What h5py raises depends on the place."""
        try:
            yield
        except InputError:
            raise
        except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self._path} is not a whole ROI file ({reason}); run augment again.") from None

    def training_sources(self) -> list[RoiSource]:
        """Give the fields or regions with ROIs for training, in the file's order."""
        return self._sources(self._numbers_of_sources(is_validation=False))

    def validation_sources(self) -> list[RoiSource]:
        """Give the fields or regions with ROIs for validation and none for training, in the file's order."""
        of_training, of_validation = (self._numbers_of_sources(part) for part in (False, True))
        return self._sources(np.setdiff1d(of_validation, of_training))

    def _numbers_of_sources(self, is_validation: bool) -> NDArray[np.integer]:
        with self._whole():
            table = self._file["rois"]
            return np.unique(table["source"][table["is_validation"] == is_validation])

    def _sources(self, numbers: NDArray[np.integer]) -> list[RoiSource]:
        with self._whole():
            rows = self._file["sources"][numbers]
            zooms = rows["zoom"] if "zoom" in rows.dtype.names else np.full(len(rows), self.view.zoom)
            return [
                RoiSource(plate.decode(), cell_line.decode(), fov.decode(), (y0, x0, y1, x1), zoom)
                for (plate, cell_line, fov, y0, x0, y1, x1, *_), zoom in zip(rows.tolist(), zooms.tolist(), strict=True)
            ]

    def image(self, row: int) -> GreyLevels:
        """Give the grey levels of one ROI, (y, x), 0 to 255: uint8, or float32 where there are fractions."""
        plane = self._plane("image", row)
        return plane if self._layout == WHOLE_LEVELS else np.asarray(plane / np.float32(STEPS_OF_A_LEVEL), np.float32)

    def label_image(self, row: int) -> NDArray[np.uint16]:
        """Give one label image, (y, x) uint16."""
        return self._plane("labels", row)

    def ignored(self, row: int) -> NDArray[np.bool_]:
        """Say of which pixels of one ROI, (y, x), something isn't known."""
        if not self.has_ignored:
            return np.zeros((self.roi_px, self.roi_px), np.bool_)
        return self._plane("ignored", row)

    def target(self, row: int, target: Target) -> NDArray[np.uint8]:
        """Give one target, (y, x) uint8: the value x 255."""
        if target == "foreground":
            return np.where(self.label_image(row) > 0, np.uint8(255), np.uint8(0))
        return self._plane(target, row)

    def _plane(self, dataset: str, row: int) -> NDArray[Any]:
        with self._whole():
            plane: NDArray[Any] = self._file[dataset][row]
            return plane

    def batch(self, rows: Sequence[int], targets: Sequence[Target]) -> tuple[GreyLevels, NDArray[np.uint8]]:
        """Give images (b, y, x, 1), as `image` does, and targets (b, y, x, t), uint8, of the given rows.

        Rows are read one by one: HDF5's own selection of scattered rows is some 30 times slower.
        """
        images = np.stack([self.image(row) for row in rows])[..., np.newaxis]
        maps = np.empty((*images.shape[:-1], len(targets)), np.uint8)
        for i, row in enumerate(rows):
            for channel, target in enumerate(targets):
                maps[i, :, :, channel] = self.target(row, target)
        return images, maps


def _view_of(attributes: Mapping[str, Any]) -> View:
    nucleus_px = attributes.get("nucleus_px")
    return View(
        scaling=recorded_scaling(attributes.get("scaling")),
        zoom=float(attributes["zoom"]),
        nucleus_px=None if nucleus_px is None else float(nucleus_px),
    )
