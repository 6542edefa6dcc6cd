"""The one image in a TIFF file, and whether all of it is there.

tifffile puts zeros in place of strips, tiles and pages that are missing, and says so in its log at most. So they are
looked for before anything is decoded.
"""

from __future__ import annotations

import io
import math
from xml.etree import ElementTree

import tifffile

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.raster import Raster, refuse_too_large

# TIFF and BigTIFF, each in two byte orders.
_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WHITE_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6
_UNCOMPRESSED = 1
# JPEG and JPEG 2000, whose decoders make up what is missing at the end.
_WITH_END = (6, 7, 33003, 33004, 33005, 34712)
_END_OF_JPEG = b"\xff\xd9"


def size_of_tiff(data: bytes) -> tuple[int, int]:
    """Give height and width of the image of a TIFF file, as its tags have them. Raises as `decode_tiff` does."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = _only_page(tiff)
        return page.imagelength, page.imagewidth


def decode_tiff(data: bytes) -> Raster:
    """Decode the image of a TIFF file. Thumbnails and the smaller levels of a pyramid are left out.

    Raises InputError if there are several images, or if a strip, a tile or a promised page is missing; the decoders
    raise many types besides.
    """
    if data[:4] not in _SIGNATURES:
        raise InputError(
            "is neither TIFF nor PNG by its content, or its beginning is lost; "
            "save it as TIFF, or copy it again from its source."
        )
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = _only_page(tiff)
        refuse_too_large(page.shape)
        refuse_too_large((page.tilelength, page.tilewidth))
        _refuse_missing_parts(page, data)
        _refuse_missing_planes(tiff, page)
        pixels = page.asarray()
    photometric = page.tags.valueof("PhotometricInterpretation")
    # Colours one behind the other may as well be three planes: tifffile saves three of any kind so. They stay
    # (3, y, x).
    return Raster(
        pixels,
        colours=3 if photometric in (_RGB, _YCBCR) and page.axes == "YXS" else 1,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        palette=page.colormap.T if photometric == _PALETTE and page.colormap is not None else None,
        tile=(page.tilelength, page.tilewidth) if page.is_tiled else None,
    )


def _only_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    tiff.pages.useframes = False
    pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
    whole = [page for page in pages if not page.is_reduced and page.shape]
    if len(whole) > 1:
        shapes = ", ".join(sorted({" x ".join(map(str, page.shape)) for page in whole}))
        raise InputError(
            f"holds {len(whole)} images ({shapes}); allowed is one plane of one channel, save each to its own file."
        )
    if not whole:
        raise InputError(f"holds {len(pages)} thumbnails and no image; export the image itself.")
    return whole[0]


def _refuse_missing_parts(page: tifffile.TiffPage, data: bytes) -> None:
    """Refuse strips or tiles that lie nowhere, are empty, or aren't in the file as a whole."""
    promised = math.prod(page.chunked)
    parts = zip(page.dataoffsets[:promised], page.databytecounts[:promised], _sizes(page, promised), strict=False)
    there = sum(
        offset > 0
        and count >= (size or 1)
        and offset + (size or count) <= len(data)
        and _has_end(page, data, offset, count)
        for offset, count, size in parts
    )
    if there < promised:
        kind = "tiles" if page.is_tiled else "strips"
        raise InputError(
            f"is damaged or cut short ({promised - there} of its {promised} {kind} of pixels are missing); "
            "copy it again from its source."
        )


def _has_end(page: tifffile.TiffPage, data: bytes, offset: int, count: int) -> bool:
    return page.compression not in _WITH_END or data[offset : offset + count].rstrip(b"\0").endswith(_END_OF_JPEG)


def _sizes(page: tifffile.TiffPage, promised: int) -> list[int]:
    """Give the bytes that each strip or tile must have; 0 where compression makes it unknown."""
    if page.compression != _UNCOMPRESSED or page.bitspersample % 8 or page.is_subsampled:
        return [0] * promised
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    pixel_size = samples * page.bitspersample // 8
    if page.is_tiled:
        return [page.tilelength * page.tilewidth * pixel_size] * promised
    rows = min(page.rowsperstrip, page.imagelength)
    of_plane = math.ceil(page.imagelength / rows)
    return [
        min(rows, page.imagelength - number % of_plane * rows) * page.imagewidth * pixel_size
        for number in range(promised)
    ]


def _refuse_missing_planes(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
    """Refuse a file whose description promises more planes than the one page that it has."""
    for source, promised in (
        ("OME-XML", _planes_of_ome(tiff.ome_metadata) if tiff.is_ome and tiff.ome_metadata else 1),
        ("ImageJ's description", _planes_of_imagej(tiff) if tiff.is_imagej else 1),
        ("its description", _planes_of_tifffile(page) if page.is_shaped else 1),
        ("MetaMorph's description", int((tiff.stk_metadata or {}).get("NumberPlanes", 1)) if tiff.is_stk else 1),
    ):
        if promised > 1:
            raise InputError(
                f"holds 1 page, and {source} promises {promised}; allowed is one plane of one channel: "
                "copy the file again if pages are missing, or save each plane to its own file."
            )


def _planes_of_ome(xml: str) -> int:
    """Count the planes that lie in this file. Of files that belong together, each names the planes of all."""
    root = ElementTree.fromstring(xml)
    own = root.get("UUID")
    planes = 0
    for pixels in root.iterfind("{*}Image/{*}Pixels"):
        parts = pixels.findall("{*}TiffData")
        files = [part.findtext("{*}UUID") for part in parts]
        if any(file not in (None, own) for file in files):
            planes += sum(
                int(part.get("PlaneCount", 1)) for part, file in zip(parts, files, strict=True) if file in (None, own)
            )
        else:
            samples = int(next((c.get("SamplesPerPixel", "1") for c in pixels.iterfind("{*}Channel")), "1"))
            planes += math.prod(int(pixels.get(f"Size{axis}", 1)) for axis in "ZCT") // max(samples, 1)
    return planes


def _planes_of_imagej(tiff: tifffile.TiffFile) -> int:
    metadata = tiff.imagej_metadata or {}
    named = math.prod(int(metadata.get(name, 1)) for name in ("frames", "slices", "channels"))
    samples = tiff.pages.first.samplesperpixel
    return max(named, int(metadata.get("images", 1))) // (samples if named == samples else 1)


def _planes_of_tifffile(page: tifffile.TiffPage) -> int:
    shape = tifffile.tifffile.shaped_description_metadata(page.shaped_description or "").get("shape", ())
    return math.ceil(math.prod(int(length) for length in shape) / max(page.size, 1))
