"""The plates of a store."""

from pathlib import Path

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.plates.stored import newest_plates, read_plate, superseding_plate
from tests.dags.stored_plates import add_plate


@pytest.fixture
def store(tmp_path: Path) -> Path:
    add_plate(tmp_path, "b", "train")
    add_plate(tmp_path, "a", "train")
    add_plate(tmp_path, "t", "test")
    return tmp_path


def test_the_plates_of_a_role_come_by_name(store: Path) -> None:
    assert [plate.path for plate in newest_plates(store, "train")] == ["ingest/a@000000000000", "ingest/b@000000000000"]


def test_of_a_plate_the_version_that_was_imported_last_counts(store: Path) -> None:
    corrected = add_plate(store, "a", "train", "1" * 12, day=2)
    assert [plate.path for plate in newest_plates(store, "train")] == [corrected, "ingest/b@000000000000"]
    assert superseding_plate(store, corrected) is None
    assert f"{corrected}, imported at 2026-11-02" in (superseding_plate(store, "ingest/a@000000000000") or "")


def test_a_plate_whose_role_was_corrected_counts_for_its_new_role_alone(store: Path) -> None:
    corrected = add_plate(store, "a", "test", "1" * 12, day=2)
    assert [plate.name for plate in newest_plates(store, "train")] == ["b"]
    assert [plate.path for plate in newest_plates(store, "test")] == [corrected, "ingest/t@000000000000"]


def test_a_plate_that_is_being_imported_does_not_count_yet(store: Path) -> None:
    (store / "ingest" / "b@000000000000").rename(store / "ingest" / ".b@000000000000.partial")
    assert [plate.name for plate in newest_plates(store, "train")] == ["a"]


def test_a_stored_plate_is_read_with_the_time_of_its_import(store: Path) -> None:
    plate = read_plate(store, "ingest/t@000000000000")
    assert (plate.name, plate.role, plate.cell_line) == ("t", "test", "U2OS")
    assert plate.frozen_at == "2026-11-01T00:00:00"


def test_a_plate_that_was_imported_before_doubts_were_looked_for_has_none(store: Path) -> None:
    plate = read_plate(store, "ingest/a@000000000000")
    assert (plate.doubts, plate.left_out, plate.trains) == ((), (), True)


def test_a_training_plate_with_doubts_trains_when_somebody_confirms_its_labels(store: Path) -> None:
    doubts = ["labels/a.tif: every label has two pieces"]
    doubtful = add_plate(store, "doubtful", "train", doubts=doubts)
    assert not read_plate(store, doubtful).trains
    confirmed = add_plate(store, "doubtful", "train", "1" * 12, day=2, doubts=[], confirmed_doubts=doubts)
    assert (read_plate(store, confirmed).doubts, read_plate(store, confirmed).trains) == ((), True)


def test_test_and_screening_plates_do_not_train(store: Path) -> None:
    assert not read_plate(store, "ingest/t@000000000000").trains


@pytest.mark.parametrize(
    "path", ["../ingest/a@000000000000", "ingest/../ingest/a@000000000000", "/ingest/a", "ingest/.."]
)
def test_a_path_that_is_not_one_of_an_imported_plate_is_not_read(store: Path, path: str) -> None:
    with pytest.raises(FormError, match=r"is no imported plate; its path in the store is ingest/<name>@<digest>"):
        read_plate(store, path)


def test_whether_a_plate_is_superseded_is_asked_of_plates_of_its_name_alone(tmp_path: Path) -> None:
    """Else a run with a thousand arrivals would read a million reports."""
    first, second = add_plate(tmp_path, "a", "train"), add_plate(tmp_path, "a", "train", "1" * 12, day=2)
    (tmp_path / add_plate(tmp_path, "other", "train") / "report.json").write_text("{")
    assert superseding_plate(tmp_path, second) is None
    assert second in str(superseding_plate(tmp_path, first))
