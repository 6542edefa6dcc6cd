"""Kill tasks and servers, and let the power go, at random moments; count what that breaks.

    python -m tests.benchmarks.kills OUT_FOLDER --kills 200

One in ten kills a server of a real Airflow and MLflow while a plate is imported, three let the power go
(`tests/power.py`), and six kill the process of a task with SIGKILL. After each, the store is checked, the work is done
again, and must be the same to the bit (of HDF5, its datasets). Every kill is a line of kills.jsonl, with its seed;
asked for again, only those that are missing are done. At the end there is a table.
Pods are killed by `make test-cluster`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import pytest

from nucleus_dags.airflow_api import AirflowApi
from nucleus_dags.local import servers as local_servers
from nucleus_dags.local.environment import port_of
from nucleus_dags.local.home import Home
from nucleus_dags.local.processes import runs
from tasks.contract import execute, parse_params
from tasks.files import sha256_of_all
from tasks.store.check import check
from tasks.store.contents import look_into
from tests.plates import make_plate, two_squares
from tests.ports import free_port
from tests.power import Disk
from tests.repository import REPOSITORY

METHOD = REPOSITORY / "tests/foreign_method"
MODULES = {
    "synthesize": "tasks.steps.synthesize",
    "ingest": "tasks.steps.ingest",
    "augment": "tasks.steps.augment",
    "train_bright_spots": "laboratory_method.train",
    "segment": "tasks.steps.segment",
    "score": "tasks.steps.score",
}
BY_POWER = ("synthesize", "ingest", "segment", "score")
"""Tasks that write all their files in one process, which the recorder of a disk needs."""
KINDS = ("server", "power", "power", "power", "task", "task", "task", "task", "task", "task")
SERVERS = ("mlflow", "api-server", "dag-processor", "scheduler", "triggerer", "all of them")
MOST_WAITING_S = 600


class Chain:
    """The tasks of `MODULES`, one made from the other, once without a kill."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "reference"
        self.params: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        for name in MODULES:
            self.params[name] = self._params_of(name)
            started = time.monotonic()
            ended = self.start(name, self.store).wait()
            assert ended == 0, f"{name} ended with {ended}"
            result = json.loads((self.store / f"{name}.json").read_text())
            self.keys[name] = result["key"]
            again = result["seconds"] if result["reused"] else 0
            self.seconds[name] = time.monotonic() - started + again

    def _params_of(self, name: str) -> dict[str, Any]:
        made = {task: f"{task}/{key}" for task, key in self.keys.items()}
        if name == "synthesize":
            return {"name": "kills", "cell_line": "MCF10A", "fovs": 2, "height_px": 256, "width_px": 256}
        params: dict[str, Callable[[], dict[str, Any]]] = {
            "ingest": lambda: {"folder": str(self.store / made["synthesize"])},
            "augment": lambda: {"plates": [made["ingest"]], "rois": 16},
            "train_bright_spots": lambda: {"rois": f"{made['augment']}/rois.h5", "cycles": 3},
            "segment": lambda: {
                "method": "bright_spots",
                "networks": [made["train_bright_spots"]],
                "plate": made["ingest"],
            },
            "score": lambda: {"segmentations": [made["segment"]]},
        }
        return params[name]()

    def start(self, name: str, store: Path) -> subprocess.Popen[bytes]:
        """Start the process of a task, which leads a group of its own."""
        arguments = ["--params", json.dumps(self.params[name]), "--store", store, "--result", store / f"{name}.json"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        store.mkdir(parents=True, exist_ok=True)
        with (store.parent / "task.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", MODULES[name], *map(str, arguments)],
                cwd=REPOSITORY,
                env=env | {"PYTHONPATH": str(METHOD)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def store_without(self, name: str, store: Path) -> None:
        """Copy the store as it was before this task."""
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(self.store, store)
        shutil.rmtree(store / name / self.keys[name])

    def is_as_ever(self, name: str, store: Path) -> bool:
        """Whether a task's files are the same, but those that have times in them."""
        return _hashes(store / name / self.keys[name]) == _hashes(self.store / name / self.keys[name])


def _hashes(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    timed = (".json", ".html", ".pyc")
    return {str(path.relative_to(folder)): _hash(path) for path in files if path.suffix not in timed}


def _hash(path: Path) -> str:
    """Hash a file; of HDF5 the datasets, as their order in the file is that in which processes were ready."""
    if path.suffix != ".h5":
        return sha256_of_all(path)
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    contents = {name: array.tolist() if array.dtype.hasobject else array.tobytes() for name, array in found.items()}
    return hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()


def broken_in(store: Path) -> list[str]:
    """Name what the check of the store finds, but for work that isn't finished and what nothing refers to."""
    found = check(look_into(store), {}, 30)
    return [str(one) for one in found if one.kind != "orphaned" and not Path(one.path).name.startswith(".")]


def kill_a_task(chain: Chain, chance: random.Random, work: Path) -> dict[str, Any]:
    name, store = chance.choice(list(MODULES)), work / "store"
    chain.store_without(name, store)
    process = chain.start(name, store)
    time.sleep(chance.uniform(0, chain.seconds[name]))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    broken, redone = broken_in(store), not (store / name / chain.keys[name]).exists()
    ended = chain.start(name, store).wait()
    if ended != 0 or not chain.is_as_ever(name, store):
        broken.append(f"{name} done again ended with {ended}, or with other files")
    return {"what": name, "broken": broken + broken_in(store), "redone": int(redone)}


def let_the_power_go(chain: Chain, chance: random.Random, work: Path) -> dict[str, Any]:
    name = chance.choice(BY_POWER)
    chain.store_without(name, work / "store")
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(work / "store", patch)
        disk.copy_at_renames(work / "left")
        _execute(chain, name, work / "store")
        disk.close()
    store = chance.choice(sorted((work / "left").iterdir()))
    broken, redone = broken_in(store), not (store / name / chain.keys[name]).exists()
    _execute(chain, name, store)
    if not chain.is_as_ever(name, store):
        broken.append(f"{name} done again has other files")
    return {"what": name, "broken": broken + broken_in(store), "redone": int(redone)}


def _execute(chain: Chain, name: str, store: Path) -> None:
    task = import_module(MODULES[name]).TASK
    execute(task, parse_params(task.params_type, json.dumps(chain.params[name])), store)


class Laboratory:
    """A real Airflow and MLflow, started at the first kill."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.ports = (free_port(), free_port())

    def kill_a_server(self, chance: random.Random, number: int) -> dict[str, Any]:
        self._up()
        # One of an earlier try, which was broken off, may be there.
        name, plate = chance.choice(SERVERS), f"plate-{number}-{time.time():.0f}"
        self._bring(plate, chance)
        time.sleep(chance.uniform(0, 20))
        servers = self.home.read_servers()
        assert servers is not None
        for server, process in servers.processes.items():
            if name in (server, "all of them"):
                os.killpg(process.pid, signal.SIGKILL)
                while runs(process):
                    time.sleep(0.1)
        self._up()
        deadline = time.monotonic() + MOST_WAITING_S
        while not (handled := list(self.home.store.glob(f"arrivals/{plate}/*.json"))) and time.monotonic() < deadline:
            time.sleep(1)
        imported = list(self.home.store.glob(f"ingest/{plate}@*"))
        broken = broken_in(self.home.store)
        if len(imported) != 1 or not handled:
            broken.append(f"{plate} was imported {len(imported)} times, and recorded {len(handled)} times")
        return {"what": name, "broken": broken, "redone": 0}

    def _up(self) -> None:
        servers = local_servers.up(self.home, *self.ports)
        self.ports = (port_of(servers.airflow_url), port_of(servers.mlflow_url))
        AirflowApi(servers.airflow_url, self.home.login()).call("PATCH", "dags/ingest_plates", {"is_paused": False})

    def _bring(self, plate: str, chance: random.Random) -> None:
        image, label_image = two_squares()
        for pixel in range(20):  # Every plate has other images.
            image[pixel, :] += chance.randrange(30)
        folder = self.home.folder / "arriving" / plate
        make_plate(folder, {"a": image}, {"a": label_image}, role="train", annotation="synthetic")
        (folder / "DONE").touch()
        folder.rename(self.home.inbox / plate)

    def down(self) -> None:
        local_servers.down(self.home)


def done_before(record: Path) -> list[dict[str, Any]]:
    """Give what is recorded; a last line that a kill of this program cut is left out."""
    lines = record.read_text().splitlines(keepends=True) if record.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def kills(folder: Path, amount: int, seed: int, of_kind: dict[str, Callable[..., Any]]) -> Iterator[dict[str, Any]]:
    """Do the kills that aren't recorded yet, and record them; gives all."""
    record = folder / "kills.jsonl"
    before = done_before(record)
    record.write_text("".join(json.dumps(kill) + "\n" for kill in before))
    known = {kill["number"]: kill for kill in before}
    for number in range(amount):
        if number not in known:
            kind, started = KINDS[number % len(KINDS)], time.monotonic()
            outcome = of_kind[kind](random.Random(f"{seed}-{number}"), number)
            known[number] = {"number": number, "seed": seed, "kind": kind, **outcome}
            known[number]["seconds"] = round(time.monotonic() - started, 1)
            with record.open("a") as file:
                file.write(json.dumps(known[number]) + "\n")
            print(f"{number + 1} of {amount}: {kind} {outcome['what']}, {known[number]['seconds']} s", flush=True)
        yield known[number]


def table(done: list[dict[str, Any]]) -> str:
    """Give a Markdown table with a line for each kind."""
    lines = ["| what was killed | kills | results broken | results done again | seconds |", "|---|---|---|---|---|"]
    for kind in dict.fromkeys(KINDS):
        of_kind = [kill for kill in done if kill["kind"] == kind]
        broken = sum(len(kill["broken"]) for kill in of_kind)
        redone, seconds = (sum(kill[what] for kill in of_kind) for what in ("redone", "seconds"))
        lines.append(f"| {kind} | {len(of_kind)} | {broken} | {redone} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.kills", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(METHOD))
    chain, laboratory = Chain(folder), Laboratory(folder)

    def in_new_folder(kill: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def called(chance: random.Random, number: int) -> dict[str, Any]:
            work = folder / "work" / str(number)
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            outcome = kill(chain, chance, work)
            if not outcome["broken"]:
                shutil.rmtree(work)
            return outcome

        return called

    of_kind = {
        "server": laboratory.kill_a_server,
        "power": in_new_folder(let_the_power_go),
        "task": in_new_folder(kill_a_task),
    }
    try:
        done = list(kills(folder, args.kills, args.seed, of_kind))
    finally:
        laboratory.down()
    print(table(done))
    for kill in done:
        for sentence in kill["broken"]:
            print(f"kill {kill['number']}, {kill['kind']} {kill['what']}: {sentence}")
    return 1 if any(kill["broken"] for kill in done) else 0


if __name__ == "__main__":
    sys.exit(main())
