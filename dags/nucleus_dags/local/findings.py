"""Try the paper's findings on synthetic and real images, and write the page of what was found.

    python -m nucleus_dags.local.findings FOLDER PAGE_FOLDER [--data FOLDER_OF_IMAGES] [--plan] [--hours 3]

It takes about ten CPU hours. Killed and called again, it does the rest, also on another machine: what an experiment
found is kept beside the page, and counts until something changes that would change its scores. Where the images of the
Data Science Bowl aren't at hand, only the synthetic plates are tried. Pretrained weights are those in the folder
NUCLEUS_WEIGHTS; without it the encoder that lies beside the folder of images, else they are downloaded.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowException

from nucleus_dags.errors import FormError
from nucleus_dags.local.demo import copy_plate
from nucleus_dags.local.home import REPOSITORY
from nucleus_dags.local.run_matrix import SECONDS_PER_HOUR, RunTask, processes_in, run_matrix
from nucleus_dags.planning.types import FoundExperiment
from nucleus_dags.plates.stored import newest_plates

SYNTHETIC, REAL = "findings", "findings-dsb2018"
FIELDS = {
    "MCF10A": {"height_px": 1080, "width_px": 1080},
    "U2OS": {"height_px": 960, "width_px": 960},
    "HCT116": {"height_px": 400, "width_px": 400},
    "Eosinophils": {"height_px": 592, "width_px": 592},
}
"""Of about 75 to 200 nuclei. Networks see nuclei of all cell lines in one size, so that these cost about the same."""
FOVS = 4
DATA = REPOSITORY.parent / "shared/data"
ENCODER = "weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_160_no_top.h5"
"""Beside the folder of the data. Of a MobileNetV2 from ImageNet whose last three blocks were tuned on photographs of
dogs."""
AS_KERAS_CALLS_IT = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
ROLES = ("train", "test")


def synthetic_plates() -> Iterator[dict[str, Any]]:
    """Give the params of `synthesize` for a training and a test plate of each cell line."""
    for number, (cell_line, fields) in enumerate(FIELDS.items()):
        for role in ROLES:
            name = f"{cell_line}-{role}"
            seed = 2 * number + ROLES.index(role)
            yield {"name": name, "cell_line": cell_line, "role": role, "fovs": FOVS, "random_seed": seed, **fields}


def import_synthetic_plates(folder: Path, run: RunTask) -> None:
    """Make the plates that the store lacks, and import them."""
    there = _names_in(folder / "store")
    for params in synthetic_plates():
        if params["name"] not in there:
            made = run("synthesize", params)
            plate = folder / "plates" / params["name"]
            copy_plate(folder / "store" / made["outputs"]["plate"], plate)
            run("ingest", {"folder": str(plate), "role": params["role"]})


def import_real_plates(folder: Path, data: Path, run: RunTask) -> None:
    """Make plates of the images of the Data Science Bowl, and import those that the store lacks."""
    command = [sys.executable, "-m", "tasks.recipes.real_plates", "dsb2018", str(folder / "real"), "--data", str(data)]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    there = _names_in(folder / "store")
    for plate in sorted((folder / "real").iterdir()):
        if plate.name not in there:
            run("ingest", {"folder": str(plate)})


def use_encoder(data: Path, folder: Path) -> None:
    """Let trainings find the encoder beside the data under the name that Keras looks for, unless they have weights."""
    encoder = data.parent / ENCODER
    if "NUCLEUS_WEIGHTS" in os.environ or not encoder.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(encoder, folder / AS_KERAS_CALLS_IT)
    os.environ["NUCLEUS_WEIGHTS"] = str(folder)


def _names_in(store: Path) -> set[str]:
    return {plate.name for role in ROLES for plate in newest_plates(store, role)}


def find(folder: Path, page_folder: Path, data: Path, plan_only: bool, most_hours: float) -> bool:
    """Do all of it, or what `most_hours` suffice for; gives True if nothing failed."""
    (folder / "store").mkdir(parents=True, exist_ok=True)
    use_encoder(data, folder / "weights")
    run = processes_in(folder)
    import_synthetic_plates(folder, run)
    matrices = [SYNTHETIC]
    if (data / "dsb2018").is_dir():
        import_real_plates(folder, data, run)
        matrices.append(REAL)
    else:
        print(f"{data} has no dsb2018/; only synthetic plates are tried.", flush=True)
    are_well, since = True, time.monotonic()
    for name in matrices:
        print(f"\n{name}", flush=True)
        form, kept = {"matrix": name, "scale": 1.0, "stop_after_plan": plan_only}, page_folder / "data" / name
        hours_left = most_hours - (time.monotonic() - since) / SECONDS_PER_HOUR
        done = run_matrix(form, folder / "store", run, partial(kept_experiments, kept, not plan_only), hours_left)
        if done.not_begun:
            print(f"{len(done.not_begun)} experiments are left for another time.", flush=True)
        are_well = are_well and not done.failed
        if not plan_only:
            # After each, so that what is known stands there though the rest may take hours, and what was forgotten
            # doesn't.
            found = [f"{name}={folder / 'store' / done.tabulated['outputs']['data']}"] if done.tabulated else []
            command = [sys.executable, "-m", "tasks.recipes.findings_page", str(page_folder), *found]
            subprocess.run(command, cwd=REPOSITORY, check=True)
    return are_well


def kept_experiments(kept: Path, forgets_others: bool, planned: Sequence[FoundExperiment]) -> set[str]:
    """Give the experiments of which `kept` has what they found, which may lose what it has of others."""
    keys, costs = {one["name"]: one["key"] for one in planned}, kept / "costs.csv"
    found = {row["experiment"]: row["key"] for row in _rows(costs)} if costs.exists() else {}
    still = {name for name, key in found.items() if keys.get(name) == key}
    if forgets_others and still != set(found):
        _forget_others(kept, still)
    return still


def _forget_others(kept: Path, experiments: Collection[str]) -> None:
    if not experiments:
        shutil.rmtree(kept)
    for path in kept.glob("*.csv"):
        _keep_rows(path, experiments)


def _keep_rows(path: Path, experiments: Collection[str]) -> None:
    rows = _rows(path)
    if rows and "experiment" in rows[0]:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in rows if row["experiment"] in experiments)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nucleus_dags.local.findings", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="for plates, store and MLflow's database")
    parser.add_argument("page_folder", type=Path, help="for README.md, figures/ and data/")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with dsb2018/; default: %(default)s")
    parser.add_argument("--plan", action="store_true", help="only say what there is to do and what it takes")
    parser.add_argument(
        "--hours", type=float, default=math.inf, help="begin no experiment after so many; default: as many as it takes"
    )
    args = parser.parse_args(argv)
    folder, page_folder, data = (path.resolve() for path in (args.folder, args.page_folder, args.data))
    try:
        return 0 if find(folder, page_folder, data, args.plan, args.hours) else 1
    except (FormError, AirflowException) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
