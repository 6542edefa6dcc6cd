"""Models in a store and in MLflow's registry, with no more of each than the page reads."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from nucleus_dags.local.environment import environment_of_mlflow
from nucleus_dags.local.home import REPOSITORY, Servers
from nucleus_dags.local.servers import _arguments
from nucleus_dags.manifest import manifest
from tests.dags.page.site import Site
from tests.dags.stored_plates import add_plate

MODEL = manifest()["registered_model"]
SETTINGS = {"marker_threshold": 0.6}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
"""One black pixel."""


@dataclass(frozen=True)
class Mlflow:
    """MLflow's server, and a client that writes into its database."""

    client: MlflowClient
    group: int
    """Of its processes."""

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let it answer nobody, as on a machine that is too busy."""
        os.killpg(self.group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.group, signal.SIGCONT)


@contextmanager
def mlflow_of(site: Site) -> Iterator[Mlflow]:
    """Start MLflow where the page looks for it, with its login."""
    address, folder = site.env["MLFLOW_TRACKING_URI"], site.home.folder
    servers = Servers(site.address, address)
    log = folder / "mlflow.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *_arguments("mlflow", site.home, servers)],
            env=environment_of_mlflow(site.home, servers),
            cwd=REPOSITORY,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 180
        while not _answers(f"{address}/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
        database = f"sqlite:///{site.home.database('mlflow')}"
        yield Mlflow(MlflowClient(database, database), process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def key_of(number: int) -> str:
    return f"{number:016x}"


def result(
    store: Path,
    path: str,
    params: Mapping[str, Any],
    outputs: Mapping[str, str] = {},
    **more: Any,
) -> Path:
    """Write a result.json; gives its folder. `outputs` are relative to it."""
    folder = store / path
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "task": folder.parent.name,
        "key": folder.name,
        "version": 1,
        "params": params,
        "metrics": {},
        "counts": {},
    }
    of_store = {name: f"{path}/{file}" for name, file in outputs.items()}
    (folder / "result.json").write_text(json.dumps({**content, "outputs": of_store, "values": {}, **more}))
    return folder


def table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def add_test_plates(store: Path, cell_lines: Mapping[str, str]) -> list[str]:
    """Add test plates, given as cell lines by name; gives their paths."""
    return [add_plate(store, name, "test", cell_line=line) for name, line in cell_lines.items()]


def add_model(store: Path, number: int, trained_on: Sequence[str] = (), begun_from: int | None = None) -> str:
    """Put what a training and `register_model` leave into the store; gives the key of the model."""
    key = key_of(number)
    network = f"train_fpn2_ws/{key}"
    rois = f"augment/{key}/rois.h5" if trained_on else None
    result(store, f"augment/{key}", {"plates": list(trained_on)})
    initialisation = f"train_fpn2_ws/{key_of(begun_from)}" if begun_from else "random"
    result(store, network, {"rois": rois, "initialisation": initialisation})
    result(store, f"register_model/{key}", {"method": "fpn2_ws", "networks": [network], "settings": SETTINGS})
    return key


def add_scores(
    store: Path,
    number: int,
    plates: Sequence[str],
    f1: tuple[float, float] = (0.9, 0.7),
    missed: float = 0.05,
    own: int = 0,
) -> str:
    """Put what `segment` and `score` leave into the store for a model on test plates; gives the path of the scores.

    `own` is how many labels of the first plate the model proposed itself.
    """
    key = key_of(number)
    model = {"method": "fpn2_ws", "networks": [f"train_fpn2_ws/{key}"], "settings": {**SETTINGS, "came_later": 1}}
    segmentations = []
    for place, plate in enumerate(plates):
        path, counts = f"segment/{key}{place}", {"own_proposals": 0 if place else own}
        result(store, path, {**model, "plate": plate, "fovs": None}, {"segmentation": "."}, counts=counts)
        segmentations.append(path)
    infos = [json.loads((store / plate / "plate.json").read_text()) for plate in plates]
    groups = [("cell_line", line) for line in sorted({info["cell_line"] for info in infos})]
    groups += [*(("plate", info["name"]) for info in infos), ("all", "all")]
    metrics: dict[str, float] = {}
    for kind, name in groups:
        if kind != "plate":
            metrics |= {f"f1_at_0.7/{name}": f1[0], f"f1_at_0.9/{name}": f1[1], f"fn_rate/{name}": missed}
    folder = result(store, f"score/{key}", {"segmentations": segmentations}, {"scores": "."}, metrics=metrics)
    thresholds = [round(0.05 * step, 2) for step in range(1, 20)]
    table(
        folder / "f1.csv",
        [
            {
                "group": kind,
                "name": name,
                "iou_threshold": t,
                "f1": f,
                "f1_low": f - 0.02,
                "f1_high": f + 0.02,
            }
            for kind, name in groups
            for t in thresholds
            for f in [f1[0] if t <= 0.7 else f1[1]]
        ],
    )
    rates = {"fn_rate": missed, "fp_rate": 0.01, "merge_rate": 0.02, "split_rate": 0.0}
    table(folder / "errors.csv", [{"group": k, "name": n, "fovs": 2, "true_nuclei": 1200, **rates} for k, n in groups])
    return f"score/{key}"


def add_judgement(
    store: Path, champion: int, challenger: int, outcome: str = "passed", remarks: Sequence[str] = ()
) -> str:
    """Put what `judge` leaves into the store; gives its key."""
    key = key_of(champion * 1000 + challenger)
    outputs = {"judgement": "judgement.json", "plates": "plates.csv", "gained": "gained.png", "lost": "lost.png"}
    params = {name: f"score/{key_of(number)}" for name, number in (("champion", champion), ("challenger", challenger))}
    folder = result(store, f"judge/{key}", params, outputs, counts={"gained": 31, "lost": 12})
    rule = {
        "rule": "no cell line loses",
        "cell_line": "U2OS",
        "champion": 0.8,
        "challenger": 0.9,
        "allowed": "a loss of 0.05",
    }
    rules = [
        {**rule, "metric": f"f1_at_{t}", "low": 0.05, "high": 0.15, "verdict": "holds", "more_nuclei": 0}
        for t in (0.7, 0.9)
    ]
    rules.append({**rules[0], "metric": "fn_rate", "verdict": "broken", "allowed": "a rise to 0.15"})
    (folder / "judgement.json").write_text(json.dumps({"outcome": outcome, "rules": rules, "remarks": remarks}))
    table(folder / "plates.csv", [{"plate": "t1", "cell_line": "U2OS", "true_nuclei": 1200, "gained": 31, "lost": 12}])
    for name in ("gained", "lost"):
        (folder / f"{name}.png").write_bytes(PNG)
    return key


def register(
    mlflow: MlflowClient, number: int, plates: Sequence[str] = (), aliases: Sequence[str] = (), **tags: str
) -> None:
    """Register the next version; `number` is that of the model in the store. Tags have _ for what names can't have."""
    if not mlflow.search_registered_models(f"name = '{MODEL}'"):
        mlflow.create_registered_model(MODEL)
    of_plates = {f"plate/{Path(plate).name.partition('@')[0]}": plate.rpartition("@")[2] for plate in plates}
    all_tags = {"key": key_of(number), "method": "fpn2_ws", **of_plates, **tags}
    version = mlflow.create_model_version(MODEL, f"/models/{number}", tags=all_tags, description="FPN2-WS.")
    for alias in aliases:
        mlflow.set_registered_model_alias(MODEL, alias, version.version)


def promoted(at: str, text: str) -> dict[str, str]:
    return {f"promotion/{at}": text}


def forget_all(mlflow: MlflowClient) -> None:
    for model in mlflow.search_registered_models():
        mlflow.delete_registered_model(model.name)
