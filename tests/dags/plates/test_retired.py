"""Plates that a person has retired, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.planning import retire_plate
from nucleus_dags.planning.compare_models import plan as plan_comparison
from nucleus_dags.planning.drift import comparisons
from nucleus_dags.plates.retired import last_change, retired_plates
from nucleus_dags.plates.stored import newest_plates
from tests.dags.stored_plates import add_plate

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A training plate, test plates of two cell lines, and a screening plate."""
    add_plate(tmp_path, "a", "train")
    add_plate(tmp_path, "t", "test")
    add_plate(tmp_path, "h", "test", cell_line="HeLa")
    add_plate(tmp_path, "s", "screen")
    return tmp_path


def change(store: Path, plate: str, what: str = "retire", run: str = "manual__1") -> str:
    form = {"plate": plate, "change": what, "reason": "Out of focus."}
    return "\n".join(retire_plate.change(store, form, "anna", NOON, run))


def names(store: Path, role: str) -> list[str]:
    return [plate.name for plate in newest_plates(store, role)]


def test_a_retired_plate_is_neither_trained_nor_judged_on_until_it_is_brought_back(store: Path) -> None:
    for number, plate in enumerate(("a", "t")):
        change(store, plate, run=f"manual__{number}")
    assert (names(store, "train"), names(store, "test")) == ([], ["h"])
    assert plan_comparison(store, [{"model": "m"}]) == [{"plate": "ingest/h@000000000000"}]  # type: ignore[typeddict-item]
    assert comparisons(store, ["ingest/s@000000000000"]) == []
    for number, plate in enumerate(("a", "t")):
        change(store, plate, "bring back", run=f"manual__9{number}")
    assert (names(store, "train"), names(store, "test")) == (["a"], ["h", "t"])


def test_all_versions_of_a_plate_are_meant_also_one_that_comes_later(store: Path) -> None:
    change(store, "a")
    add_plate(store, "a", "train", "1" * 12, day=9)
    assert names(store, "train") == []


def test_who_retired_a_plate_when_and_why_is_kept_with_every_change_and_its_files_stay(store: Path) -> None:
    before = {path: path.read_bytes() for path in store.rglob("*.json")}
    assert change(store, "a").startswith("a was retired by anna on 2026-11-27 12:00 UTC: Out of focus.")
    change(store, "a", "bring back", "manual__2")
    assert [path.name for path in sorted((store / "retired/a").iterdir())] == ["000001.json", "000002.json"]
    assert before.items() <= {path: path.read_bytes() for path in store.rglob("*.json")}.items()


@pytest.mark.parametrize(
    ("plate", "words"),
    [
        ("a", ["No model is trained on it from now on", "begins from the champion"]),
        ("t", ["changes what the gate judges on", "from now on h", "No test plate of U2OS is left"]),
    ],
)
def test_the_note_says_what_follows(store: Path, plate: str, words: list[str]) -> None:
    said = change(store, plate)
    assert [each for each in words if each not in said] == []
    assert "all results with it stay" in said


def test_the_note_says_that_the_last_test_plate_is_gone_and_what_a_plate_that_comes_back_changes(store: Path) -> None:
    change(store, "t")
    assert "The gate has no test plate left" in change(store, "h", run="manual__2")
    assert "from now on h. A challenger" in change(store, "h", "bring back", "manual__3")
    assert "trained on" not in (said := change(store, "t", "bring back", "manual__4"))
    assert "from now on h, t" in said


def test_a_task_that_is_tried_again_changes_nothing_twice(store: Path) -> None:
    assert change(store, "a") == change(store, "a")
    assert len(list((store / "retired/a").iterdir())) == 1


@pytest.mark.parametrize(
    ("plate", "what", "why"),
    [
        ("a", "bring back", "a isn't retired"),
        ("x", "retire", "there is no plate x in the store"),
        ("../ingest/a", "retire", "there is no plate"),
        ("s", "retire", "s is a screening plate"),
    ],
)
def test_what_changes_nothing_is_refused(store: Path, plate: str, what: str, why: str) -> None:
    with pytest.raises(FormError, match=why):
        change(store, plate, what)
    assert not (store / "retired").exists()


def test_a_plate_is_not_retired_twice(store: Path) -> None:
    change(store, "a")
    with pytest.raises(FormError, match=r"a was retired by anna on 2026-11-27 12:00 UTC: Out of focus\."):
        change(store, "a", run="manual__2")


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"is_retired": 1}'])
def test_while_a_change_cannot_be_read_nothing_is_trained_until_it_is_made_again(store: Path, content: Any) -> None:
    change(store, "a")
    (store / "retired/a/000001.json").write_text(content)
    with pytest.raises(FormError, match=r"retired/a/000001.json in the store is damaged"):
        names(store, "train")
    change(store, "a", run="manual__2")
    assert list(retired_plates(store)) == ["a"]
    found = last_change(store, "a")
    assert found is not None
    assert found.dag_run_id == "manual__2"
