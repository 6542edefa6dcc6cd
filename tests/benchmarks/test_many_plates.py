"""What the inbox, the DAG of arrivals and `ingest` take for each plate when there are many; plates are made tiny."""

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nucleus_dags.planning import ingest_plates
from nucleus_dags.plates import inbox
from tasks.nuclei.copies import BLOCKS, THUMBNAIL_PX
from tasks.nuclei.plates.info import PlateInfo
from tasks.store.imported_plates import problems_of_roles
from tasks.store.known_images import KNOWN_IMAGES
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


MOST_TIMES_A_LISTING = 15.0
"""A look at plates that are being copied, against listing their files with their sizes and times."""


def test_a_look_at_plates_that_are_being_copied_takes_hardly_longer_than_listing_their_files(
    benchmark: Any, tmp_path: Path
) -> None:
    in_inbox, files = tmp_path / "inbox", 3456
    for plate in ("one", "two"):
        (in_inbox / plate / "images").mkdir(parents=True)
        (in_inbox / plate / "plate.json").write_text(json.dumps({"name": plate, "role": "screen"}))
        for number in range(files):
            (in_inbox / plate / "images" / f"f{number}.tif").touch()

    def listed() -> float:
        started = time.perf_counter()
        assert sum(file.stat().st_size for folder in in_inbox.glob("*/images") for file in os.scandir(folder)) == 0
        return time.perf_counter() - started

    def looked() -> float:
        started = time.perf_counter()
        assert inbox.new_entries(in_inbox, tmp_path / "store", 3600) == []
        return time.perf_counter() - started

    bare = min(listed() for _ in range(5))
    look = min(benchmark.pedantic(looked, rounds=1), *(looked() for _ in range(4)))
    benchmark.extra_info["milliseconds a file"] = 1000 * look / (2 * files)
    benchmark.extra_info["times a listing"] = look / bare
    assert look <= MOST_TIMES_A_LISTING * bare


INFO: dict[str, Any] = {
    **{"cell_line": "U2OS", "objective": "20X", "binning": 1, "pixel_size_um": 0.5},
    **{"replicate": "biological", "annotation": "manual"},
}
FIELDS = 4


def fields(chance: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of report.json, with what tells copies of real size."""

    def text(size: int) -> str:
        return base64.b64encode(chance.bytes(size)).decode()

    return [
        {
            "image": f"images/{number}.tif",
            "pixels_sha256": chance.bytes(32).hex(),
            "fingerprint": {"values": [], "blocks": text(8 * BLOCKS), "thumbnail": text(THUMBNAIL_PX**2)},
            **dict.fromkeys(map(str, range(15)), 0.5),
        }
        for number in range(FIELDS)
    ]


def seconds_to_compare(store: Path, plates: int) -> dict[str, float]:
    """Import plates into a store, every tenth annotated; how long another one is compared with them, by role."""
    chance = np.random.default_rng(1)
    for number in range(plates):
        role = "test" if number % 10 == 0 else "screen"
        path = store / add_plate(store, f"plate{number}", role, fovs=fields(chance))
        (path / "plate.json").write_text(json.dumps(INFO | {"name": f"plate{number}", "role": role}))
    seconds = {}
    for role in ("screen", "train", "train, with the file of known images"):
        info = PlateInfo(**INFO, name="new", role=role.partition(",")[0])
        # Of the CPU: on a machine that has other work too, the time by the clock says little.
        started = time.process_time()
        assert problems_of_roles(info, fields(chance), store / "ingest") == []
        seconds[role] = time.process_time() - started
    assert (store / "ingest" / KNOWN_IMAGES).exists()
    return seconds


def test_a_plate_is_compared_with_a_thousand_others_in_about_the_time_of_fifty(benchmark: Any, tmp_path: Path) -> None:
    few = seconds_to_compare(tmp_path / "few", FEW)
    many = benchmark.pedantic(seconds_to_compare, (tmp_path / "many", MANY), rounds=1)
    benchmark.extra_info.update({role: f"{few[role]:.3f} s, {many[role]:.3f} s" for role in few})
    print({role: f"{few[role]:.3f} s, {many[role]:.3f} s" for role in few})
    # The images of 100 annotated plates are compared, and all reports' times are looked at.
    assert many["screen"] < few["screen"] + 0.1
    assert many["train, with the file of known images"] < few["train, with the file of known images"] + 0.5
