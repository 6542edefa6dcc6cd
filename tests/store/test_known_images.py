"""The file of all known images says what the folder of imported plates says, whatever became of either."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.nuclei.plates.info import PlateInfo
from tasks.store import known_images
from tasks.store.imported_plates import problems_of_roles
from tasks.store.known_images import KNOWN_IMAGES, images_of_role

INFO: dict[str, Any] = {
    **{"cell_line": "U2OS", "objective": "20X", "binning": 1, "pixel_size_um": 0.5},
    **{"replicate": "biological", "annotation": "manual"},
}


def row(image: str, pixels: str) -> dict[str, Any]:
    """A row of report.json with a key that tells no copies."""
    return {"image": f"images/{image}.tif", "pixels_sha256": pixels * 64, "nuclei": 7, "fingerprint": {"values": []}}


def add(frozen: Path, name: str, role: str, *rows: dict[str, Any]) -> Path:
    folder = frozen / f"{name}@{'0' * 12}"
    folder.mkdir(parents=True)
    (folder / "plate.json").write_text(json.dumps(INFO | {"name": name, "role": role}))
    (folder / "report.json").write_text(json.dumps({"fovs": rows}))
    return folder


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """Two training plates, one for tests and one for screening."""
    add(tmp_path, "one", "train", row("a", "1"), row("b", "2"))
    add(tmp_path, "two", "train", row("a", "3"))
    add(tmp_path, "tested", "test", row("a", "4"))
    add(tmp_path, "screened", "screen", row("a", "5"))
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the plates whose files are read."""
    names: list[str] = []
    rows_of = known_images._rows_of

    def noted(folder: Path, stamp: Any) -> Any:
        names.append(folder.name.partition("@")[0])
        return rows_of(folder, stamp)

    monkeypatch.setattr(known_images, "_rows_of", noted)
    return names


def trained_on(frozen: Path) -> list[tuple[str, str]]:
    return [(name, of_image["pixels_sha256"][0]) for name, of_image in images_of_role("train", frozen)]


ALL = [("one", "1"), ("one", "2"), ("two", "3")]


def test_each_plate_is_read_once(frozen: Path, read: list[str]) -> None:
    assert trained_on(frozen) == ALL
    assert sorted(read) == ["one", "screened", "tested", "two"]
    read.clear()
    assert trained_on(frozen) == ALL
    add(frozen, "three", "train", row("a", "6"))
    assert sorted(trained_on(frozen)) == sorted([*ALL, ("three", "6")])
    assert read == ["three"]


def test_it_is_made_again_after_it_was_removed_or_damaged(frozen: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert trained_on(frozen) == ALL
    (frozen / KNOWN_IMAGES).unlink()
    assert trained_on(frozen) == ALL
    (frozen / KNOWN_IMAGES).write_bytes(b"PAR1 and no more")
    assert trained_on(frozen) == ALL
    assert f"{KNOWN_IMAGES}: an earlier try left it damaged" in caplog.text


def test_what_is_gone_or_has_changed_is_not_taken_from_it(frozen: Path) -> None:
    assert trained_on(frozen) == ALL
    shutil.rmtree(frozen / f"one@{'0' * 12}")
    report = frozen / f"two@{'0' * 12}" / "report.json"
    report.write_text(json.dumps({"fovs": [row("a", "9")]}))
    os.utime(report, ns=(0, 0))
    assert trained_on(frozen) == [("two", "9")]


def test_the_first_plates_of_a_store_follow_one_another(tmp_path: Path) -> None:
    assert trained_on(tmp_path) == trained_on(tmp_path) == []
    first = add(tmp_path, "one", "train", row("a", "1"))
    assert trained_on(tmp_path) == [("one", "1")]
    shutil.rmtree(first)
    assert trained_on(tmp_path) == trained_on(tmp_path) == []
    add(tmp_path, "two", "train", row("a", "2"))
    assert trained_on(tmp_path) == [("two", "2")]


def test_all_that_tells_copies_is_kept(frozen: Path) -> None:
    fingerprint = {"values": ["8" * 64], "blocks": "AAAA", "thumbnail": "BBBB"}
    with_all = row("c", "7") | {"fingerprint": fingerprint}
    without = {name: value for name, value in row("d", "8").items() if name != "fingerprint"}
    add(frozen, "three", "test", with_all, without)
    kept = [of_image for name, of_image in images_of_role("test", frozen) if name == "three"]
    assert kept[0] == {name: with_all[name] for name in ("image", "pixels_sha256", "fingerprint")}
    assert kept[1]["fingerprint"] == {"values": [], "blocks": "", "thumbnail": ""}


@pytest.mark.parametrize("other", ["train", "test", "screen"])
def test_a_screening_plate_is_compared_with_the_versions_of_its_name_alone(
    frozen: Path, read: list[str], other: str
) -> None:
    info = PlateInfo(**INFO, name="new", role="screen")
    add(frozen, "more", other, row("a", "1"))
    assert problems_of_roles(info, [row("a", "1")], frozen) == []
    assert read == []


def test_an_image_of_a_plate_that_was_removed_may_come_in_the_other_role(frozen: Path) -> None:
    info = PlateInfo(**INFO, name="new", role="test")
    problem = "images/x.tif: has the pixels of images/a.tif of the train plate one; an image is for training or for"
    assert problems_of_roles(info, [row("x", "1")], frozen)[0].startswith(problem)
    shutil.rmtree(frozen / f"one@{'0' * 12}")
    assert problems_of_roles(info, [row("x", "1")], frozen) == []
