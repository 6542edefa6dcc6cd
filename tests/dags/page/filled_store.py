"""A store with plates, a champion and what was measured of them, and MLflow beside, for the pages that show it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from nucleus_dags.airflow_api import request_json
from nucleus_dags.local import servers as local_servers
from nucleus_dags.local.environment import environment_of_mlflow
from nucleus_dags.local.home import Servers
from nucleus_dags.manifest import manifest
from tests.dags.page.site import MOST_WAIT_S, Site
from tests.dags.stored_plates import add_plate
from tests.repository import REPOSITORY
from tests.stored_results import count_own, store_result

MODEL = {"method": "fpn2_ws", "networks": ["train_fpn2_ws/0123456789abcdef"], "settings": {"marker_threshold": 0.5}}
CHAMPION = "a" * 16
"""Key of the champion under register_model/."""


def field_row(name: str, **more: Any) -> dict[str, Any]:
    """Give a row of report.json as `ingest` writes it, of a labelled field, but for fingerprints."""
    row = {"fov": name, "image": f"images/{name}.tif", "labels": f"labels/{name}.tif", "well": "B07", "site": 1}
    row |= {"height_px": 64, "width_px": 80, "dtype": "uint16", "focus": 0.02, "nuclei": 12, "area_mean_px": 310.0}
    return row | {"intensity_mean": 400.5, "intensity_p01": 90, "intensity_p10": 100, "intensity_p99": 2000} | more


def add_whole_plate(store: Path, name: str, role: str = "test", fields: int = 2, **more: Any) -> str:
    """Put a plate into a store as `add_plate`, with an image, all of plate.json and a row for each field."""
    rows = [field_row(f"{name}_B07_s{number}", site=number) for number in range(1, fields + 1)]
    report = {"fovs": rows, "counts": {"fovs": fields, "nuclei": 0 if role == "screen" else 12 * fields}}
    path = add_plate(store, name, role, **(report | more))
    info = json.loads((store / path / "plate.json").read_text())
    info |= {"objective": "20X", "binning": 2, "pixel_size_um": 0.65}
    if role != "screen":
        info |= {"replicate": "biological", "annotation": "manual"}
    (store / path / "plate.json").write_text(json.dumps(info))
    (store / path / "images").mkdir()
    levels = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint16)
    tifffile.imwrite(store / path / "images" / f"{name}_B07_s1.tif", levels)
    return path


def add_model(store: Path, key: str = CHAMPION, model: dict[str, Any] = MODEL) -> None:
    store_result(store, f"register_model/{key}", model)


def add_score(
    store: Path, key: str, f1_by_plate: dict[str, tuple[float, float]], model: dict[str, Any] = MODEL, own: int = 0
) -> None:
    """Leave what `segment` and `score` do, with F1 at 0.7 and 0.9 of plates by their paths.

    `own` is how many labels of the first plate the model proposed itself.
    """
    segmentations = [f"segment/{key}{number:x}" for number in range(len(f1_by_plate))]
    rows = ["group,name,iou_threshold,f1,f1_low,f1_high,tp,fp,fn"]
    for path, (plate, f1) in zip(segmentations, f1_by_plate.items(), strict=True):
        store_result(store, path, {**model, "plate": plate})
        count_own(store, path, own if path == segmentations[0] else 0)
        name = Path(plate).name.partition("@")[0]
        rows += [
            f"plate,{name},{at},{value},{value - 0.02:.3f},{value},1,1,1"
            for at, value in zip((0.7, 0.9), f1, strict=True)
        ]
    store_result(store, f"score/{key}", {"segmentations": segmentations}, {"scores": f"score/{key}"})
    (store / f"score/{key}/f1.csv").write_text("\n".join([*rows, "all,all,0.7,0.5,0.4,0.6,1,1,1", ""]))


def add_drift(store: Path, key: str, plate: str, warnings: list[str], segmentation: str | None = None) -> None:
    """Leave what `drift` does."""
    folder = f"drift/{key}"
    outputs = {name: f"{folder}/{file}" for name, file in (("page", "drift.html"), ("warnings", "warnings.txt"))}
    references = ["ingest/a@000000000000"]
    store_result(store, folder, {"plate": plate, "references": references, "segmentation": segmentation}, outputs)
    (store / folder / "warnings.txt").write_text("".join(f"{line}\n" for line in warnings))
    (store / folder / "drift.html").write_text(f"<title>Drift</title><p>{plate}</p>")


@contextmanager
def mlflow_beside(site: Site) -> Iterator[None]:
    """Run MLflow at the address that the site's environment names."""
    servers = Servers(site.address, site.env["MLFLOW_TRACKING_URI"])
    (site.home.folder / "mlflow").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", *local_servers._arguments("mlflow", site.home, servers)],
        env=environment_of_mlflow(site.home, servers),
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + MOST_WAIT_S
    try:
        while True:
            try:
                urllib.request.urlopen(f"{servers.mlflow_url}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.3)
        yield
    finally:
        process.terminate()
        process.wait(60)


def register_champion(site: Site, key: str, trained_on: dict[str, str]) -> None:
    """Register a version in MLflow, with the digests of the plates that it was trained on, and make it champion."""
    model = manifest()["registered_model"]
    _mlflow(site, "registered-models/create", {"name": model})
    experiment = _mlflow(site, "experiments/create", {"name": "plates"})["experiment_id"]
    run = _mlflow(site, "runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
    tags = {"key": key} | {f"plate/{name}": digest for name, digest in trained_on.items()}
    version = {"name": model, "source": f"runs:/{run}/model", "run_id": run}
    version |= {"tags": [{"key": name, "value": value} for name, value in tags.items()]}
    number = _mlflow(site, "model-versions/create", version)["model_version"]["version"]
    _mlflow(site, "registered-models/alias", {"name": model, "alias": "champion", "version": number})


def _mlflow(site: Site, path: str, body: dict[str, Any]) -> Any:
    login = base64.b64encode(":".join(site.login).encode()).decode()
    address = f"{site.env['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/{path}"
    return request_json("POST", address, body, {"Authorization": f"Basic {login}"})
