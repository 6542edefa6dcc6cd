"""Tests of tasks.steps.ingest: labels in doubt, copies, and screening plates with faulty fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tasks.contract import Result, execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
from tasks.steps import augment
from tests.fields import round_nuclei
from tests.plates import make_plate
from tests.steps.ingesting import ingest, report_of, stored_plates

FIELDS = {name: round_nuclei(seed, (128, 160), 12, 10) for seed, name in enumerate("abcd")}
IMAGES = {name: image for name, (image, _) in FIELDS.items()}
LABELS = {name: labels.astype(np.uint16) for name, (_, labels) in FIELDS.items()}


def make(folder: Path, labels: dict[str, Any] | None = None, **info: Any) -> Path:
    return make_plate(folder, IMAGES, LABELS | (labels or {}), **info)


def test_labels_that_are_a_mask_are_refused_with_what_to_do(tmp_path: Path, store: Path) -> None:
    masks = {name: np.where(labels, 255, 0).astype(np.uint8) for name, labels in LABELS.items()}
    with pytest.raises(InputError, match=r"labels/a.tif: looks like a mask .*; give every nucleus .*labels/d\.tif"):
        ingest(make(tmp_path / "p", masks), store)
    assert stored_plates(store) == []


def test_wrong_labels_and_faulty_images_are_named_at_once(tmp_path: Path, store: Path) -> None:
    plate = make(tmp_path / "p", {"b": LABELS["b"][:, ::-1]})
    tifffile.imwrite(plate / "images/c.tif", np.full_like(IMAGES["c"], 7))
    with pytest.raises(InputError, match=r"labels/b\.tif: does not fit .* flipped left .*; images/c\.tif: every pixel"):
        ingest(plate, store)


def test_doubts_are_in_the_report_and_in_the_result_and_are_logged(
    tmp_path: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = ingest(make(tmp_path / "p", {"b": np.zeros_like(LABELS["b"])}), store)
    (doubt,) = report_of(result, store)["doubts"]
    assert doubt.startswith("labels/b.tif: has no label, but some")
    assert result.values["doubts"] == [doubt]
    assert result.counts["doubts"] == 1
    assert doubt in caplog.text


NONE = {"b": np.zeros_like(LABELS["b"])}


def test_synthetic_labels_are_not_doubted_but_clear_mistakes_are_refused(tmp_path: Path, store: Path) -> None:
    result = ingest(make(tmp_path / "p", NONE, annotation="synthetic"), store)
    report = report_of(result, store)
    assert (report["doubts"], augment.problems_of_doubts(open_plate(store / result.outputs["plate"]))) == ([], [])
    (warning,) = report["warnings"]
    assert (warning["file"], warning["problem"][:12]) == ("labels/b.tif", "has no label")
    assert report["table_s1"]["GT Labelling"] == "Synthetic"
    with pytest.raises(InputError, match="flipped upside down"):
        ingest(make(tmp_path / "q", {"b": LABELS["b"][::-1]}, annotation="synthetic"), store)


def doubted_and_confirmed(tmp_path: Path, store: Path, labels: dict[str, Any]) -> Result:
    ingest(make(tmp_path / "doubted" / "p", labels), store)
    return ingest(make(tmp_path / "confirmed" / "p", labels, labels_confirmed=True), store)


def test_what_a_person_confirmed_is_no_doubt_but_clear_mistakes_stay(tmp_path: Path, store: Path) -> None:
    result = doubted_and_confirmed(tmp_path, store, NONE)
    report = report_of(result, store)
    assert (result.counts["doubts"], report["doubts"], len(report["confirmed_doubts"])) == (0, [], 1)
    with pytest.raises(InputError, match="flipped upside down"):
        ingest(make(tmp_path / "q", {"b": LABELS["b"][::-1]}, labels_confirmed=True), store)


def test_a_confirmation_stays_when_other_fields_are_corrected(tmp_path: Path, store: Path) -> None:
    doubted_and_confirmed(tmp_path, store, NONE)
    corrected = NONE | {"a": np.where(LABELS["a"] == 1, 0, LABELS["a"])}
    report = report_of(ingest(make(tmp_path / "again" / "p", corrected, labels_confirmed=True), store), store)
    assert (report["doubts"], len(report["confirmed_doubts"])) == ([], 1)


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (NONE | {"a": round_nuclei(99, (128, 160), 12, 10)[1].astype(np.uint16)}, "a"),
        (NONE | {"c": np.zeros_like(LABELS["c"])}, "c"),
        ({"b": np.where(LABELS["b"] < 4, LABELS["b"], 0)}, "b"),
        (NONE | {"d": np.where(np.arange(160) < 70, LABELS["d"], 0)}, "d"),
    ],
    ids=["of another field", "emptied", "another part", "half erased"],
)
def test_a_confirmation_does_not_hold_for_labels_that_come_later(
    tmp_path: Path, store: Path, labels: dict[str, Any], name: str
) -> None:
    doubted_and_confirmed(tmp_path, store, NONE)
    message = rf"labels_confirmed is true, but there are doubts that nobody has seen .*; labels/{name}\.tif: "
    with pytest.raises(InputError, match=message):
        ingest(make(tmp_path / "again" / "p", labels, labels_confirmed=True), store)
    again = doubted_and_confirmed(tmp_path / "looked at", store, labels)
    assert report_of(again, store)["doubts"] == []


def test_doubts_that_were_corrected_since_are_not_confirmed(tmp_path: Path, store: Path) -> None:
    ingest(make(tmp_path / "1" / "p", NONE), store)
    ingest(make(tmp_path / "2" / "p"), store)
    with pytest.raises(InputError, match="doubts that nobody has seen"):
        ingest(make(tmp_path / "3" / "p", NONE, labels_confirmed=True), store)


def without_d(folder: Path, **info: Any) -> Path:
    plate = make(folder, **info)
    for path in plate.glob("*/d.tif"):
        path.unlink()
    return plate


def test_a_version_with_fewer_fields_is_doubted_until_that_is_confirmed(tmp_path: Path, store: Path) -> None:
    ingest(make(tmp_path / "1" / "p"), store)
    with pytest.raises(InputError, match=r"nobody has seen .*; images/d\.tif: is a field of the known version"):
        ingest(without_d(tmp_path / "0" / "p", labels_confirmed=True), store)
    fewer = ingest(without_d(tmp_path / "2" / "p"), store)
    doubts = ["images/d.tif: is a field of the known version of the plate, and isn't in this one; add it, or confirm"]
    assert [doubt[: len(doubts[0])] for doubt in report_of(fewer, store)["doubts"]] == doubts
    assert fewer.counts["doubts"] == 1
    still = ingest(without_d(tmp_path / "3" / "p", objective="changed"), store)
    assert still.counts["doubts"] == 1
    confirmed = ingest(without_d(tmp_path / "4" / "p", labels_confirmed=True), store)
    assert confirmed.counts["doubts"] == 0
    assert ingest(without_d(tmp_path / "5" / "p", objective="other"), store).counts["doubts"] == 0


def test_a_screening_plate_with_fewer_fields_is_warned_of(tmp_path: Path, store: Path) -> None:
    ingest(make(tmp_path / "1" / "p", role="screen"), store)
    result = ingest(without_d(tmp_path / "2" / "p", role="screen"), store)
    (warning,) = report_of(result, store)["warnings"]
    assert warning["file"] == "images/d.tif"
    assert "isn't in this one; look whether it is lost" in warning["problem"]
    assert (result.counts["warnings"], result.counts["doubts"]) == (1, 0)


@pytest.mark.parametrize(
    "change",
    [lambda image: (image // 4).astype(np.uint8), lambda image: np.kron(image, np.ones((2, 2), np.uint16))],
    ids=["8 bit", "twice as large"],
)
def test_changed_images_of_a_known_plate_are_called_that(tmp_path: Path, store: Path, change: Any) -> None:
    ingest(make(tmp_path / "1" / "p"), store)
    images = {name: change(image) for name, image in IMAGES.items()}
    labels = {name: LABELS[name] if images[name].dtype == np.uint8 else change(LABELS[name]) for name in IMAGES}
    message = r"images/a\.tif: has other .* copy of images/a\.tif of the known plate p; .* put the original images back"
    with pytest.raises(InputError, match=message):
        ingest(make_plate(tmp_path / "2" / "p", images, labels), store)


def test_a_training_refuses_a_plate_in_doubt_until_it_is_confirmed(tmp_path: Path, store: Path) -> None:
    none = {"b": np.zeros_like(LABELS["b"])}
    doubted = ingest(make(tmp_path / "first" / "p", none), store).outputs["plate"]
    message = r"plate p has labels or images in doubt: labels/b\.tif: has no label.*\"labels_confirmed\": true"
    with pytest.raises(InputError, match=message):
        execute(augment.TASK, augment.Params(plates=[doubted], rois=10, roi_px=32), store)
    confirmed = ingest(make(tmp_path / "second" / "p", none, labels_confirmed=True), store).outputs["plate"]
    made = execute(augment.TASK, augment.Params(plates=[confirmed], rois=10, roi_px=32), store)
    assert made.counts["validation_rois"] == 2


def screen(folder: Path) -> Path:
    """A screening plate of four wells, of which two are faulty."""
    names = {name: f"p_B{number:02d}_T0001F001L01A01Z01C01" for number, name in enumerate("abcd", start=2)}
    plate = make_plate(folder, {names[name]: image for name, image in IMAGES.items()}, {}, role="screen")
    path = plate / "images" / f"{names['b']}.tif"
    path.write_bytes(path.read_bytes()[:900])
    tifffile.imwrite(plate / "images" / f"{names['c']}.tif", np.zeros_like(IMAGES["c"]))
    return plate


def test_a_screening_plate_is_imported_without_its_faulty_fields_which_are_named(
    tmp_path: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = ingest(screen(tmp_path / "p"), store)
    assert (result.counts["fovs"], result.counts["left_out"]) == (2, 2)
    stored = open_plate(store / result.outputs["plate"])
    assert [fov.well for fov in stored.fovs] == ["B02", "B05"]
    assert sorted(path.name for path in (stored.folder / "images").iterdir()) == [
        fov.image_path.name for fov in stored.fovs
    ]
    cut, constant = report_of(result, store)["left_out"]
    assert (cut["well"], cut["site"], constant["well"]) == ("B03", 1, "B04")
    assert "is damaged or cut short" in cut["problem"]
    assert (
        result.values["left_out"][1]
        == f"{constant['file']}: every pixel is 0; it shows nothing, remove it and its labels"
    )
    assert "2 of 4 fields are faulty and LEFT OUT" in caplog.text


def test_the_key_of_a_screening_plate_depends_on_its_faulty_files_too(tmp_path: Path, store: Path) -> None:
    plate = screen(tmp_path / "p")
    first = ingest(plate, store)
    assert ingest(plate, store).reused
    path = next((plate / "images").glob("*B03*"))
    tifffile.imwrite(path, IMAGES["b"])
    second = ingest(plate, store)
    assert second.key != first.key
    assert second.counts["left_out"] == 1


def test_a_screening_plate_without_a_good_field_is_refused(tmp_path: Path, store: Path) -> None:
    plate = make_plate(
        tmp_path / "p", {name: np.zeros_like(image) for name, image in IMAGES.items()}, {}, role="screen"
    )
    with pytest.raises(InputError, match=r"images/a\.tif: every pixel is 0.*images/d\.tif: every pixel is 0"):
        ingest(plate, store)


def test_a_field_that_may_not_be_read_is_left_out_of_a_screening_plate(folder_of_a_user: Path) -> None:
    plate = make_plate(folder_of_a_user / "p", IMAGES, {}, role="screen")
    (plate / "images/c.tif").chmod(0)
    result = ingest(plate, folder_of_a_user / "store")
    assert "images/c.tif: cannot be read: Permission denied" in result.values["left_out"][0]


@pytest.mark.parametrize("role", ["train", "screen"])
def test_a_field_with_other_pixels_under_its_name_than_before_is_warned_of(
    tmp_path: Path, store: Path, role: str
) -> None:
    labels = {} if role == "screen" else LABELS
    ingest(make_plate(tmp_path / "1/p", IMAGES, labels, role=role), store)
    as_16_bit = {name: image.astype(np.uint16) for name, image in IMAGES.items()}
    other = make_plate(tmp_path / "2/p", as_16_bit | {"c": IMAGES["c"] + 1}, labels, role=role)
    result = ingest(other, store)
    assert report_of(result, store)["warnings"] == [
        {
            "file": "images/c.tif",
            "problem": "has other pixels than in the known version of the plate; look whether it is the right image",
        }
    ]
    assert result.counts["warnings"] == 1


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS["d"] + 1, "the background seems to have a number"),
        (LABELS["d"] > 0, "looks like a mask"),
        (LABELS["d"] / np.float32(2), "float32"),
        (LABELS["d"][:-1], "is 127 x 160 px"),
    ],
    ids=["background", "mask", "fractions", "size"],
)
def test_wrong_labels_of_a_screening_plate_are_not_used_and_their_image_is(
    tmp_path: Path, store: Path, labels: Any, words: str
) -> None:
    result = ingest(make(tmp_path / "p", {"d": labels}, role="screen"), store)
    assert (result.counts["fovs"], result.counts["nuclei"]) == (4, sum(LABELS[name].max() for name in "abc"))
    stored = open_plate(store / result.outputs["plate"])
    assert [fov.labels_path is None for fov in stored.fovs] == [False, False, False, True]
    assert not (stored.folder / "labels/d.tif").exists()
    (warning,) = report_of(result, store)["warnings"]
    assert words in warning["problem"]
    assert warning["problem"].endswith("; the labels are not used, and the field is imported without them")


@pytest.mark.parametrize(
    ("copy", "kind"),
    [
        (lambda image: image.astype(np.uint16), "has the pixels of"),
        (lambda image: image[10:, 7:], "shares a part of its pixels with"),
        (np.flipud, "has other intensities, size or orientation, and else is a copy of"),
    ],
    ids=["16 bit", "crop", "flipped"],
)
@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("test", "train")])
def test_a_copy_of_an_image_of_the_other_role_is_refused(
    tmp_path: Path, store: Path, copy: Any, kind: str, first: str, second: str
) -> None:
    image, labels = (IMAGES["a"] // 4).astype(np.uint8), LABELS["a"]
    ingest(make_plate(tmp_path / "known", {"a": image}, {"a": labels}, role=first), store)
    copied = copy(labels) if copy(image).dtype != np.uint16 else labels
    plate = make_plate(tmp_path / "other", {"b": copy(image)}, {"b": copied}, role=second)
    with pytest.raises(InputError, match=rf"images/b\.tif: {kind} images/a\.tif of the {first} plate known"):
        ingest(plate, store)


def test_copies_within_a_plate_are_named(tmp_path: Path, store: Path, caplog: pytest.LogCaptureFixture) -> None:
    plate = make_plate(tmp_path / "p", IMAGES | {"c": IMAGES["a"]}, LABELS | {"c": LABELS["a"]})
    result = ingest(plate, store)
    assert result.values["copies"] == ["images/c.tif: has the pixels of images/a.tif"]
    assert "images/c.tif: has the pixels of images/a.tif" in caplog.text
