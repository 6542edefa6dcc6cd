"""Images and label images as files: TIFF, OME-TIFF and PNG of one plane and one channel."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError

TIFF_EXTENSIONS = (".ome.tiff", ".ome.tif", ".tiff", ".tif")
PNG_EXTENSIONS = (".png",)
EXTENSIONS = TIFF_EXTENSIONS + PNG_EXTENSIONS

# The last chunk of every PNG, with its checksum; the decoder doesn't miss it.
PNG_END = b"IEND\xaeB`\x82"

IMAGE_DTYPES = (np.uint8, np.uint16)


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
