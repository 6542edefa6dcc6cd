"""Writes the plain plate as OME-Zarr, with what programs do otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

from tests.situations.plain import SIDE_PX, field

IMAGES = "images.ome.zarr"


@dataclass(frozen=True)
class OmeZarr:
    """A plate of one well, B/07, with two fields in chunks of 128 x 128 px."""

    unit: str | None = "micrometer"
    scale: float = 0.5
    is_v3: bool = False
    """OME-Zarr 0.5, else 0.4."""
    says_version: bool = True
    names: tuple[str, ...] = ("0", "1")
    acquisitions: tuple[int, ...] = ()
    """Of each field; none has one if it is empty."""
    label_names: tuple[str, ...] = ("nuclei",)
    axes: str = "yx"
    image: Callable[[NDArray[Any]], NDArray[Any]] = lambda plane: plane
    """Makes the image of a field from its plane."""
    side_px: int = SIDE_PX

    def write(self, folder: Path) -> None:
        """Put the plate in place of images/ and labels/."""
        for part in ("images", "labels"):
            shutil.rmtree(folder / part)
        root = zarr.open_group(folder / IMAGES, mode="w", zarr_format=3 if self.is_v3 else 2)
        plate: dict[str, Any] = {"rows": [{"name": "B"}], "columns": [{"name": "07"}], "wells": [{"path": "B/07"}]}
        if self.acquisitions:
            plate["acquisitions"] = [{"id": number} for number in sorted(set(self.acquisitions))]
        self._describe(root, plate=plate)
        well = root.create_group("B/07")
        images: list[dict[str, Any]] = [{"path": name} for name in self.names]
        for image, acquisition in zip(images, self.acquisitions, strict=False):
            image["acquisition"] = acquisition
        self._describe(well, well={"images": images})
        for number, name in enumerate(self.names, start=1):
            self._write_field(well.create_group(name), number)

    def _write_field(self, group: Any, number: int) -> None:
        pixels, label_image = field(number, self.side_px)
        self._write_image(group, self.image(pixels), self.axes)
        labels = group.create_group("labels")
        self._describe(labels, labels=list(self.label_names))
        for name in self.label_names:
            self._write_image(labels.create_group(name), label_image, "yx")

    def _write_image(self, group: Any, array: NDArray[Any], axes: str) -> None:
        scale = [{"type": "scale", "scale": [self.scale] * len(axes)}]
        multiscale: dict[str, Any] = {
            "axes": [self._axis(name) for name in axes],
            "datasets": [{"path": "0", "coordinateTransformations": scale}],
        }
        if self.says_version and not self.is_v3:
            multiscale["version"] = "0.4"
        self._describe(group, multiscales=[multiscale])
        separator = {} if self.is_v3 else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        group.create_array("0", data=array, chunks=(*[1] * (len(axes) - 2), 128, 128), **separator)

    def _axis(self, name: str) -> dict[str, str]:
        if name not in "zyx":
            return {"name": name, "type": {"c": "channel", "t": "time"}[name]}
        return {"name": name, "type": "space"} | ({"unit": self.unit} if self.unit else {})

    def _describe(self, group: Any, **attributes: Any) -> None:
        group.attrs.update({"ome": {"version": "0.5", **attributes}} if self.is_v3 else attributes)
