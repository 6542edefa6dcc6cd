"""What somebody may put into a plate on purpose: ways out of it, what isn't a file, images that take all memory."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates import other_files
from tasks.nuclei.plates.chosen_patches import CHOSEN_PATCHES
from tasks.nuclei.plates.field_check import check_field
from tasks.nuclei.plates.files import Plate, pair_files
from tasks.nuclei.plates.hcs import Channel, HcsWriter
from tasks.nuclei.plates.hcs_plates import pair_fields
from tasks.nuclei.plates.image_files import decode_ignored, decode_image, decode_numbered
from tasks.nuclei.plates.info import read_plate_info
from tasks.nuclei.plates.layouts import HCS_FOLDER
from tasks.nuclei.plates.origins import ORIGINS
from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS
from tasks.nuclei.plates.room import Room
from tests.limits import within_limits
from tests.plates import INFO, make_plate, two_squares
from tests.repository import REPOSITORY

IMAGE, LABEL_IMAGE = two_squares()
CHANNEL = Channel("DAPI", 100, 4000)
FIELD = f"{HCS_FOLDER}/B/07/0"


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    """Let a test fail that would wait for ever, or take all memory."""
    with within_limits():
        yield


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    labels = {"a": LABEL_IMAGE, "b": LABEL_IMAGE}
    plate = make_plate(tmp_path / "plate", {"a": IMAGE, "b": IMAGE}, labels, label_sets={"anna": labels})
    (plate / ORIGINS).write_text("fov,label,origin,model,proposed_by\na,1,drawn,,\n")
    (plate / CHOSEN_PATCHES).write_text("fov,y0,x0,y1,x1,choice,request\na,0,0,20,30,random,\n")
    return plate


@pytest.fixture
def ome_zarr(tmp_path: Path) -> Path:
    folder = tmp_path / "plate"
    folder.mkdir()
    (folder / "plate.json").write_text(json.dumps(INFO))
    writer = HcsWriter(folder / HCS_FOLDER, "plate", {"B07": [1]}, 0.5, "a model", CHANNEL)
    writer.write_field("B07", 1, IMAGE, LABEL_IMAGE)
    return folder


def move_out(path: Path) -> None:
    """Put a link to a place out of the plate where a file or folder was."""
    elsewhere = next(folder for folder in path.parents if folder.name == "plate").parent / "of others"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    path.unlink()
    here = Path.cwd()
    os.chdir(path.parent)  # The path of a socket may have 107 bytes.
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def chunk(plate: Path) -> Path:
    return next(path for path in sorted((plate / FIELD).rglob("*")) if path.name == "0" and path.is_file())


def problems_of_others(plate: Plate) -> list[str]:
    """Say what is wrong with the files of a plate that are of no field's own."""
    return other_files.problems_of(plate, dict.fromkeys(["a", "b"], IMAGE.shape))


IN_SETS = ["label_sets", "label_sets/anna", "label_sets/anna/a.tif"]


@pytest.mark.parametrize("name", ["plate.json", "images", "labels", "images/a.tif", "labels/b.tif", *IN_SETS])
def test_a_link_that_leads_out_of_a_plate_is_refused_by_name(plain: Path, name: str) -> None:
    move_out(plain / name)
    with pytest.raises(InputError, match=rf"{name}.*link.* leads out of|leads out of .*link") as error:
        pair_files(plain)
    assert Path(name).name in str(error.value)


def test_a_plate_may_be_a_link_itself_and_hold_links_to_its_own_files(plain: Path) -> None:
    (plain / "images/a.tif").rename(plain / "labels/../a.tif")
    (plain / "images/a.tif").symlink_to("../a.tif")
    (plain.parent / "link").symlink_to(plain)
    assert [fov.name for fov in pair_files(plain.parent / "link").fovs] == ["a", "b"]


@pytest.mark.parametrize("put", [pipe, unix_socket, endless])
@pytest.mark.parametrize("name", ["plate.json", "images/a.tif", "labels/a.tif", "label_sets/anna/a.tif"])
def test_what_is_not_a_file_in_a_plate_is_refused_by_name_and_keeps_nobody_waiting(
    plain: Path, name: str, put: Callable[[Path], None]
) -> None:
    put(plain / name)
    with pytest.raises(InputError, match=rf"{name}.*(not a file but a device or a pipe|leads out)"):
        pair_files(plain)


@pytest.mark.parametrize("put", [move_out, pipe, unix_socket, endless])
@pytest.mark.parametrize("name", [ORIGINS, CHOSEN_PATCHES])
@pytest.mark.parametrize("look", [problems_of_others, other_files.hashes_of])
def test_tables_of_a_plate_are_its_own_files_whoever_looks_at_them_first(
    plain: Path, name: str, put: Callable[[Path], None], look: Callable[[Plate], object]
) -> None:
    put(plain / name)
    with pytest.raises(InputError, match=rf"{name}.*(not a file but a device or a pipe|leads out)"):
        look(pair_files(plain))


def test_a_link_that_comes_after_the_files_were_listed_is_not_followed(plain: Path) -> None:
    plate = pair_files(plain)
    move_out(plain / "images/a.tif")
    with pytest.raises(InputError, match=r"images/a\.tif: is a link that leads out of the plate"):
        plate.read(plain / "images/a.tif")


def test_a_table_of_gigabytes_is_refused_and_not_read(plain: Path) -> None:
    os.truncate(plain / ORIGINS, 2**33)
    with pytest.raises(InputError, match=r"origins\.csv: has 8,589,934,592 bytes, allowed are 553,648,128"):
        problems_of_others(pair_files(plain))


def test_a_pipe_that_comes_after_the_files_were_listed_keeps_nobody_waiting(plain: Path) -> None:
    plate = pair_files(plain)
    pipe(plain / "images/a.tif")
    with pytest.raises(InputError, match=r"images/a\.tif: is not a file but a device or a pipe; remove it"):
        plate.read(plain / "images/a.tif")


def test_a_plate_json_of_gigabytes_is_refused_and_not_read(plain: Path) -> None:
    os.truncate(plain / "plate.json", 2**33)
    with pytest.raises(InputError, match=r"plate\.json: has over 1,048,576 bytes"):
        read_plate_info(plain)


def test_an_image_of_gigabytes_is_refused_and_not_read(plain: Path) -> None:
    os.truncate(plain / "images/a.tif", 2**33)
    with pytest.raises(InputError, match=r"images/a\.tif: has 8,589,934,592 bytes, allowed are 553,648,128"):
        pair_files(plain)


@pytest.mark.parametrize("put", [move_out, pipe, unix_socket, endless])
@pytest.mark.parametrize("which", [lambda plate: plate / FIELD / ".zattrs", chunk], ids=["attributes", "chunk"])
def test_in_ome_zarr_only_files_and_folders_are_read(
    ome_zarr: Path, which: Callable[[Path], Path], put: Callable[[Path], None]
) -> None:
    path = which(ome_zarr)
    put(path)
    name = path.relative_to(ome_zarr / HCS_FOLDER).as_posix()
    with pytest.raises(InputError, match=rf"{name}: (is a link; put the file|is not a file but a device or a pipe)"):
        pair_fields(ome_zarr)


def test_an_ome_zarr_plate_behind_a_link_out_of_the_plate_is_refused(ome_zarr: Path) -> None:
    move_out(ome_zarr / HCS_FOLDER)
    with pytest.raises(InputError, match=r"'images\.ome\.zarr' leads out of it by a link"):
        pair_fields(ome_zarr)


OUT = ("../../../../of others", "/tmp/of others", "0/../../../../../of others")


def name_well(plate: Path, path: str) -> None:
    change(plate / HCS_FOLDER, lambda content: content["plate"].update(wells=[{"path": f"{path}/B/07"}]))


def name_image(plate: Path, path: str) -> None:
    change(plate / HCS_FOLDER / "B/07", lambda content: content["well"].update(images=[{"path": f"{path}/0"}]))


def name_labels(plate: Path, path: str) -> None:
    change(plate / FIELD / "labels", lambda content: content.update(labels=[path]))


def name_dataset(plate: Path, path: str) -> None:
    change(plate / FIELD, lambda content: content["multiscales"][0]["datasets"][0].update(path=path))


def name_dataset_of_labels(plate: Path, path: str) -> None:
    change(plate / FIELD / "labels/nuclei", lambda content: content["multiscales"][0]["datasets"][0].update(path=path))


def change(group: Path, edit: Callable[[dict], object]) -> None:
    content = json.loads((group / ".zattrs").read_text())
    edit(content)
    (group / ".zattrs").write_text(json.dumps(content))


@pytest.mark.parametrize("path", OUT)
@pytest.mark.parametrize("edit", [name_well, name_image, name_labels, name_dataset, name_dataset_of_labels])
def test_paths_in_ome_zarr_that_lead_out_are_refused(
    ome_zarr: Path, edit: Callable[[Path, str], None], path: str, tmp_path: Path
) -> None:
    edit(ome_zarr, path)
    with pytest.raises(InputError, match=r"leads out of it; allowed are paths within"):
        read_all(pair_fields(ome_zarr))


def read_all(plate: Plate) -> None:
    for fov in plate.fovs:
        for path in (fov.image_path, fov.labels_path):
            if path is not None:
                plate.read(path)


def bomb(side_px: int, path: Path) -> Path:
    """Write a TIFF of so many px that holds nothing but zeros, in a thousandth of its pixels' bytes."""
    tile_px = side_px // 10
    tiles = iter([zlib.compress(bytes(tile_px**2), 9)] * 100)
    tifffile.imwrite(path, tiles, shape=(side_px, side_px), dtype=np.uint8, tile=(tile_px, tile_px), compression="zlib")
    assert path.stat().st_size < side_px**2 / 900
    return path


def checked(plate: Path, output_dir: Path) -> tuple[list[str], float]:
    """Give what is wrong with the plate's field, and the most bytes that the look at it took."""
    for part in ("images", "labels"):
        (output_dir / part).mkdir(parents=True)
    opened = pair_files(plate)
    tracemalloc.start()
    problems = check_field(opened.fovs[0], opened, output_dir).problems
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return problems, most


@pytest.mark.parametrize("side_px", [8320, 20_000])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_an_image_beyond_the_bound_is_refused_by_its_header_before_it_takes_memory(
    tmp_path: Path, part: str, side_px: int
) -> None:
    plate = make_plate(tmp_path / "plate", {"a": IMAGE}, {"a": LABEL_IMAGE})
    file = bomb(side_px, plate / part / "a.tif")
    problems, most = checked(plate, tmp_path / "out")
    assert problems == [
        f"{part}/a.tif: is {side_px} x {side_px} px, allowed are {MAX_FIELD_PIXELS:,} px in all; cut it into fields"
    ]
    assert most < 10 * file.stat().st_size + 2**20


@pytest.mark.parametrize("side_px", [8320, 20_000])
def test_a_label_image_of_a_set_beyond_the_bound_is_refused_before_it_takes_memory(plain: Path, side_px: int) -> None:
    file = bomb(side_px, plain / "label_sets/anna/a.tif")
    plate = pair_files(plain)
    tracemalloc.start()
    problems = problems_of_others(plate)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problems == [
        f"label_sets/anna/a.tif: is {side_px} x {side_px} px, allowed are {MAX_FIELD_PIXELS:,} px in all; "
        "cut it into fields"
    ]
    assert most < 10 * file.stat().st_size + 2**21


@pytest.mark.parametrize("decode", [decode_image, decode_numbered, decode_ignored])
def test_nothing_that_arrives_is_decoded_beyond_the_bound(
    decode: Callable[[bytes, Path], object], tmp_path: Path
) -> None:
    file = bomb(8320, tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"is 8320 x 8320 px, allowed are 67,108,864 px"):
        decode(file.read_bytes(), file)


def test_files_of_a_plate_that_arrives_are_read_in_one_place() -> None:
    reading = re.compile(
        r"\b(read_bytes|read_text|imread|read_label_image|read_numbered|read_ignored)\(|(?<!\.)\bopen\("
    )
    modules = (REPOSITORY / "tasks/nuclei/plates").glob("*.py")
    assert {path.name for path in modules if reading.search(path.read_text())} == {
        "image_files.py",
        "file_kinds.py",  # The place: `read_file`.
        "plate_json.py",  # Has a smaller bound.
        "files.py",  # Reads what was imported.
    }


def test_a_png_beyond_the_bound_is_refused_by_its_header(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate", {"a.png": IMAGE}, {"a": LABEL_IMAGE})
    content = bytearray(imagecodecs.png_encode(IMAGE))
    content[16:24] = (9000).to_bytes(4, "big") * 2
    (plate / "images/a.png").write_bytes(content)
    problems, most = checked(plate, tmp_path / "out")
    assert problems == ["images/a.png: is 9000 x 9000 px, allowed are 67,108,864 px in all; cut it into fields"]
    assert most < 2**20


def test_an_ome_zarr_image_beyond_the_bound_is_refused_before_it_takes_memory(ome_zarr: Path) -> None:
    array = ome_zarr / FIELD / "s0"
    zarr.create_array(array, shape=(9000, 9000), chunks=(1000, 1000), dtype="u2", zarr_format=2, overwrite=True)
    plate = pair_fields(ome_zarr)
    with pytest.raises(InputError, match=r"is 9000 x 9000 px, allowed are 67,108,864 px in all; cut it into fields"):
        plate.read(plate.fovs[0].image_path)


def test_fields_side_by_side_have_no_more_pixels_together_than_one_may_have() -> None:
    room, inside, most = Room(100), [0], [0]

    def look(pixels: int) -> None:
        with room.for_pixels(pixels):
            inside[0] += min(pixels, 100)
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.01)
            inside[0] -= min(pixels, 100)

    threads = [threading.Thread(target=look, args=(pixels,)) for pixels in (60, 60, 30, 30, 500, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 60 <= most[0] <= 100
