"""Segmented plates have the names of plate and model, in a folder beside the store."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from nucleus_dags.local.home import Home
from nucleus_dags.plates.named_results import NAMED_RESULTS, name_of_model, name_result
from nucleus_dags.plates.stored import StoredPlate, read_plate
from tasks.steps.find_model import READY
from tasks.store import contents
from tests.dags.stored_plates import add_plate

VERSION_3 = {"version": 3, "key": "0123456789abcdef"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store"


def plate_in(store: Path, digest: str = "0" * 12, day: int = 1) -> StoredPlate:
    return read_plate(store, add_plate(store, "plate-7", "screen", digest, day))


def assembled_in(store: Path, key: str) -> str:
    """A result, and a text that tells which it is."""
    path = f"assemble_plate/{key}"
    (store / path / "labels").mkdir(parents=True)
    (store / path / "labels" / "a.tif").write_text(key)
    return path


def read(link: Path) -> str:
    return (link / "labels" / "a.tif").read_text()


@pytest.mark.parametrize(
    ("made_by", "name"),
    [
        (VERSION_3, "v3"),
        ({"name": "base", "key": "0123456789abcdef"}, "base"),
        ({"name": "classical", "key": "0123456789abcdef"}, "classical"),
        ({"name": "external:stardist", "key": "0123456789abcdef"}, "external-stardist"),
    ],
)
def test_a_model_has_a_file_name_that_people_know_it_by(made_by: dict[str, object], name: str) -> None:
    assert name_of_model(made_by) == name


def test_home_and_check_know_the_folder_by_its_name(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.results == home.store.parent / NAMED_RESULTS
    assert contents.NAMED_RESULTS == NAMED_RESULTS


@pytest.mark.parametrize("name", ["external:../v3", "external:..", "../base", "external:a/b", "external:a:b", "."])
def test_a_name_that_leads_elsewhere_is_none_of_a_model(name: str) -> None:
    assert re.fullmatch(READY, name) is None


def test_the_name_of_plate_and_model_leads_to_the_result_also_when_the_data_folder_moves(store: Path) -> None:
    link = name_result(store, plate_in(store), VERSION_3, assembled_in(store, "first"))
    assert link == store.parent / "results/plate-7/v3"
    assert read(link) == "first"
    moved = shutil.move(store.parent, store.parent.with_name("moved"))
    assert read(Path(moved) / "results/plate-7/v3") == "first"


def test_models_of_a_plate_stand_side_by_side(store: Path) -> None:
    plate = plate_in(store)
    name_result(store, plate, VERSION_3, assembled_in(store, "by version 3"))
    name_result(store, plate, {"name": "external:stardist"}, assembled_in(store, "by stardist"))
    folder = store.parent / "results/plate-7"
    assert {link.name: read(link) for link in folder.iterdir()} == {
        "v3": "by version 3",
        "external-stardist": "by stardist",
    }


def test_a_newer_version_of_the_plate_takes_the_name_in_one_step(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_result(store, plate_in(store), VERSION_3, assembled_in(store, "first"))
    link, seen = store.parent / "results/plate-7/v3", []
    replace = Path.replace

    def watched(source: Path, target: Path) -> Path:
        seen.append(read(link))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", watched)
    name_result(store, plate_in(store, "1" * 12, day=2), VERSION_3, assembled_in(store, "second"))
    assert seen == ["first"]
    assert read(link) == "second"
    assert [path.name for path in link.parent.iterdir()] == ["v3"]


def test_an_older_version_of_the_plate_never_takes_the_name_of_the_newer_one(store: Path) -> None:
    older, newer = plate_in(store), plate_in(store, "1" * 12, day=2)
    name_result(store, newer, VERSION_3, assembled_in(store, "of the newer"))
    link = name_result(store, older, VERSION_3, assembled_in(store, "of the older"))
    assert link == store.parent / "results/plate-7@000000000000/v3"
    assert read(link) == "of the older"
    assert read(store.parent / "results/plate-7/v3") == "of the newer"


def test_results_may_lie_on_another_disk(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "far" / "away" / "results"
    other.mkdir(parents=True)
    store.mkdir(parents=True)
    (store.parent / "results").symlink_to(other)
    link = name_result(store, plate_in(store), VERSION_3, assembled_in(store, "first"))
    assert read(link) == read(other / "plate-7/v3") == "first"


def test_what_a_person_put_in_the_place_of_a_link_stays(store: Path) -> None:
    own = store.parent / "results/plate-7/v3"
    own.mkdir(parents=True)
    (own / "mine.csv").write_text("mine")
    with pytest.raises(OSError, match="v3"):
        name_result(store, plate_in(store), VERSION_3, assembled_in(store, "first"))
    assert os.listdir(own.parent) == ["v3"]  # noqa: PTH208 - names are all that is needed.
    assert (own / "mine.csv").read_text() == "mine"
