"""Plates: a folder with plate.json, images/ and labels/, and the reading and writing of its files.

    my-plate/
      plate.json     PlateInfo
      images/        x.tif, y.png, ...   TIFF, OME-TIFF or PNG, one channel, 8 or 16 bit
      labels/        x.tif, y.tif, ...   label images of the same names, integer, 0 = background

An image and its labels belong together when their names are equal up to the extension. In place of the
two folders there may be one images.ome.zarr, see `hcs_plates`.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import imagecodecs
import numpy as np
import pydantic
import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError

TIFF_EXTENSIONS = (".ome.tiff", ".ome.tif", ".tiff", ".tif")
PNG_EXTENSIONS = (".png",)
EXTENSIONS = TIFF_EXTENSIONS + PNG_EXTENSIONS

# The last chunk of every PNG, with its checksum; the decoder doesn't miss it.
PNG_END = b"IEND\xaeB`\x82"

FROZEN_REPORT = "report.json"
"""`ingest` writes it into its copy of a plate: what it found, and the files of every field."""

IMAGE_DTYPES = (np.uint8, np.uint16)

CV7000_NAME = re.compile(
    r"(?:^|_)(?P<well>A?[A-Z]\d{2})_T\d{4}F(?P<site>\d{3})L\d{2}A\d{2}Z(?P<z>\d{2})C(?P<channel>\d{2})$"
)
"""Yokogawa CV7000, as in `AssayPlate_B07_T0001F002L01A01Z01C01`: well B07, site 2, z 1, channel 1."""


ALL_CELL_LINES = "all"
"""It stands for all cell lines together in the scores, so no cell line may have this name."""


def _not_all(cell_line: str) -> str:
    if cell_line == ALL_CELL_LINES:
        raise ValueError(f"{ALL_CELL_LINES!r} stands for all cell lines together in the scores; choose another name")
    return cell_line


PlateName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""Letters, digits, dot, underscore and hyphen: it becomes the name of a folder."""

CellLine = Annotated[
    str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$", max_length=100), pydantic.AfterValidator(_not_all)
]
"""As `PlateName`, and spaces: it becomes part of the name of a metric."""


Role = Literal["train", "test", "screen"]


class PlateInfo(pydantic.BaseModel):
    """Content of plate.json."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: PlateName
    cell_line: CellLine
    objective: Annotated[str, pydantic.Field(min_length=1)]
    """Such as 60X."""
    binning: Literal[1, 2, 4]
    """Camera pixels in one image pixel, along one axis."""
    pixel_size_um: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
    """Side of one image pixel, after binning, in µm."""
    role: Role
    """What the plate is used for. A screening plate is only segmented, and needs no labels."""
    replicate: Literal["biological", "technical"] | None = None
    annotation: Literal["manual", "semi-automatic"] | None = None
    channel: Annotated[int | None, pydantic.Field(ge=1, le=99)] = None
    """Which channel of images.ome.zarr shows the nuclei, where it has several; the first is 1."""

    @pydantic.model_validator(mode="after")
    def _say_how_it_was_labelled(self) -> PlateInfo:
        missing = [name for name in ("replicate", "annotation") if getattr(self, name) is None]
        if missing and self.role != "screen":
            raise ValueError(f"a {self.role} plate also needs {' and '.join(missing)}")
        return self


@dataclass(frozen=True)
class Fov:
    """One field of view: an image, and its label image if there is one."""

    name: str
    """File name without the extension."""
    image_path: Path
    labels_path: Path | None
    well: str
    """Such as B07, or empty where the file name gives none."""
    site: int | None
    channel: int | None
    z: int | None


@dataclass(frozen=True)
class Plate:
    """The files of a plate, paired; nothing but plate.json has been read."""

    info: PlateInfo
    folder: Path
    fovs: tuple[Fov, ...]
    """Sorted by name; at least one."""
    read: Callable[[Path], bytes] = field(default=lambda path: read_bytes(path), compare=False)
    """Gives the content of a file of a fov."""


def open_plate(folder: Path) -> Plate:
    """Open a plate. An imported one lists all files that it was imported with, so that reading a lost one fails.

    For a plate that isn't imported, raises InputError as `pair_files` does.
    """
    report = folder / FROZEN_REPORT
    if not report.exists():
        return pair_files(folder)
    rows = json.loads(read_bytes(report))["fovs"]
    fovs = [_fov(row["fov"], folder / row["image"], folder / row["labels"] if row["labels"] else None) for row in rows]
    return Plate(read_plate_info(folder), folder, tuple(fovs))


def pair_files(folder: Path) -> Plate:
    """Read plate.json and pair the files of images/ and labels/ by name.

    Raises InputError that names what is wrong: plate.json is missing or wrong, there is no image, a label
    image has no image, two files have one name, or a file is of another kind. Images without labels are allowed.
    """
    info = read_plate_info(folder)
    if not (folder / "images").is_dir():
        raise InputError(f"{folder}: has no folder images/; put the plate's images there.")
    images, problems = _files_by_name(folder / "images")
    labels, label_problems = _files_by_name(folder / "labels")
    problems += label_problems
    problems += [
        f"labels/{path.name}: has no image; add its image to images/ or remove it"
        for name, path in labels.items()
        if name not in images
    ]
    if not images and not problems:
        problems = [f"images/: holds no image; allowed are {', '.join(EXTENSIONS)}"]
    raise_if_any(problems, folder)
    return Plate(info, folder, tuple(_fov(name, images[name], labels.get(name)) for name in sorted(images)))


def read_plate_info(folder: Path) -> PlateInfo:
    """Read and validate plate.json; InputError names the key, what came and what is allowed."""
    path = folder / "plate.json"
    try:
        return PlateInfo.model_validate_json(read_bytes(path))
    except pydantic.ValidationError as error:
        problems = [_describe(problem) for problem in error.errors(include_url=False)]
        raise InputError(f"{path}: {'; '.join(problems)}.") from None


def raise_if_any(problems: list[str], folder: Path, at_most: int = 10) -> None:
    """Raise one InputError, in one line, for all problems of a plate's files; `folder` is the plate's."""
    if not problems:
        return
    shown = "; ".join(problems[:at_most])
    more = f"; and {len(problems) - at_most} more problems" if len(problems) > at_most else ""
    raise InputError(f"{folder}: {shown}{more}.")


def read_image(path: Path) -> NDArray[Any]:
    """Read a single-channel image: (y, x) uint8 or uint16.

    Raises InputError for colour or several pages, other dtypes, a missing or cut file.
    """
    return decode_image(read_bytes(path), path)


def read_label_image(path: Path) -> NDArray[Any]:
    """Read a label image: (y, x), integer dtype as stored, 0 = background.

    Raises InputError for labels that are not integer or are negative, a missing or cut file.
    """
    return decode_label_image(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """Read a whole file; InputError if it is missing or may not be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist.") from None
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from None


def decode_image(data: bytes, path: Path) -> NDArray[Any]:
    """Do as `read_image`, for the content of a file that has been read already."""
    image = _decode(data, path)
    if image.dtype not in IMAGE_DTYPES:
        raise InputError(f"{path}: pixels are {image.dtype}; allowed are uint8 and uint16, save it as one of them.")
    return image


def decode_label_image(data: bytes, path: Path) -> NDArray[Any]:
    """Do as `read_label_image`, for the content of a file that has been read already."""
    label_image = _decode(data, path)
    if label_image.dtype.kind not in "ui":
        raise InputError(f"{path}: labels are {label_image.dtype}; allowed are integers, save it as uint16.")
    if label_image.dtype.kind == "i" and label_image.min() < 0:
        raise InputError(f"{path}: has the negative label {label_image.min()}; allowed are 0 (background) and up.")
    return label_image


def write_label_image(path: Path, label_image: NDArray[Any], description: str | None = None) -> None:
    """Write a (y, x) integer label image as zlib-compressed TIFF, `description` in its tag ImageDescription.

    The dtype is uint16, or uint32 where the largest label is over 65,535.
    """
    if label_image.ndim != 2 or label_image.dtype.kind not in "ui":
        raise ValueError(f"A label image is (y, x) integer, got {label_image.shape} {label_image.dtype}.")
    dtype = np.uint16 if label_image.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    tifffile.imwrite(path, label_image.astype(dtype, copy=False), compression="zlib", description=description)


def to_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale a finite (y, x) image so that its minimum is 0 and its maximum 255; a constant image is all 0."""
    low, high = float(image.min()), float(image.max())
    if low == high:
        return np.zeros(image.shape, np.uint8)
    scaled = (image.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    grey: NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8)
    return grey


def _files_by_name(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Give the image files of a folder by their names without extension, and the problems found."""
    files: dict[str, Path] = {}
    problems = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.name.lower() == "thumbs.db":
            continue
        extension = next((e for e in EXTENSIONS if path.name.lower().endswith(e)), None)
        if extension is None:
            problems.append(
                f"{folder.name}/{path.name}: is not an image; allowed are {', '.join(EXTENSIONS)}, remove it"
            )
            continue
        name = path.name[: -len(extension)]
        if name in files:
            problems.append(
                f"{folder.name}/{path.name}: has the same name as {files[name].name}; remove or rename one of them"
            )
        files.setdefault(name, path)
    return files, problems


def _fov(name: str, image_path: Path, labels_path: Path | None) -> Fov:
    match = CV7000_NAME.search(name)
    if match is None:
        return Fov(name, image_path, labels_path, well="", site=None, channel=None, z=None)
    return Fov(
        name,
        image_path,
        labels_path,
        well=match["well"],
        site=int(match["site"]),
        channel=int(match["channel"]),
        z=int(match["z"]),
    )


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "json_invalid":
        return f"{problem['msg']}; correct the file"
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed are {', '.join(PlateInfo.model_fields)}"
    if problem["type"] == "missing":
        return f"{key}: required, and not given"
    if not key and problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{key or 'content'}: {problem['msg']}, got {problem['input']!r:.200}"


def _decode(data: bytes, path: Path) -> NDArray[Any]:
    """Decode to (y, x) in the machine's byte order; axes of length 1 are dropped."""
    decode = _decode_png if path.name.lower().endswith(PNG_EXTENSIONS) else _decode_tiff
    try:
        image = decode(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    # The decoders raise a dozen types on damaged files, from struct.error to ones of their own.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: is damaged or cut short ({reason}); copy it again from its source.") from None
    shape = image.shape
    if image.ndim > 2:
        image = image.squeeze()
    if image.ndim != 2 or image.size == 0:
        raise InputError(
            f"{path}: has the shape {shape}, as colour and several pages have; "
            "allowed is one plane of one channel, (y, x), save it in this form."
        )
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))


def _decode_tiff(data: bytes) -> NDArray[Any]:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        if not tiff.series:
            raise ValueError("no image in the file")
        if len(tiff.series) > 1:
            raise InputError(f"holds {len(tiff.series)} images; allowed is one, save each to its own file.")
        return tiff.series[0].asarray()


def _decode_png(data: bytes) -> NDArray[Any]:
    if PNG_END not in data[-64:]:
        raise ValueError("the end of the file is missing")
    return imagecodecs.png_decode(data)
