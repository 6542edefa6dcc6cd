"""What the inbox and the DAG of arrivals take for each plate when there are many; the plates are made tiny."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.planning import ingest_plates
from nucleus_dags.plates import inbox
from tests.dags.stored_plates import add_plate

FEW, MANY = 50, 1000
MOST_TIMES_SLOWER = 3.0
"""A plate among many, against one among few; what goes through all others for each takes 20 times as long."""


def laboratory(folder: Path, plates: int) -> tuple[Path, Path]:
    """An inbox of plates that arrived, all of them in the store, and half of them handled before."""
    in_inbox, store = folder / "inbox", folder / "store"
    for number in range(plates):
        name = f"plate{number}"
        path = add_plate(store, name, "screen", fovs=[])
        arrived = in_inbox / name
        (arrived / "images").mkdir(parents=True)
        (arrived / "plate.json").write_text(json.dumps({"name": name, "role": "screen"}))
        (arrived / "images" / "a.tif").write_bytes(b"")
        (arrived / "DONE").touch()
        if number % 2:
            inbox.record(inbox.Arrival(arrived, "earlier"), store, plate=path)
    return in_inbox, store


def seconds_a_plate(folder: Path, plates: int) -> dict[str, float]:
    in_inbox, store = laboratory(folder, plates)
    started = time.perf_counter()
    found = inbox.new_entries(in_inbox, store, 0)
    looked = time.perf_counter()
    arrivals, _ = ingest_plates.plates_to_import(store, ingest_plates.arrivals_in(found), [])
    results: list[dict[str, Any]] = [
        {"outputs": {"plate": f"ingest/{Path(arrival['folder']).name}@{'0' * 12}"}, "counts": {"fovs": 1, "nuclei": 0}}
        for arrival in arrivals
    ]
    assert len(arrivals) == plates
    sorted_from = time.perf_counter()
    ingest_plates.sort_out(store, arrivals, results, [])
    return {"look": (looked - started) / plates, "sort out": (time.perf_counter() - sorted_from) / plates}


def test_a_plate_takes_no_longer_among_a_thousand_others(benchmark: Any, tmp_path: Path) -> None:
    few = seconds_a_plate(tmp_path / "few", FEW)
    many = benchmark.pedantic(seconds_a_plate, (tmp_path / "many", MANY), rounds=1)
    benchmark.extra_info.update({f"{name}, times slower": many[name] / few[name] for name in few})
    assert {name: many[name] / few[name] for name in few} == {
        name: pytest.approx(1, abs=MOST_TIMES_SLOWER - 1) for name in few
    }
