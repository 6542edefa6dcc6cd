"""Tests of tasks.nuclei.plates.zarr_chunks, and of fields that lack chunks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from tasks.contract import execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.hcs import Channel, HcsWriter
from tasks.nuclei.plates.hcs_listing import list_hcs
from tasks.nuclei.plates.layouts import HCS_FOLDER
from tasks.nuclei.plates.zarr_chunks import read_plane
from tasks.steps.ingest import TASK, Params
from tests.plates import INFO

IMAGE = np.random.default_rng(0).integers(90, 110, (70, 90)).astype(np.uint16)
LABEL_IMAGE = np.zeros((70, 90), np.uint16)
CHANNEL = Channel("DAPI", 100, 4000)
LABEL_IMAGE[2:12, 2:12] = 1
ALL = slice(None)


def files_of(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith((".z", "zarr"))]


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("compressors", ["auto", None])
@pytest.mark.parametrize("fill_value", [0, 100, None])
@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (40, 60))])
def test_missing_chunks_are_counted_whatever_their_files_are_called(
    tmp_path: Path, zarr_format: Any, shards: Any, separator: Any, compressors: Any, fill_value: Any
) -> None:
    keys = {"name": "v2" if zarr_format == 2 else "default", "separator": separator}
    options = {"chunk_key_encoding": keys, "compressors": compressors, "fill_value": fill_value, "shards": shards}
    zarr.create_array(tmp_path / "a", data=IMAGE, chunks=(20, 30), zarr_format=zarr_format, **options)
    whole = read_plane(zarr.open_array(tmp_path / "a", mode="r"), (ALL, ALL))
    np.testing.assert_array_equal(whole.pixels, IMAGE)
    assert (whole.missing, whole.chunks, whole.chunk) == (0, 12, (20, 30))
    files_of(tmp_path / "a")[-1].unlink()
    # Of shards the last holds the right column of the lower half, 2 x 1 chunks within the image.
    assert read_plane(zarr.open_array(tmp_path / "a", mode="r"), (ALL, ALL)).missing == (1 if shards is None else 2)


def test_only_the_chunks_of_the_plane_count(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", data=np.stack([IMAGE, IMAGE]), chunks=(1, 70, 90), zarr_format=2)
    (tmp_path / "a/1.0.0").unlink()
    array = zarr.open_array(tmp_path / "a", mode="r")
    assert [read_plane(array, (channel, ALL, ALL)).missing for channel in (0, 1)] == [0, 1]


@pytest.mark.parametrize("fill_value", [0, 7])
def test_a_chunk_that_was_left_out_because_it_is_empty_is_missing(tmp_path: Path, fill_value: int) -> None:
    image = np.full((40, 40), fill_value, np.uint16)
    image[:20] = 100
    zarr.create_array(tmp_path / "a", data=image, chunks=(20, 20), fill_value=fill_value, zarr_format=2)
    assert read_plane(zarr.open_array(tmp_path / "a", mode="r"), (ALL, ALL)).missing == 2


def test_a_size_beyond_all_bounds_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", shape=(10**7, 10**7), chunks=(100, 100), dtype=np.uint16, zarr_format=2)
    with pytest.raises(InputError, match="is 10000000 x 10000000 px, allowed are"):
        read_plane(zarr.open_array(tmp_path / "a", mode="r"), (ALL, ALL))


def test_millions_of_chunks_are_refused_before_they_are_looked_for(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", shape=(8000, 8000), chunks=(1, 1), dtype=np.uint16, zarr_format=2)
    with pytest.raises(InputError, match=r"has chunks of 1 x 1 px, over 65,536 in all"):
        read_plane(zarr.open_array(tmp_path / "a", mode="r"), (ALL, ALL))


def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", shape=(20, 30), chunks=(20, 30), dtype="<M8[s]", zarr_format=2)
    with pytest.raises(InputError, match=r"its pixels are datetime64\[s\], and no numbers"):
        read_plane(zarr.open_array(tmp_path / "a", mode="r"), (ALL, ALL))


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    folder = tmp_path / "screen"
    folder.mkdir()
    (folder / "plate.json").write_text(json.dumps(INFO | {"name": "screen"}))
    HcsWriter(folder / HCS_FOLDER, "screen", {"B07": [1]}, 0.5, "a model", CHANNEL).write_field(
        "B07", 1, IMAGE, LABEL_IMAGE
    )
    for name, array in (("", IMAGE), ("labels/nuclei/", LABEL_IMAGE)):
        rechunk(folder / HCS_FOLDER / f"B/07/0/{name}s0", array)
    return folder


def rechunk(folder: Path, array: NDArray[Any]) -> None:
    zarr.create_array(folder, data=array, chunks=(20, 30), zarr_format=2, overwrite=True, compressors=None)


def test_an_image_that_lacks_chunks_is_refused_with_their_number(plate: Path) -> None:
    for chunk in ("1.1", "1.2", "2.1"):
        (plate / HCS_FOLDER / "B/07/0/s0" / chunk).unlink()
    with pytest.raises(InputError, match=r"B/07/0: 3 of the 12 chunks of its pixels are missing; copy the plate whole"):
        list_hcs(plate / HCS_FOLDER).fields[0].read_image(1)


def test_a_chunk_of_an_image_whose_end_was_never_written_is_refused(plate: Path) -> None:
    rechunk_px = (70, 90)
    folder = plate / HCS_FOLDER / "B/07/0/s0"
    zarr.create_array(folder, data=IMAGE, chunks=rechunk_px, zarr_format=2, overwrite=True, compressors=None)
    chunk = folder / "0.0"
    chunk.write_bytes(chunk.read_bytes()[:-6000] + bytes(6000))
    with pytest.raises(InputError, match=r"B/07/0: 47\.6% of its pixels are exactly 0 in long stretches"):
        list_hcs(plate / HCS_FOLDER).fields[0].read_image(1)


def test_a_label_image_without_its_empty_chunks_is_imported_and_said_to_be(plate: Path, tmp_path: Path) -> None:
    # zarr has left out the 11 chunks without a nucleus.
    assert [path.name for path in files_of(plate / HCS_FOLDER / "B/07/0/labels/nuclei/s0")] == ["0.0"]
    result = execute(TASK, Params(folder=str(plate)), tmp_path / "store")
    report = json.loads((tmp_path / "store" / result.outputs["plate"] / "report.json").read_text())
    (warning,) = report["warnings"]
    assert warning["file"] == "labels/screen_B07_T0001F001L01A01Z01C01.tif"
    assert warning["problem"].startswith("11 of the 12 chunks of its pixels are missing and taken for background")
