"""Images and label images as files: TIFF, OME-TIFF and PNG of one plane and one channel.

What is unambiguous is read: grey that was saved as colour, the indices of a palette as labels, labels of every type.
What programs read differently, or isn't all there, is refused.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.black_parts import (
    ZEROS_IN_DOUBT,
    BlackPart,
    black_part,
    filled_area,
    row_of_cut,
    was_not_written,
)
from tasks.nuclei.plates.label_numbers import NumberedLabels, number_labels
from tasks.nuclei.plates.png_files import SIGNATURE, decode_png, size_of_png
from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS, Raster, in_file_order, refuse_other_shapes, refuse_too_large
from tasks.nuclei.plates.tiff_files import decode_tiff, size_of_tiff

TIFF_EXTENSIONS = (".ome.tiff", ".ome.tif", ".tiff", ".tif")
PNG_EXTENSIONS = (".png",)
EXTENSIONS = TIFF_EXTENSIONS + PNG_EXTENSIONS

IMAGE_DTYPES = (np.uint8, np.uint16)

ANNOTATED, NOT_LOOKED_AT, UNSURE = range(3)
"""What the pixels of an image in ignored/ are."""

FAST_LEVEL = 2
"""Of compression, 1 to 12. Label images come out a fifth larger than by default, in two thirds of the time."""

NO_FILE = "is not a file but a device or a pipe; remove it"

_NOT_TO_BE_READ = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
# Opening a socket, and a device that isn't there.
_NO_FILE = (errno.ENXIO, errno.ENODEV)


def read_image(path: Path) -> NDArray[Any]:
    """Read a single-channel image: (y, x) uint8 or uint16.

    Raises InputError for colour or several pages, other dtypes, white as 0, a missing, cut or incomplete file.
    """
    image, _ = _decoded_image(read_bytes(path), path)
    return image


def read_label_image(path: Path) -> NDArray[np.int32]:
    """Read a label image: (y, x), labels 1..n in the order of those in the file, 0 = background.

    Raises InputError for labels that are negative or not whole numbers, a missing, cut or incomplete file.
    """
    return read_numbered(path).label_image


def read_numbered(path: Path) -> NumberedLabels:
    """Do as `read_label_image`, and give the labels of the file too."""
    return _numbered(read_bytes(path), path)


def read_ignored(path: Path) -> NDArray[np.bool_]:
    """Read which pixels of a field nobody said what they are, (y, x): where the file isn't 0.

    Raises InputError for what isn't an integer image of 0 (annotated), 1 (not looked at) and 2 (unsure), a missing, cut
    or incomplete file.
    """
    return np.asarray(read_kinds(path) != ANNOTATED)


def read_kinds(path: Path) -> NDArray[np.uint8]:
    """Read of each pixel of an image in ignored/, (y, x), whether it is annotated, not looked at or unsure.

    Raises InputError as `read_ignored` does.
    """
    return _decode_kinds(read_bytes(path), path)


def read_bytes(path: Path, at_most: int | None = None) -> bytes:
    """Read a whole file; InputError if it is missing, isn't a file, may not be read or has more than `at_most` bytes.

    Raises OSError with the path for what may pass, such as a network storage that doesn't answer.
    """
    try:
        # An opened pipe would let the reader wait for ever, and a device give bytes for ever.
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{path}: {NO_FILE}.")
            if at_most is not None and status.st_size > at_most:
                raise InputError(
                    f"{path}: has over {at_most:,} bytes, far more than such a file needs; look what it holds."
                )
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist.") from None
    except OSError as error:
        if error.errno in _NO_FILE:
            raise InputError(f"{path}: {NO_FILE}.") from None
        if error.errno == errno.ELOOP:
            raise InputError(f"{path}: is a link that leads back to itself; put the file in its place.") from None
        if error.errno in _NOT_TO_BE_READ:
            raise InputError(f"{path}: cannot be read: {error.strerror}.") from None
        # Where reading fails after opening, the error doesn't name the file.
        raise OSError(error.errno, error.strerror, str(path)) from None


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def pixels_of_field(data: bytes, path: Path) -> int:
    """Give how many pixels the content of an image file has by its header; 0 where that can't be read.

    Nothing is decoded. Raises InputError for more than a field that arrives may have.
    """
    try:
        size = size_of_png(data) if data.startswith(SIGNATURE) else size_of_tiff(data)
        refuse_too_large(size, MAX_FIELD_PIXELS)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    # Whoever decodes it says what is wrong.
    except Exception:
        return 0
    return math.prod(size)


def decode_image(data: bytes, path: Path) -> NDArray[Any]:
    """Do as `read_image`, for the content of a file that arrives and has been read already.

    Besides, raises InputError for more pixels than `pixels_of_field` allows, before they take memory, and for an image
    of which a part was never written, see `black_parts`.
    """
    pixels_of_field(data, path)
    image, tile = _decoded_image(data, path)
    refuse_unwritten(image, tile, path)
    return image


def refuse_unwritten(image: NDArray[Any], tile: tuple[int, int] | None, path: Path) -> None:
    """Raise InputError for a (y, x) image of which a part was never written.

    `tile` is the height and width of the parts in which the file keeps it one after the other, None for rows.
    """
    row_px = tile[1] if tile else image.shape[1]
    part = black_part(in_file_order(image, tile), longer_than_px=row_px)
    if part is not None and was_not_written(part):
        raise InputError(
            f"{path}: {_black(part, image.shape, tile)}, as after a copy that broke off; "
            "copy it again from its source. If there is nothing to be seen in that part, crop it away."
        )


def image_doubts(image: NDArray[Any]) -> list[str]:
    """Say what a person should look at in a (y, x) image that `decode_image` has not refused; empty if nothing."""
    part = black_part(image.ravel(), longer_than_px=0)
    if part is not None and part.zeros_elsewhere < ZEROS_IN_DOUBT:
        return [f"{_black(part, image.shape)}; look whether a part of the image is missing"]
    area = filled_area(image)
    if area is None:
        return []
    place = (
        f"rows {area.rows[0]} to {area.rows[1]} of {image.shape[0]}, "
        f"columns {area.columns[0]} to {area.columns[1]} of {image.shape[1]}"
    )
    return [
        f"{area.share:.1%} of its pixels are exactly {area.value} in an area with straight edges ({place}); "
        "look whether a part of the image is missing or overexposed"
    ]


def label_doubts(label_image: NDArray[np.integer], ignored: NDArray[np.bool_] | None = None) -> list[str]:
    """Say whether the end of a (y, x) label image seems to be missing; empty if not, or if it is ignored."""
    row = row_of_cut(label_image)
    if row is None or (ignored is not None and ignored[row : row + 2][:, label_image[row] > 0].any()):
        return []
    return [f"several nuclei end in row {row} of {len(label_image)}, and none follows; look whether its end is missing"]


def decode_numbered(data: bytes, path: Path) -> NumberedLabels:
    """Do as `read_numbered`, for the content of a file that arrives, with the bound of `decode_image`."""
    pixels_of_field(data, path)
    return _numbered(data, path)


def _numbered(data: bytes, path: Path) -> NumberedLabels:
    # White as 0 is no matter for labels: ImageJ shows masks so, and their numbers stay what they are.
    label_image = _plane(_decode(data, path, indices=True), path)
    try:
        return number_labels(label_image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def decode_ignored(data: bytes, path: Path) -> NDArray[np.bool_]:
    """Do as `read_ignored`, for the content of a file that arrives, with the bound of `decode_image`."""
    pixels_of_field(data, path)
    return np.asarray(_decode_kinds(data, path) != ANNOTATED)


def _decode_kinds(data: bytes, path: Path) -> NDArray[np.uint8]:
    kinds = _plane(_decode(data, path, indices=True), path)
    allowed = f"allowed are {ANNOTATED} (annotated), {NOT_LOOKED_AT} (not looked at) and {UNSURE} (unsure)"
    if kinds.dtype.kind not in "uib":
        raise InputError(f"{path}: pixels are {kinds.dtype}; {allowed} as integers, save it as uint8.")
    if len(others := np.setdiff1d(kinds, (ANNOTATED, NOT_LOOKED_AT, UNSURE))):
        raise InputError(f"{path}: has pixels of {others[0]}; {allowed}, give each pixel one of them.")
    return kinds.astype(np.uint8)


def write_label_image(
    path: Path, label_image: NDArray[Any], pixel_size_um: float | None = None, info: str | None = None
) -> None:
    """Write a (y, x) integer label image as zlib-compressed TIFF.

    The dtype is uint16, or uint32 where the largest label is over 65,535. The pixel size is written as ImageJ
    writes it: Fiji, tifffile and Bio-Formats, which QuPath and OMERO use, read it in µm. Fiji shows `info` by
    Image > Show Info.
    """
    if label_image.ndim != 2 or label_image.dtype.kind not in "ui":
        raise ValueError(f"A label image is (y, x) integer, got {label_image.shape} {label_image.dtype}.")
    low, high = label_image.min(initial=0), label_image.max(initial=0)
    if low < 0 or high > np.iinfo(np.uint32).max:
        raise ValueError(f"Labels are 0 to {np.iinfo(np.uint32).max}, got {low} to {high}.")
    dtype = np.uint16 if high <= np.iinfo(np.uint16).max else np.uint32
    tifffile.imwrite(
        path,
        label_image.astype(dtype, copy=False),
        compression="zlib",
        compressionargs={"level": FAST_LEVEL},
        **({} if pixel_size_um is None else _as_imagej(pixel_size_um, info)),
    )


def _as_imagej(pixel_size_um: float, info: str | None) -> dict[str, Any]:
    """Give the tags of ImageJ; tifffile writes those of an image by itself, but of none of uint32."""
    return {
        "description": "ImageJ=1.54\nunit=micron\n",
        "metadata": None,
        "resolution": (1 / pixel_size_um,) * 2,
        "resolutionunit": tifffile.RESUNIT.NONE,
        "byteorder": "<",
        "extratags": tifffile.imagej_metadata_tag({"Info": info} if info else {}, "<"),
    }


def _decoded_image(data: bytes, path: Path) -> tuple[NDArray[Any], tuple[int, int] | None]:
    """Give an image and the height and width of its tiles in the file, if there are any."""
    raster = _decode(data, path, indices=False)
    if raster.white_is_zero:
        raise InputError(
            f"{path}: says that 0 is white (PhotometricInterpretation 0), which programs read differently; "
            "save it with 0 as black. In Fiji: Image > Lookup Tables > Grays, and Edit > Invert if nuclei are dark."
        )
    if raster.palette is not None and (np.diff(raster.palette.astype(np.int64), axis=0) < 0).any():
        raise InputError(
            f"{path}: is coloured by a lookup table whose colours don't rise with intensity; "
            "save it in grey. In Fiji: Image > Lookup Tables > Grays."
        )
    image = _plane(raster, path)
    if image.dtype not in IMAGE_DTYPES:
        raise InputError(f"{path}: pixels are {image.dtype}; allowed are uint8 and uint16, save it as one of them.")
    return image, raster.tile


def _decode(data: bytes, path: Path, indices: bool) -> Raster:
    """Decode by what the content is; with `indices`, a palette's indices are given in place of its colours."""
    try:
        if len(data) < len(SIGNATURE):
            raise ValueError(f"the file has {len(data)} bytes")
        return decode_png(data, indices) if data.startswith(SIGNATURE) else decode_tiff(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    # The decoders raise a dozen types on damaged files, from struct.error to ones of their own.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: is damaged or cut short ({reason}); copy it again from its source.") from None


def _plane(raster: Raster, path: Path) -> NDArray[Any]:
    """Give (y, x) in the machine's byte order."""
    try:
        image = raster.grey()
        refuse_other_shapes(image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))


def _black(part: BlackPart, shape: tuple[int, ...], tile: tuple[int, int] | None = None) -> str:
    rows = f"between rows {part.first // shape[1]} and {part.last // shape[1]} of {shape[0]}"
    return (
        f"{part.share:.1%} of its pixels are exactly 0 in long stretches ({'whole tiles' if tile else rows}), "
        f"and of the others {part.zeros_elsewhere:.1%}"
    )
