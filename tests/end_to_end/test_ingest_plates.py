"""A real Airflow says what lies in the inbox and isn't a plate, and why a DAG run has failed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nucleus_dags.local.home import Home
from tests.end_to_end.laboratory import Laboratory, laboratory
from tests.synthetic_plates import make_synthetic_plate

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

NO_PLATES = {"2026-11", "scan.zip", r"caf\xe9", "misnamed"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("nucleus")
    box = Home(folder).inbox
    for name, place in (("deeper", "2026-11"), ("cafe", ""), ("misnamed", ""), ("faulty", "")):
        make_synthetic_plate(box / place / name, random_seed=1)
    (box / "cafe").rename(box / os.fsdecode(b"caf\xe9"))
    (box / "misnamed" / "plate.json").rename(box / "misnamed" / "plate.json.txt")
    next((box / "faulty" / "labels").iterdir()).write_bytes(b"no image")
    (box / "scan.zip").touch()
    (box / "desktop.ini").touch()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NUCLEUS_INBOX_QUIET_S", "1")
        with laboratory(folder) as started:
            yield started


def recorded(store: Path) -> int:
    return len(list(store.glob("arrivals/*/*.json")))


def test_a_failed_run_says_in_its_note_what_is_wrong_with_the_plate(lab: Laboratory) -> None:
    make_synthetic_plate(lab.home.inbox / "tiny-test", role="test", random_seed=2)
    failed = lab.api.trigger("train_models", {"train_plates": ["faulty"], "test_plates": ["tiny-test"]})
    assert lab.finish("train_models", failed) == "failed"
    assert lab.note("train_models", failed).startswith("ingest_train failed: ")
    assert "labels/" in lab.note("train_models", failed).splitlines()[0]
    unknown = lab.api.trigger("segment_plate", {"plate": "unknown"})
    assert lab.finish("segment_plate", unknown) == "failed"
    assert lab.note("segment_plate", unknown).startswith("There is no plate named unknown")


def test_what_is_no_plate_is_told_of_once_and_imported_when_it_is_put_right(lab: Laboratory) -> None:
    lab.unpause("ingest_plates")
    lab.wait_until(lambda: recorded(lab.home.store) >= len(NO_PLATES) + 1, "all of the inbox was told of")
    runs = [lab.finish_well("ingest_plates", run_id) for run_id in lab.run_ids("ingest_plates")]
    notes = "\n".join(lab.note("ingest_plates", run_id) or "" for run_id in runs)
    for name in NO_PLATES:
        assert notes.count(f"- `{name}` isn't a plate: it ") == 1, notes
    assert "desktop.ini" not in notes
    assert "has no plate.json; rename plate.json.txt to plate.json" in notes
    assert {path.name for path in lab.home.inbox.iterdir()} >= {"2026-11", "scan.zip", "misnamed"}

    (lab.home.inbox / "misnamed" / "plate.json.txt").rename(lab.home.inbox / "misnamed" / "plate.json")
    lab.wait_until(lambda: any(lab.home.store.glob("ingest/misnamed@*/report.json")), "the plate is imported")
    for run_id in lab.run_ids("ingest_plates"):
        lab.finish_well("ingest_plates", run_id)
