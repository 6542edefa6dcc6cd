"""Pictures of stored images for a browser: grey by percentiles, outlines of label images, small ones of plates.

The only module here that needs libraries for images. What it reads has been imported or written by a task, and never
changes. All that read a file raise as `reading`.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from nucleus_dags.page.damaged import reading

Colour = tuple[int, int, int]

BLACK_PERCENTILE, WHITE_PERCENTILE = 0.01, 99.99
"""Of the usual contrast, as networks and annotators see a field without dead cells and glare."""
QUALITY = 92
"""Of JPEG: at full size, its noise is below a camera's."""
FAST = 1
"""Level of compression of PNG; a higher one takes thrice as long for a twentieth less."""
THUMBNAIL_PX = 160
THUMBNAIL_SHOWS_PX = 640
"""Side of the middle of a field that a thumbnail shows: of a whole field, nuclei would be specks."""

# A field and its label image, of this one and of the next. Of the largest that are imported, four take a gigabyte.
_KEPT = 4
# The server answers others meanwhile, and its memory is bounded.
_AT_A_TIME = threading.BoundedSemaphore(2)


class Levels(NamedTuple):
    """Intensities that are shown as black and white."""

    black: int
    white: int


class Outlines(NamedTuple):
    """Outlines of the nuclei of a label image, just inside of them."""

    labels: Path
    colour: Colour
    marked: Collection[int] = ()
    """Labels whose outlines have a colour of their own."""
    marked_colour: Colour = (0, 0, 0)
    width_px: int = 1


class Field(NamedTuple):
    """What a viewer needs to know of a field before it shows it."""

    height_px: int
    width_px: int
    range: Levels
    """Its lowest and its highest intensity."""
    usual: Levels
    """By the usual percentiles."""


def describe_field(path: Path) -> Field:
    """Read size and intensities of an image."""
    with _AT_A_TIME:
        image = _image(path)
        height, width = image.shape
        return Field(height, width, Levels(int(image.min()), int(image.max())), percentile_levels(image))


def field_picture(path: Path, levels: Levels | None = None) -> bytes:
    """Give an image of 8 or 16 bits as a grey JPEG of the same size, with the usual contrast if none is given."""
    with _AT_A_TIME:
        image = _image(path)
        return _encoded(_grey(image, levels or percentile_levels(image)), "JPEG", quality=QUALITY)


def outlines_picture(outlines: Outlines) -> bytes:
    """Give outlines as a PNG of the size of their label image, transparent between them."""
    with _AT_A_TIME:
        picture = Image.fromarray(_marked(outlines))
        picture.putpalette([0, 0, 0, *outlines.colour, *outlines.marked_colour])
        return _encoded(picture, "PNG", compress_level=FAST, transparency=0)


def label_at(path: Path, y: int, x: int) -> int:
    """Give the label of a pixel of a label image, 0 for background and for what lies outside."""
    with _AT_A_TIME:
        label_image = _label_image(path)
    height, width = label_image.shape
    return int(label_image[y, x]) if 0 <= y < height and 0 <= x < width else 0


def thumbnail(plate_folder: Path) -> bytes:
    """Give a small picture of the first field of a stored plate. Raises FileNotFoundError for one without images."""
    paths = [path for path in (plate_folder / "images").iterdir() if not path.name.startswith(".")]
    if not paths:
        raise FileNotFoundError(f"{plate_folder / 'images'} holds no image.")
    return small_picture(min(paths))


@lru_cache(maxsize=1024)
def small_picture(path: Path, outlines: Outlines | None = None) -> bytes:
    """Give the middle of an image as a small square PNG of some kilobytes, in grey or with outlines."""
    with _AT_A_TIME:
        image = _read(path)
        picture = _middle(_grey(image, percentile_levels(image)))
        if outlines:
            picture = picture.convert("RGB")
            picture.paste(outlines.colour, mask=_middle(Image.fromarray(_marked(outlines) > 0)))
        picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
        return _encoded(picture, "PNG")


def percentile_levels(image: NDArray[Any], black: float = BLACK_PERCENTILE, white: float = WHITE_PERCENTILE) -> Levels:
    """Give the intensities at two percentiles of an image, at least the second lowest and second highest pixel."""
    counted = np.cumsum(np.bincount(image.ravel()))
    last = image.size - 1
    most = max((last - 1) // 2, 0)
    below, above = (min(max(int(image.size * share / 100), 1), most) for share in (black, 100 - white))
    return Levels(*(int(np.searchsorted(counted, rank, side="right")) for rank in (below, last - above)))


def edges(label_image: NDArray[np.integer], width_px: int = 1) -> NDArray[np.bool_]:
    """Say of each pixel of a label image whether it belongs to a nucleus, and one beside it doesn't belong to the same.

    The image's edge is none. Wider outlines grow inwards.
    """
    left = label_image.copy()
    found = np.zeros(left.shape, np.bool_)
    for _ in range(width_px):
        edge = np.zeros(left.shape, np.bool_)
        for here, there in (
            (np.s_[1:], np.s_[:-1]),
            (np.s_[:-1], np.s_[1:]),
            (np.s_[:, 1:], np.s_[:, :-1]),
            (np.s_[:, :-1], np.s_[:, 1:]),
        ):
            edge[here] |= left[here] != left[there]
        edge &= left > 0
        found |= edge
        left[edge] = 0
    return found


def _marked(outlines: Outlines) -> NDArray[np.uint8]:
    """Give, of each pixel, whether it is of an outline: 1, or 2 where its label is marked."""
    label_image = _label_image(outlines.labels)
    found = edges(label_image, outlines.width_px).astype(np.uint8)
    if outlines.marked:
        found[(found > 0) & np.isin(label_image, list(outlines.marked))] = 2
    return found


def _middle(picture: Image.Image) -> Image.Image:
    left, top = (max(0, (size - THUMBNAIL_SHOWS_PX) // 2) for size in picture.size)
    right, bottom = (min(size, (size + THUMBNAIL_SHOWS_PX) // 2) for size in picture.size)
    return picture.crop((left, top, right, bottom))


def _grey(image: NDArray[Any], levels: Levels) -> Image.Image:
    span = max(levels.white - levels.black, 1)
    intensities = np.arange(np.iinfo(image.dtype).max + 1, dtype=np.float32)
    grey = ((intensities - np.float32(levels.black)) * np.float32(255 / span)).clip(0, 255)
    return Image.fromarray(np.rint(grey).astype(np.uint8)[image])


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


@lru_cache(maxsize=_KEPT)
def _image(path: Path) -> NDArray[Any]:
    return _read(path)


@lru_cache(maxsize=_KEPT)
def _label_image(path: Path) -> NDArray[Any]:
    if path.suffix.lower() != ".png":
        return _read(path)
    # Of a palette, labels are the indices.
    with reading(path), Image.open(path) as picture:
        return _one_channel(np.asarray(picture))


def _read(path: Path) -> NDArray[Any]:
    with reading(path):
        if path.suffix.lower() == ".png":
            return _one_channel(imagecodecs.png_decode(path.read_bytes()))
        with tifffile.TiffFile(path) as tiff:
            # A file may have a thumbnail and the smaller levels of a pyramid besides.
            page = next(page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and not page.is_reduced)
            return _one_channel(page.asarray())


def _one_channel(pixels: NDArray[Any]) -> NDArray[Any]:
    """Give (y, x) of what was imported: grey that may have been saved as colour, in one colour or in all alike."""
    pixels = pixels.squeeze() if pixels.ndim > 2 else pixels
    if pixels.ndim > 2:
        pixels = next((pixels[..., colour] for colour in range(3) if pixels[..., colour].any()), pixels[..., 0])
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
