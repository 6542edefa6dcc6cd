"""Tests of tasks.steps.ingest: what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from tasks.contract import Workspace
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import read_label_image
from tasks.steps.ingest import TASK, Params, run
from tests.disks import resize
from tests.plates import INFO, make_plate
from tests.steps.ingesting import (
    IMAGE,
    LABEL_IMAGE,
    cut_image,
    ingest,
    one_field,
    relabel,
    run_command,
    stored_plates,
)


def _remove_labels(plate: Path) -> None:
    (plate / "labels/b.tif").unlink()


def _remove_image(plate: Path) -> None:
    (plate / "images/b.tif").unlink()


def _crop_labels(plate: Path) -> None:
    tifffile.imwrite(plate / "labels/b.tif", LABEL_IMAGE[:-1])


def _colour_image(plate: Path) -> None:
    tifffile.imwrite(plate / "images/b.tif", np.stack([IMAGE, IMAGE // 2, IMAGE], axis=-1), photometric="rgb")


def _float_labels(plate: Path) -> None:
    tifffile.imwrite(plate / "labels/b.tif", LABEL_IMAGE.astype(np.float32) / 2)


def _cut_png(plate: Path) -> None:
    (plate / "images/b.tif").unlink()
    (plate / "images/b.png").write_bytes(imagecodecs.png_encode(IMAGE)[:-20])


def _constant_image(plate: Path) -> None:
    tifffile.imwrite(plate / "images/b.tif", np.full_like(IMAGE, 7))


def _empty_plate(plate: Path) -> None:
    for path in plate.glob("*/*.tif"):
        path.unlink()


def _no_nucleus(plate: Path) -> None:
    relabel(plate, np.zeros_like(LABEL_IMAGE))


def _unknown_key(plate: Path) -> None:
    (plate / "plate.json").write_text(json.dumps(INFO | {"colour": "blue"}))


BAD_PLATES: list[tuple[Callable[[Path], None], str]] = [
    (_remove_labels, "images/b.tif: has no label image; add one"),
    (_remove_image, "labels/b.tif: has no image; add its image"),
    (_crop_labels, "labels/b.tif: is 19 x 30 px and images/b.tif is 20 x 30 px; they must be equal"),
    (_colour_image, "images/b.tif: has the shape (20, 30, 3), as colour"),
    (_float_labels, "labels/b.tif: labels are float32 and not whole numbers; allowed are integers"),
    (cut_image, "images/b.tif: is damaged or cut short"),
    (_cut_png, "images/b.png: is damaged or cut short"),
    (_constant_image, "images/b.tif: every pixel is 7; it shows nothing"),
    (_empty_plate, "images/: holds no image"),
    (_no_nucleus, "labels/: holds no nucleus in any of its 2 files"),
    (_unknown_key, "plate.json: colour: unknown key; allowed are name"),
]


@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("test", "train")])
def test_an_image_of_one_role_is_refused_in_the_other_also_after_renaming(
    tmp_path: Path, store: Path, first: str, second: str
) -> None:
    ingest(make_plate(tmp_path / "known", {"a": IMAGE}, {"a": LABEL_IMAGE}, role=first), store)
    copied = make_plate(
        tmp_path / "copied", {"b.png": IMAGE, "c": IMAGE + 1}, dict.fromkeys("bc", LABEL_IMAGE), role=second
    )
    with pytest.raises(InputError, match=rf"images/b.png: has the pixels of images/a.tif of the {first} plate known"):
        ingest(copied, store)
    assert [name.partition("@")[0] for name in stored_plates(store)] == ["known"]


@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("test", "train"), ("test", "screen")])
def test_a_plate_keeps_its_role(tmp_path: Path, store: Path, first: str, second: str) -> None:
    ingest(one_field(tmp_path / "first" / "plate", role=first), store)
    with pytest.raises(InputError, match=f"role is {second}, but a plate named plate is known with role {first}"):
        ingest(one_field(tmp_path / "second" / "plate", image=IMAGE + 1, role=second), store)


def test_another_plate_does_not_take_the_place_of_one_of_its_name(tmp_path: Path, store: Path) -> None:
    ingest(one_field(tmp_path / "first" / "plate"), store)
    with pytest.raises(InputError, match="none is of the known plate named plate; give a new plate a name of its own"):
        ingest(one_field(tmp_path / "second" / "plate", image=IMAGE + 1), store)


def test_images_may_come_again_in_the_same_role_with_other_labels(tmp_path: Path, store: Path) -> None:
    plate = one_field(tmp_path / "plate")
    ingest(plate, store)
    relabel(plate, np.where(LABEL_IMAGE == 1, LABEL_IMAGE, 0))
    ingest(plate, store)
    assert len(stored_plates(store)) == 2


def test_a_plate_that_is_just_being_imported_counts_too(tmp_path: Path, store: Path) -> None:
    stored = store / ingest(one_field(tmp_path / "plate"), store).outputs["plate"]
    on_its_way = store / "ingest" / f".{stored.name}.partial" / "output"
    on_its_way.parent.mkdir()
    stored.rename(on_its_way)
    with pytest.raises(InputError, match="of the train plate plate"):
        ingest(one_field(tmp_path / "other", role="test"), store)


def test_a_training_plate_must_say_how_it_was_labelled(tmp_path: Path, store: Path) -> None:
    plate = one_field(tmp_path / "plate", annotation=None)
    with pytest.raises(InputError, match="a train plate also needs annotation"):
        ingest(plate, store)


@pytest.mark.parametrize(("spoil", "message"), BAD_PLATES, ids=[spoil.__name__.lstrip("_") for spoil, _ in BAD_PLATES])
def test_a_bad_plate_is_refused_in_one_line_that_names_the_file_and_nothing_is_stored(
    plate: Path, store: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(plate)
    with pytest.raises(InputError) as error:
        ingest(plate, store)
    assert message in str(error.value)
    assert str(plate) in str(error.value)
    assert "\n" not in str(error.value)
    assert stored_plates(store) == []


@pytest.mark.parametrize("name", ["", "labels", "labels/a.tif", "plate.json"])
def test_a_plate_that_may_not_be_read_is_refused(folder_of_a_user: Path, name: str) -> None:
    plate = one_field(folder_of_a_user / "plate")
    (plate / name).chmod(0)
    with pytest.raises(InputError, match=rf"{folder_of_a_user / 'plate'}.*{name}.*: .*Permission denied"):
        ingest(plate, folder_of_a_user / "store")


def test_all_faulty_files_are_named_at_once(tmp_path: Path, store: Path) -> None:
    names = [f"f{number:02d}" for number in range(12)]
    flat = dict.fromkeys(names, np.full_like(IMAGE, 7))
    plate = make_plate(tmp_path / "p", flat, dict.fromkeys(names, LABEL_IMAGE))
    with pytest.raises(InputError) as error:
        ingest(plate, store)
    assert all(f"images/{name}.tif: every pixel is 7" in str(error.value) for name in names[:10])
    assert str(error.value).endswith("; and 2 more.")


def test_an_image_and_its_labels_that_are_both_faulty_are_both_named(plate: Path, store: Path) -> None:
    cut_image(plate)
    _float_labels(plate)
    with pytest.raises(InputError, match=r"images/b\.tif: is damaged .*; labels/b\.tif: labels are float32"):
        ingest(plate, store)


def test_a_plate_that_was_corrected_after_a_refusal_is_ingested(plate: Path, store: Path) -> None:
    cut_image(plate)
    with pytest.raises(InputError):
        ingest(plate, store)
    tifffile.imwrite(plate / "images/b.tif", IMAGE)
    assert ingest(plate, store).counts["fovs"] == 2
    assert len(stored_plates(store)) == 1


def test_a_plate_of_the_other_role_is_refused(plate: Path, store: Path) -> None:
    with pytest.raises(InputError, match=r"plate\.json: role is 'train', and the plate was given as a test plate"):
        ingest(plate, store, role="test")
    assert ingest(plate, store, role="train").counts["fovs"] == 2


def test_the_role_is_checked_on_a_plate_that_is_stored_already(plate: Path, store: Path) -> None:
    ingest(plate, store)
    with pytest.raises(InputError, match="role is 'train'"):
        ingest(plate, store, role="test")


def test_a_file_that_changes_after_the_key_was_made_is_refused(plate: Path, store: Path) -> None:
    params = Params(folder=str(plate))
    key, output_dir = TASK.output_key(params, store), store / "output"
    output_dir.mkdir(parents=True)
    tifffile.imwrite(plate / "images/a.tif", IMAGE[::-1])
    with pytest.raises(InputError, match="changed while it was read"):
        run(params, Workspace(store, key, output_dir, store / "checkpoint"))


def test_the_command_exits_2_with_one_line_for_a_cut_file(plate: Path, store: Path) -> None:
    cut_image(plate)
    done = run_command(plate, store)
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert "images/b.tif: is damaged or cut short" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"colour": 1}, "colour: unknown param; allowed are folder, role"),
        ({"role": "validation"}, "role: Input should be 'train', 'test' or 'screen', got 'validation'"),
        ({"folder": "plates/p"}, "folder: allowed is: Absolute path of the plate's folder"),
    ],
)
def test_a_wrong_param_gives_exit_status_2_and_one_line(
    plate: Path, store: Path, params: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert TASK.main(["--params", json.dumps({"folder": str(plate)} | params), "--store", str(store)]) == 2
    (line,) = caplog.messages
    assert message in line


def test_a_full_disk_exits_1_with_a_line_on_space_and_leaves_nothing_that_looks_complete(
    tmp_path: Path, small_disk: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 60_000, (800, 1000)).astype(np.uint16)
    label_image = np.zeros(noise.shape, np.uint16)
    label_image[10:20, 10:20] = 1
    plate = make_plate(tmp_path / "plate", {"a": noise}, {"a": label_image})

    done = run_command(plate, small_disk)
    assert done.returncode == 1
    assert f"no space left in the store {small_disk}" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert stored_plates(small_disk) == []

    resize(small_disk, megabytes=20)
    assert run_command(plate, small_disk).returncode == 0
    (key,) = stored_plates(small_disk)
    np.testing.assert_array_equal(read_label_image(small_disk / "ingest" / key / "labels/a.tif"), label_image)
