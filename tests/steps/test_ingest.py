"""Tests of tasks.steps.ingest."""

from __future__ import annotations

import csv
import json
import logging
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tasks.contract import Result, Workspace, execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates import PlateInfo, open_plate, read_label_image
from tasks.steps.ingest import TASK, Params, plate_digest, run
from tests import dsb2018
from tests.disks import resize
from tests.plates import INFO, make_plate, two_squares
from tests.repository import REPOSITORY

IMAGE, LABEL_IMAGE = two_squares()


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Two fields of view, in all four nuclei of 16, 36, 16 and 36 px."""
    arrays = {"a": IMAGE, "b": IMAGE}, {"a": LABEL_IMAGE, "b": LABEL_IMAGE}
    return make_plate(tmp_path / "plate", *arrays, pixel_size_um=0.5)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def _ingest(plate: Path, store: Path, **params: Any) -> Result:
    return execute(TASK, Params(folder=str(plate), **params), store)


def _report(result: Result, store: Path) -> dict[str, Any]:
    return json.loads((store / result.outputs["plate"] / "report.json").read_text())


def _relabel(plate: Path, label_image: NDArray[Any]) -> None:
    for path in (plate / "labels").iterdir():
        tifffile.imwrite(path, label_image)


def _stored_plates(store: Path) -> list[str]:
    return [path.name for path in store.glob("ingest/*") if not path.name.startswith(".")]


def _make(folder: Path, image: NDArray[Any] = IMAGE, **info: Any) -> Path:
    return make_plate(folder, {"a": image}, {"a": LABEL_IMAGE}, **info)


@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("test", "train")])
def test_an_image_of_one_role_is_refused_in_the_other_also_after_renaming(
    tmp_path: Path, store: Path, first: str, second: str
) -> None:
    _ingest(make_plate(tmp_path / "known", {"a": IMAGE}, {"a": LABEL_IMAGE}, role=first), store)
    copied = make_plate(
        tmp_path / "copied", {"b.png": IMAGE, "c": IMAGE + 1}, dict.fromkeys("bc", LABEL_IMAGE), role=second
    )
    with pytest.raises(InputError, match=rf"images/b.png: has the pixels of images/a.tif of the {first} plate known"):
        _ingest(copied, store)
    assert [name.partition("@")[0] for name in _stored_plates(store)] == ["known"]


@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("test", "train"), ("test", "screen")])
def test_a_plate_keeps_its_role(tmp_path: Path, store: Path, first: str, second: str) -> None:
    _ingest(_make(tmp_path / "first" / "plate", role=first), store)
    with pytest.raises(InputError, match=f"role is {second}, but a plate named plate is known with role {first}"):
        _ingest(_make(tmp_path / "second" / "plate", image=IMAGE + 1, role=second), store)


def test_another_plate_does_not_take_the_place_of_one_of_its_name(tmp_path: Path, store: Path) -> None:
    _ingest(_make(tmp_path / "first" / "plate"), store)
    with pytest.raises(InputError, match="none is of the known plate named plate; give a new plate a name of its own"):
        _ingest(_make(tmp_path / "second" / "plate", image=IMAGE + 1), store)


def test_images_may_come_again_in_the_same_role_with_other_labels(tmp_path: Path, store: Path) -> None:
    plate = _make(tmp_path / "plate")
    _ingest(plate, store)
    _relabel(plate, np.flip(LABEL_IMAGE))
    _ingest(plate, store)
    assert len(_stored_plates(store)) == 2


def test_a_plate_that_is_being_frozen_counts_too(tmp_path: Path, store: Path) -> None:
    frozen = store / _ingest(_make(tmp_path / "plate"), store).outputs["plate"]
    on_its_way = store / "ingest" / f".{frozen.name}.partial" / "output"
    on_its_way.parent.mkdir()
    frozen.rename(on_its_way)
    with pytest.raises(InputError, match="of the train plate plate"):
        _ingest(_make(tmp_path / "other", role="test"), store)


def test_a_plate_to_screen_needs_no_labels_and_may_hold_images_of_any_role(tmp_path: Path, store: Path) -> None:
    _ingest(_make(tmp_path / "known"), store)
    screen = make_plate(tmp_path / "screen", {"a": IMAGE, "b": IMAGE}, {"a": LABEL_IMAGE}, role="screen")
    (screen / "plate.json").write_text(
        json.dumps(
            {name: value for name, value in INFO.items() if name not in ("replicate", "annotation")}
            | {"role": "screen"}
        )
    )
    result = _ingest(screen, store)
    assert result.counts == {"fovs": 2, "nuclei": 2, "warnings": 0}
    frozen = open_plate(store / result.outputs["plate"])
    assert [fov.labels_path is None for fov in frozen.fovs] == [False, True]


def test_a_plate_to_train_on_must_say_how_it_was_labelled(tmp_path: Path, store: Path) -> None:
    plate = _make(tmp_path / "plate", annotation=None)
    with pytest.raises(InputError, match="a train plate also needs annotation"):
        _ingest(plate, store)


def _command(plate: Path, store: Path, **params: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "tasks.steps.ingest"),
            *("--params", json.dumps({"folder": str(plate)} | params)),
            *("--store", str(store)),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_frozen_plate_opens_and_holds_the_same_files(plate: Path, store: Path) -> None:
    result = _ingest(plate, store)
    frozen = open_plate(store / result.outputs["plate"])
    assert frozen.info == open_plate(plate).info
    assert [fov.name for fov in frozen.fovs] == ["a", "b"]
    for name in ("images/a.tif", "labels/a.tif", "images/b.tif", "labels/b.tif"):
        assert (frozen.folder / name).read_bytes() == (plate / name).read_bytes()


def test_the_key_is_the_plates_name_and_the_start_of_the_digest_in_the_report(plate: Path, store: Path) -> None:
    result = _ingest(plate, store)
    digest = _report(result, store)["digest"]
    assert len(digest) == 64
    assert result.key == f"plate@{digest[:12]}"
    assert result.outputs == {"plate": f"ingest/{result.key}"}


def test_frozen_files_are_read_only_and_their_folder_can_be_removed(plate: Path, store: Path) -> None:
    folder = store / _ingest(plate, store).outputs["plate"]
    assert (folder / "images/a.tif").stat().st_mode & 0o777 == 0o444
    shutil.rmtree(folder)
    assert not folder.exists()


def test_counts_areas_and_intensities_are_those_of_all_fields_together(plate: Path, store: Path) -> None:
    result = _ingest(plate, store)
    assert result.counts == {"fovs": 2, "nuclei": 4, "warnings": 0}
    assert result.metrics["area_mean_px"] == 26
    assert result.metrics["area_sd_px"] == 10
    assert result.metrics["area_mean_um2"] == 26 * 0.25
    assert result.metrics["area_sd_um2"] == 10 * 0.25
    assert result.metrics["intensity_mean"] == pytest.approx((52 * 1000 + 548 * 100) / 600)
    assert (result.metrics["intensity_p01"], result.metrics["intensity_p99"]) == (100, 1000)


def test_the_report_has_an_entry_per_field_and_the_row_of_table_s1(tmp_path: Path, store: Path) -> None:
    name = "X_D08_T0001F003L01A01Z01C02"
    plate = make_plate(tmp_path / "U2OS_Technical", {name: IMAGE}, {name: LABEL_IMAGE}, role="test", binning=2)
    report = _report(_ingest(plate, store), store)
    (fov,) = report["fovs"]
    assert (fov["fov"], fov["well"], fov["site"], fov["channel"], fov["z"]) == (name, "D08", 3, 2, 1)
    assert (fov["height_px"], fov["width_px"], fov["dtype"]) == (20, 30, "uint16")
    assert (fov["nuclei"], fov["area_mean_px"]) == (2, 26)
    assert report["table_s1"] == {
        "Dataset Name": "U2OS_Technical",
        "Number FOVs": 1,
        "FOV Size - px": "20 x 30",
        "Objective": "20X",
        "Binning": "2 x 2",
        "XY Px Size - micron": 0.5,
        "Number of Nuclei": 2,
        "Area Mean - px": 26,
        "Area SD - px": 10,
        "Dataset Type": "Test",
        "GT Labelling": "Manual",
    }


def test_a_field_without_nuclei_among_others_is_accepted(tmp_path: Path, store: Path) -> None:
    images = {"a": IMAGE, "b": IMAGE}
    plate = make_plate(tmp_path / "p", images, {"a": LABEL_IMAGE, "b": np.zeros_like(LABEL_IMAGE)})
    result = _ingest(plate, store)
    assert result.counts["nuclei"] == 2
    assert _report(result, store)["fovs"][1]["area_mean_px"] is None


@pytest.mark.parametrize("extension", ["tif", "ome.tif", "png"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_plates_of_every_format_and_depth_are_ingested(
    tmp_path: Path, store: Path, extension: str, dtype: type
) -> None:
    name = f"a.{extension}"
    plate = make_plate(tmp_path / "p", {name: (IMAGE // 4).astype(dtype)}, {name: LABEL_IMAGE.astype(dtype)})
    assert _ingest(plate, store).counts["nuclei"] == 2


def test_labels_of_two_pieces_or_under_5_px_are_warned_of_by_file_and_number(
    plate: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    label_image = LABEL_IMAGE.copy()
    label_image[2:6, 3:4] = 0  # cuts label 1 in two
    label_image[0, 26:30] = 7
    tifffile.imwrite(plate / "labels/b.tif", label_image)
    with caplog.at_level(logging.INFO):
        result = _ingest(plate, store)
    assert result.counts["warnings"] == 2
    assert _report(result, store)["warnings"] == [
        {"file": "labels/b.tif", "label": 1, "problem": "2 pieces"},
        {"file": "labels/b.tif", "label": 7, "problem": "4 px"},
    ]
    assert "labels/b.tif: label 1 has 2 pieces" in caplog.text
    assert "labels/b.tif: label 7 has 4 px" in caplog.text


def test_a_label_of_exactly_5_px_in_one_piece_gives_no_warning(plate: Path, store: Path) -> None:
    label_image = np.zeros_like(LABEL_IMAGE)
    label_image[0, :5] = 1
    _relabel(plate, label_image)
    assert _ingest(plate, store).counts["warnings"] == 0


def test_of_many_warnings_twenty_are_logged_and_all_are_in_the_report(
    plate: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    label_image = np.zeros_like(LABEL_IMAGE)
    label_image[::4, ::4] = np.arange(1, 41).reshape(5, 8)
    _relabel(plate, label_image)
    with caplog.at_level(logging.INFO):
        result = _ingest(plate, store)
    assert len(_report(result, store)["warnings"]) == result.counts["warnings"] == 80
    assert caplog.text.count("has 1 px") == 20
    assert "and 60 more warnings in report.json" in caplog.text


def _remove_labels(plate: Path) -> None:
    (plate / "labels/b.tif").unlink()


def _remove_image(plate: Path) -> None:
    (plate / "images/b.tif").unlink()


def _crop_labels(plate: Path) -> None:
    tifffile.imwrite(plate / "labels/b.tif", LABEL_IMAGE[:-1])


def _colour_image(plate: Path) -> None:
    tifffile.imwrite(plate / "images/b.tif", np.stack([IMAGE] * 3, axis=-1), photometric="rgb")


def _float_labels(plate: Path) -> None:
    tifffile.imwrite(plate / "labels/b.tif", LABEL_IMAGE.astype(np.float32))


def _cut_image(plate: Path) -> None:
    path = plate / "images/b.tif"
    path.write_bytes(path.read_bytes()[:-300])


def _cut_png(plate: Path) -> None:
    (plate / "images/b.tif").unlink()
    (plate / "images/b.png").write_bytes(imagecodecs.png_encode(IMAGE)[:-20])


def _constant_image(plate: Path) -> None:
    tifffile.imwrite(plate / "images/b.tif", np.full_like(IMAGE, 7))


def _empty_plate(plate: Path) -> None:
    for path in plate.glob("*/*.tif"):
        path.unlink()


def _no_nucleus(plate: Path) -> None:
    _relabel(plate, np.zeros_like(LABEL_IMAGE))


def _unknown_key(plate: Path) -> None:
    (plate / "plate.json").write_text(json.dumps(INFO | {"colour": "blue"}))


BAD_PLATES: list[tuple[Callable[[Path], None], str]] = [
    (_remove_labels, "images/b.tif: has no label image; add one"),
    (_remove_image, "labels/b.tif: has no image; add its image"),
    (_crop_labels, "labels/b.tif: is 19 x 30 px and images/b.tif is 20 x 30 px; they must be equal"),
    (_colour_image, "images/b.tif: has the shape (20, 30, 3), as colour"),
    (_float_labels, "labels/b.tif: labels are float32; allowed are integers"),
    (_cut_image, "images/b.tif: is damaged or cut short"),
    (_cut_png, "images/b.png: is damaged or cut short"),
    (_constant_image, "images/b.tif: every pixel is 7; it shows nothing"),
    (_empty_plate, "images/: holds no image"),
    (_no_nucleus, "labels/: holds no nucleus in any of its 2 files"),
    (_unknown_key, "plate.json: colour: unknown key; allowed are name"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_PLATES, ids=[spoil.__name__[1:] for spoil, _ in BAD_PLATES])
def test_a_bad_plate_is_refused_in_one_line_that_names_the_file_and_nothing_is_stored(
    plate: Path, store: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(plate)
    with pytest.raises(InputError) as error:
        _ingest(plate, store)
    assert message in str(error.value)
    assert str(plate) in str(error.value)
    assert "\n" not in str(error.value)
    assert _stored_plates(store) == []


@pytest.mark.parametrize("name", ["", "labels", "labels/a.tif", "plate.json"])
def test_a_plate_that_may_not_be_read_is_refused(folder_of_a_user: Path, name: str) -> None:
    plate = _make(folder_of_a_user / "plate")
    (plate / name).chmod(0)
    with pytest.raises(InputError, match=rf"{folder_of_a_user / 'plate' / name}.*: .*Permission denied"):
        _ingest(plate, folder_of_a_user / "store")


def test_all_faulty_files_are_named_at_once(tmp_path: Path, store: Path) -> None:
    names = [f"f{number:02d}" for number in range(12)]
    flat = dict.fromkeys(names, np.full_like(IMAGE, 7))
    plate = make_plate(tmp_path / "p", flat, dict.fromkeys(names, LABEL_IMAGE))
    with pytest.raises(InputError) as error:
        _ingest(plate, store)
    assert all(f"images/{name}.tif: every pixel is 7" in str(error.value) for name in names[:10])
    assert str(error.value).endswith("; and 2 more problems.")


def test_an_image_and_its_labels_that_are_both_faulty_are_both_named(plate: Path, store: Path) -> None:
    _cut_image(plate)
    _float_labels(plate)
    with pytest.raises(InputError, match=r"images/b\.tif: is damaged .*; labels/b\.tif: labels are float32"):
        _ingest(plate, store)


def test_a_plate_mended_after_a_refusal_is_ingested(plate: Path, store: Path) -> None:
    _cut_image(plate)
    with pytest.raises(InputError):
        _ingest(plate, store)
    tifffile.imwrite(plate / "images/b.tif", IMAGE)
    assert _ingest(plate, store).counts["fovs"] == 2
    assert len(_stored_plates(store)) == 1


def test_a_plate_of_the_other_role_is_refused(plate: Path, store: Path) -> None:
    with pytest.raises(InputError, match=r"plate\.json: role is 'train', and the plate was given as a test plate"):
        _ingest(plate, store, role="test")
    assert _ingest(plate, store, role="train").counts["fovs"] == 2


def test_the_role_is_checked_on_a_plate_that_is_stored_already(plate: Path, store: Path) -> None:
    _ingest(plate, store)
    with pytest.raises(InputError, match="role is 'train'"):
        _ingest(plate, store, role="test")


def test_a_plate_copied_to_another_folder_is_the_same_plate(plate: Path, store: Path, tmp_path: Path) -> None:
    first = _ingest(plate, store)
    shutil.copytree(plate, tmp_path / "elsewhere")
    info = json.loads((plate / "plate.json").read_text())
    (tmp_path / "elsewhere/plate.json").write_text(json.dumps(dict(reversed(info.items())), indent=4))
    second = _ingest(tmp_path / "elsewhere", store)
    assert second.reused
    assert second.key == first.key


@pytest.mark.parametrize("change", ["plate.json", "images", "labels"])
def test_a_changed_file_gives_another_key(plate: Path, change: str) -> None:
    before = TASK.output_key(Params(folder=str(plate)))
    if change == "plate.json":
        (plate / "plate.json").write_text(json.dumps(INFO | {"name": "plate", "objective": "60X"}))
    else:
        tifffile.imwrite(plate / change / "a.tif", LABEL_IMAGE[::-1])
    assert TASK.output_key(Params(folder=str(plate))) != before


def test_the_digest_depends_on_names_and_contents_but_not_on_their_order() -> None:
    info = PlateInfo.model_validate(INFO)
    digest = plate_digest(info, {"images/a.tif": "1", "images/b.tif": "2"})
    assert plate_digest(info, {"images/b.tif": "2", "images/a.tif": "1"}) == digest
    assert plate_digest(info, {"images/a.tif": "2", "images/b.tif": "1"}) != digest


def test_a_file_that_changes_after_the_key_was_made_is_refused(plate: Path, store: Path) -> None:
    params = Params(folder=str(plate))
    key, output_dir = TASK.output_key(params), store / "output"
    output_dir.mkdir(parents=True)
    tifffile.imwrite(plate / "images/a.tif", IMAGE[::-1])
    with pytest.raises(InputError, match="changed while it was read"):
        run(params, Workspace(store, key, output_dir, store / "checkpoint"))


def test_progress_is_logged_for_a_large_plate(tmp_path: Path, store: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"f{number:03d}" for number in range(100)]
    plate = make_plate(tmp_path / "p", dict.fromkeys(names, IMAGE), dict.fromkeys(names, LABEL_IMAGE))
    with caplog.at_level(logging.INFO):
        _ingest(plate, store)
    assert [line for line in caplog.messages if line.startswith("checked")] == [
        "checked 50 of 100",
        "checked 100 of 100",
    ]


def test_the_command_stores_a_plate_and_reuses_it_the_second_time(plate: Path, store: Path) -> None:
    first = _command(plate, store, role="train")
    assert first.returncode == 0, first.stderr
    assert "ingest: done in" in first.stdout
    second = _command(plate, store, role="train")
    assert second.returncode == 0
    assert "ingest: reused plate@" in second.stdout


def test_the_command_exits_2_with_one_line_for_a_cut_file(plate: Path, store: Path) -> None:
    _cut_image(plate)
    done = _command(plate, store)
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert "images/b.tif: is damaged or cut short" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"colour": 1}, "colour: unknown param; allowed are folder, role"),
        ({"role": "validation"}, "role: Input should be 'train', 'test' or 'screen', got 'validation'"),
        ({"folder": "plates/p"}, "folder: String should match pattern '^/', got 'plates/p'"),
    ],
)
def test_the_command_exits_2_for_a_wrong_param(plate: Path, store: Path, params: dict[str, Any], message: str) -> None:
    done = _command(plate, store, **params)
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert message in done.stdout


def test_a_full_disk_exits_1_with_a_line_on_space_and_leaves_nothing_that_looks_complete(
    tmp_path: Path, small_disk: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 60_000, (800, 1000)).astype(np.uint16)
    label_image = np.zeros(noise.shape, np.uint16)
    label_image[10:20, 10:20] = 1
    plate = make_plate(tmp_path / "plate", {"a": noise}, {"a": label_image})

    done = _command(plate, small_disk)
    assert done.returncode == 1
    assert f"no space left in the store {small_disk}" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert _stored_plates(small_disk) == []

    resize(small_disk, megabytes=20)
    assert _command(plate, small_disk).returncode == 0
    (key,) = _stored_plates(small_disk)
    np.testing.assert_array_equal(read_label_image(small_disk / "ingest" / key / "labels/a.tif"), label_image)


@pytest.mark.skipif(not dsb2018.is_available(), reason=f"{dsb2018.SOURCE} is not there")
def test_the_real_images_are_ingested_with_the_counts_of_their_manifest(tmp_path: Path, store: Path) -> None:
    nuclei: Counter[str] = Counter()
    with (dsb2018.SOURCE / "manifest.csv").open() as file:
        for row in csv.DictReader(file):
            nuclei[f"{row['group']}-{row['split']}"] += int(row["nuclei"])
    plates = dsb2018.make_plates(tmp_path / "plates")
    counted = {plate.name: _ingest(plate, store).counts["nuclei"] for plate in plates}
    assert counted == nuclei
