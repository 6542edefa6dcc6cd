"""Plates as OME-Zarr: wells, fields, label images; one field at a time.

    plate.ome.zarr/        rows, columns and wells of the plate
      B/07/                fields of well B07, counted from 0; each names its site
        0/                 an image, (y, x), as a pyramid s0, s1, ..., with its channel's name and the range to show
          labels/nuclei/   its label image, as a pyramid that lies on the image's at every level
          tables/nuclei/   table.parquet, a row for each label

Version 0.4 of the format is written, because most readers know it, napari and Fractal among them; 0.1 to
0.5 are read, and images that name no version. The plate has the rows and columns of a real one (96, 384 or
1536 wells), and only wells with images are named: so every well lies in its place in a viewer, and a missing
one stays missing. Fields are numbered from 0, because napari shows the field of the same name of every well.

OME-Zarr has no tables yet. Those here are feature tables as Fractal proposes them, of which ngio and napari's plugins
of Fractal read Parquet too; in AnnData, the other form, integers and missing numbers become floats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numcodecs
import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray
from ome_zarr.format import FormatV04
from ome_zarr.writer import write_multiscale, write_multiscale_labels, write_plate_metadata, write_well_metadata

from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.image_files import refuse_unwritten
from tasks.nuclei.plates.pixel_size import NOT_STATED, PixelSize, pixel_size, square
from tasks.nuclei.plates.wells import column_name, parse_well, row_name, smallest_grid
from tasks.nuclei.plates.zarr_chunks import Plane, read_plane
from tasks.nuclei.tables import write_parquet

LABELS_NAME = "nuclei"
MODEL_KEY = "segmented_with"
"""Key of the model's name in the attributes of plate, fields and label images."""

SITE_KEY = "site"
"""Key of the site's number in the attributes of a field. Without it, as in plates of other programs, the
field's name is the site."""

READ_VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5")

_FORMAT = FormatV04()
# The number is the same for all fields: viewers show a plate as one image, with the levels of its first field.
_LEVELS = 4
# One level of a field is one file; larger images have several.
_MAX_CHUNK_PX = 4096
_FEATURE_TABLE = {
    "type": "feature_table",
    "table_version": "1",
    "backend": "parquet",
    "region": {"path": f"../labels/{LABELS_NAME}"},
    "index_key": "label",
    "index_type": "int",
    "instance_key": "label",
}
"""Attributes of a table of version 1 of Fractal's proposal: rows belong to the labels of the region."""


class _Image(NamedTuple):
    """The full resolution of a multiscale image."""

    array: zarr.Array[Any]
    axes: list[str]
    """Such as c, z, y, x."""
    pixel_size: PixelSize


class Channel(NamedTuple):
    """How viewers show the images of a plate. All fields are shown alike, so that they can be compared."""

    name: str
    low: float
    """Intensity that is black."""
    high: float
    """Intensity that is white, more than `low`."""


@dataclass(frozen=True)
class HcsField:
    """One field of a plate: its image, and its label image if there is one. Pixels are read when asked for."""

    well: str
    """Such as B07."""
    site: int
    folder: Path
    ending: str = ""
    """How the name of the image goes on after the number, such as illum_corr for 0_illum_corr."""
    acquisition: int | None = None

    @property
    def channels(self) -> list[str]:
        """Names of the channels, in order; empty where the plate gives none."""
        with faults_named(self.folder):
            number = self.sizes.get("c", 1)
            named = attributes_of(self.folder).get("omero", {}).get("channels", [])
            names = [str(channel.get("label", "")) for channel in named]
            return (names + [""] * number)[:number]

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each axis of the image: y and x, and c, z and t where there are such."""
        return _sizes(self.folder)

    @property
    def pixel_size(self) -> PixelSize:
        """Side of a pixel; InputError if height and width differ."""
        with faults_named(self.folder):
            return _full_resolution(self.folder).pixel_size

    def labels_folder(self, name: str | None = None) -> Path | None:
        """Folder of the label image of a name, or else of the only one or of nuclei; None if there is none.

        Raises InputError if there are several others, or none of the name.
        """
        with faults_named(self.folder):
            labels = self.folder / "labels"
            names = required("labels", labels) if labels.is_dir() else []
            if not names:
                return None
            wanted = name or (names[0] if len(names) == 1 else LABELS_NAME)
            if wanted in names:
                return inside(labels, wanted)
        there_are = f"{labels}: has {len(names)} label images ({', '.join(map(str, names))})"
        if name is not None:
            raise InputError(f"{there_are}, and plate.json asks for {name}; correct plate.json.")
        raise InputError(f'{there_are}; say in plate.json which one shows the nuclei, such as "labels": "{names[0]}".')

    def read_image(self, channel: int, z: int | None = None, time: int | None = None) -> NDArray[Any]:
        """Read one plane: (y, x), dtype as stored. The channel is counted from 1, z and time are from 0.

        Raises InputError for one that isn't there, for several where none is named, for damaged or missing files.
        """
        plane = _read_plane(self.folder, channel, {"z": z, "t": time})
        if plane.missing:
            raise InputError(
                f"{self.folder}: {plane.missing} of the {plane.chunks} chunks of its pixels are missing; "
                "copy the plate whole. If they hold zeros and were left out, write it again with them "
                "(write_empty_chunks=True)."
            )
        refuse_unwritten(plane.pixels, plane.chunk, self.folder)
        return plane.pixels

    def read_labels(self, name: str | None = None, z: int | None = None, time: int | None = None) -> NDArray[Any]:
        """Read the label image, which must be there: (y, x), dtype as stored. One plane may be that of all z or times.

        Raises InputError as `read_image`, and for several channels. Missing chunks are background.
        """
        return self._label_plane(name, z, time).pixels

    def label_doubts(self, name: str | None = None, z: int | None = None, time: int | None = None) -> list[str]:
        """Say whether chunks of the label image are missing; reads it. Many programs leave out empty ones."""
        plane = self._label_plane(name, z, time)
        if not plane.missing:
            return []
        return [
            f"{plane.missing} of the {plane.chunks} chunks of its pixels are missing and taken for background; "
            "look whether it has all nuclei, or whether a copy broke off"
        ]

    def _label_plane(self, name: str | None, z: int | None, time: int | None) -> Plane:
        folder = self.labels_folder(name)
        assert folder is not None
        sizes = _sizes(folder)
        if sizes.get("c", 1) != 1:
            raise InputError(f"{folder}: has {sizes['c']} channels; a label image has one, save it as such.")
        planes = {axis: index for axis, index in (("z", z), ("t", time)) if sizes.get(axis, 1) > 1}
        return _read_plane(folder, 1, planes)


class HcsWriter:
    """Writes a plate: first which wells and sites it has, then pixels and table of each field.

    `sites` are those of each well, such as {"B07": [1, 4]}; `model` names the model that found the nuclei.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        sites: Mapping[str, Sequence[int]],
        pixel_size_um: float,
        model: str,
        channel: Channel,
    ) -> None:
        self.folder = folder
        self.sites = {well: sorted(sites[well]) for well in sorted(sites, key=parse_well)}
        self.pixel_size_um = pixel_size_um
        self.model = model
        self.channel = channel
        grid = smallest_grid(parse_well(well) for well in sites)
        root = zarr.open_group(folder, mode="w-", zarr_format=2)
        write_plate_metadata(
            root,
            grid.row_names,
            grid.column_names,
            [_well_path(well) for well in self.sites],
            _FORMAT,
            field_count=max(map(len, sites.values())),
            name=name,
        )
        root.attrs[MODEL_KEY] = model
        for well, of_well in self.sites.items():
            images: list[str | dict[str, Any]] = [str(position) for position in range(len(of_well))]
            write_well_metadata(root.require_group(_well_path(well)), images, _FORMAT)

    def write_field(self, well: str, site: int, image: NDArray[np.integer], label_image: NDArray[np.integer]) -> None:
        """Write a field's image and label image, (y, x) of one shape. Threads may write different fields at once."""
        group = zarr.open_group(self.folder, mode="r+", zarr_format=2).create_group(self._path(well, site))
        options = self._options(image.shape)
        write_multiscale(_image_pyramid(image), group, name=f"{well}, site {site}", **options)
        label_metadata = {"source": {"image": "../../"}}
        levels = [label_image, *(_labels_at_centres(label_image, 2**level) for level in range(1, _LEVELS))]
        write_multiscale_labels(levels, group, LABELS_NAME, label_metadata=label_metadata, **options)
        group.attrs["omero"] = self._omero(image.dtype)
        group.attrs[SITE_KEY] = site
        group.attrs[MODEL_KEY] = group[f"labels/{LABELS_NAME}"].attrs[MODEL_KEY] = self.model

    def write_nuclei(self, well: str, site: int, nuclei: pd.DataFrame) -> None:
        """Write the table of the nuclei of a field that is written, a row for each `label`."""
        folder = self.folder / self._path(well, site) / "tables"
        tables = zarr.create_group(folder, zarr_format=2, attributes={"tables": [LABELS_NAME]})
        tables.create_group(LABELS_NAME, attributes=_FEATURE_TABLE)
        write_parquet(folder / LABELS_NAME / "table.parquet", nuclei, {"model": self.model})

    def _path(self, well: str, site: int) -> str:
        return f"{_well_path(well)}/{self.sites[well].index(site)}"

    def _omero(self, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Give what OME-Zarr says of rendering, under this name."""
        window = {"min": 0, "max": int(np.iinfo(dtype).max), "start": self.channel.low, "end": self.channel.high}
        return {"channels": [{"label": self.channel.name, "color": "FFFFFF", "active": True, "window": window}]}

    def _options(self, shape: tuple[int, ...]) -> dict[str, Any]:
        # Blosc, because some readers know no zstd without it. Higher levels take longer and save next to nothing.
        compressor = numcodecs.Blosc(cname="zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE)
        scales = [[self.pixel_size_um * 2**level] * 2 for level in range(_LEVELS)]
        return {
            "fmt": _FORMAT,
            "axes": [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"],
            "coordinate_transformations": [[{"type": "scale", "scale": scale}] for scale in scales],
            "storage_options": {
                "chunks": tuple(min(size, _MAX_CHUNK_PX) for size in shape),
                "compressor": compressor,
            },
        }


@contextmanager
def faults_named(folder: Path) -> Iterator[None]:
    """Name the folder whose attributes lack something or differ from what OME-Zarr prescribes."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError(f"{folder}: its attributes aren't those of OME-Zarr ({what}); convert it again.") from None


def _well_path(well: str) -> str:
    place = parse_well(well)
    return f"{row_name(place.row)}/{column_name(place.column)}"


def attributes_of(folder: Path) -> dict[str, Any]:
    """Give the attributes of OME-Zarr in a group; in version 0.5 they lie under a key of their own."""
    try:
        attributes: dict[str, Any] = zarr.open_group(folder, mode="r").attrs.asdict()
    except (FileNotFoundError, ValueError):
        raise InputError(f"{folder}: is missing or cut short; copy the plate whole.") from None
    of_ome: dict[str, Any] = attributes.get("ome", attributes)
    return of_ome


def required(key: str, folder: Path) -> Any:
    """Give one of the attributes of a group; InputError if it isn't there."""
    attributes = attributes_of(folder)
    if key not in attributes:
        raise InputError(f"{folder}: has no {key!r} in its attributes, as an OME-Zarr plate has; convert it again.")
    return attributes[key]


def _full_resolution(folder: Path) -> _Image:
    multiscale = required("multiscales", folder)[0]
    version = multiscale.get("version", attributes_of(folder).get("version"))
    if version not in (None, *READ_VERSIONS):
        allowed = f"{READ_VERSIONS[0]} to {READ_VERSIONS[-1]}"
        raise InputError(f"{folder}: is OME-Zarr {version}; allowed are {allowed}, convert it.")
    dataset = multiscale["datasets"][0]
    path = inside(folder, dataset["path"])
    try:
        array = zarr.open_array(path, mode="r")
    except (FileNotFoundError, ValueError):
        raise InputError(f"{path}: is missing or cut short; copy the plate whole.") from None
    multiscale = dict(multiscale, axes=_axes(multiscale, array.ndim))
    axes = [axis["name"] for axis in multiscale["axes"]]
    try:
        return _Image(array, axes, _pixel_size(multiscale, dataset))
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None


def _sizes(folder: Path) -> dict[str, int]:
    with faults_named(folder):
        image = _full_resolution(folder)
        return dict(zip(image.axes, image.array.shape, strict=True))


def _axes(multiscale: Mapping[str, Any], ndim: int) -> list[Any]:
    """Give the axes as version 0.4 has them; 0.3 has their names alone, earlier ones always t, c, z, y, x."""
    given = multiscale.get("axes", list("tczyx" if ndim == 5 else "yx"))
    axes = [{"name": axis} if isinstance(axis, str) else axis for axis in given]
    names = [axis["name"] for axis in axes]
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"the axes are {names}")
    if names.index("y") > names.index("x"):
        raise ValueError(f"x is before y among the axes {names}")
    return axes


def _pixel_size(multiscale: Mapping[str, Any], dataset: Mapping[str, Any]) -> PixelSize:
    """Give what the scales state; versions before 0.4 have none, and 1 without a unit stands for none."""
    steps = [*dataset.get("coordinateTransformations", []), *multiscale.get("coordinateTransformations", [])]
    scales = [step["scale"] for step in steps if step["type"] == "scale"]
    names = [axis["name"] for axis in multiscale["axes"]]
    sides = []
    for axis in (names.index("y"), names.index("x")):
        side, unit = math.prod(scale[axis] for scale in scales), multiscale["axes"][axis].get("unit")
        sides.append(NOT_STATED if not scales or (side == 1 and not unit) else pixel_size(side, unit))
    return square(*sides)


def _read_plane(folder: Path, channel: int, planes: Mapping[str, int | None]) -> Plane:
    """Read a channel, counted from 1, in the machine's byte order. `planes` are indices along other axes."""
    with faults_named(folder):
        image = _full_resolution(folder)
        sizes = dict(zip(image.axes, image.array.shape, strict=True))
    for axis, size in sizes.items():
        if axis not in "cyx" and planes.get(axis) is None and size != 1:
            raise InputError(
                f"{folder}: has {size} planes along {axis}; allowed is 1, project them or choose one first."
            )
        if axis not in "cyx" and not 0 <= (planes.get(axis) or 0) < size:
            raise InputError(f"{folder}: has {size} planes along {axis}, 0 to {size - 1}, not {planes[axis]}.")
    if not 1 <= channel <= sizes.get("c", 1):
        raise InputError(f"{folder}: has {sizes.get('c', 1)} channels, and channel {channel} was asked for.")
    place: tuple[Any, ...] = tuple(
        {"y": slice(None), "x": slice(None), "c": channel - 1}.get(axis, planes.get(axis) or 0) for axis in image.axes
    )
    try:
        return read_plane(image.array, place)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    # The decoders raise many types on damaged chunks.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{folder}: is damaged or cut short ({reason}); copy it again from its source.") from None


def _image_pyramid(image: NDArray[Any]) -> list[NDArray[Any]]:
    levels = [image]
    while len(levels) < _LEVELS:
        levels.append(_mean_of_four(levels[-1]))
    return levels


def _labels_at_centres(label_image: NDArray[Any], block_px: int) -> NDArray[Any]:
    """Shrink a (y, x) label image to the label at the centre of each block, where the mean of its image lies.

    Four pixels meet there: three of one label decide, and of two and two those of the higher number. The first pixel
    of each block would lie `(block_px - 1) / 2` px off.
    """
    after = [np.arange(block_px // 2, size + block_px // 2, block_px) for size in label_image.shape]
    rows, columns = (
        (np.minimum(of_axis - 1, size - 1), np.minimum(of_axis, size - 1))
        for of_axis, size in zip(after, label_image.shape, strict=True)
    )
    four = np.stack([label_image[np.ix_(y, x)] for y in rows for x in columns])
    centres: NDArray[Any] = np.sort(four, axis=0)[2]
    return centres


def _mean_of_four(image: NDArray[Any]) -> NDArray[Any]:
    """Halve a (y, x) image; an odd last row or column is counted twice."""
    even = np.pad(image, [(0, size % 2) for size in image.shape], mode="edge")
    height, width = even.shape
    means = even.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    halved: NDArray[Any] = means.round().astype(image.dtype)
    return halved
