"""Train a model on small made plates, or on a person's own: `python -m nucleus_dags.local.demo [--plates FOLDER]`.

Starts the servers if they don't run, triggers `train_models` by the call that its page uses, shows
the tasks as they run and ends with the F1 scores. The servers stay up.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nucleus_dags.airflow_api import AirflowApi, AirflowApiError
from nucleus_dags.catalogue import CATALOGUE
from nucleus_dags.local import servers as local_servers
from nucleus_dags.local.home import REPOSITORY, Home, home_of_environment
from nucleus_dags.local.processes import ServersError

DAG_ID = "train_models"
PLATE_FOLDERS = ("images", "labels")
MADE_PLATES = (
    {"name": "demo-train", "role": "train", "fovs": 4, "random_seed": 1},
    {"name": "demo-test", "role": "test", "fovs": 2, "random_seed": 2},
)
MADE_PLATE = {"cell_line": "MCF10A", "height_px": 768, "width_px": 768}
MADE_PLATES_FORM = {"rois": 320, "cycles": 3, "zoom": 0.5, "experiment": "demo"}
"""Fits two cores and a few minutes; the rest is the preset's."""
SHOWN_STATES = {
    "running": "runs",
    "success": "done",
    "failed": "FAILED",
    "up_for_retry": "failed, will be tried again",
    "skipped": "skipped",
}
QUIET_TASKS = {"check_form", "train_plates", "test_plates", "targets", "thresholds"}
FAILURE_LINES = 15
PROGRESS = re.compile(r"cycle \d+")
TIME_OF_LINE = re.compile(r"^\d\d:\d\d:\d\d ")


class DemoError(RuntimeError):
    """The demo can't go on; the message says what to do."""


def make_plates(home: Home) -> list[dict[str, Any]]:
    """Put small plates of synthetic nuclei into the inbox; gives the content of each plate.json."""
    infos = []
    store = home.folder / "demo"
    for settings in MADE_PLATES:
        receipt = store / f"{settings['name']}.json"
        arguments = CATALOGUE["synthesize"].command(settings | MADE_PLATE, store, receipt)
        ended = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
        if ended.returncode != 0:
            raise DemoError(f"No plate could be made:\n{ended.stdout}{ended.stderr}")
        made = store / json.loads(receipt.read_text())["outputs"]["plate"]
        infos.append(copy_plate(made, home.inbox / str(settings["name"])))
    return infos


def link_plates(folder: Path, home: Home) -> list[dict[str, Any]]:
    """Link all plates of a folder into the inbox; gives the content of each plate.json."""
    plates = sorted(path.parent for path in folder.glob("*/plate.json"))
    if not plates:
        raise DemoError(f"{folder} has no plate: a folder with plate.json, images/ and labels/.")
    for plate in plates:
        link = home.inbox / plate.name
        if link.resolve() == plate.resolve():
            continue
        if link.is_symlink():
            link.unlink()
        if link.exists():
            raise DemoError(f"{link} is there already and is another plate; rename one of the two.")
        link.symlink_to(plate.resolve(), target_is_directory=True)
    return [_read_info(plate) for plate in plates]


def copy_plate(source: Path, target: Path) -> dict[str, Any]:
    """Copy a plate, and nothing else of its folder; gives the content of its plate.json."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in PLATE_FOLDERS:
        shutil.copytree(source / name, target / name)
    shutil.copy(source / "plate.json", target)
    return _read_info(target)


def form_for(infos: list[dict[str, Any]]) -> dict[str, Any]:
    """Choose these plates, each for its role."""
    return {f"{role}_plates": [info["name"] for info in infos if info["role"] == role] for role in ("train", "test")}


def watch(api: AirflowApi, dag_run_id: str) -> bool:
    """Show changes of the tasks' states and the trainings' progress until the DAG run ends; True if it ended well."""
    seen: dict[str, Any] = {}
    shown_lines: dict[str, int] = {}
    while True:
        ended = api.dag_run(DAG_ID, dag_run_id)["state"] in ("success", "failed")
        for instance in api.task_instances(DAG_ID, dag_run_id):
            if instance["task_id"] == "train_fpn" and instance["state"] in ("running", "success"):
                _show_progress(api, instance, shown_lines)
            change = (instance["state"], instance["try_number"])
            if seen.get(instance["id"]) != change:
                seen[instance["id"]] = change
                _show_state(instance)
        if ended:
            return api.dag_run(DAG_ID, dag_run_id)["state"] == "success"
        time.sleep(2)


def _show_state(instance: dict[str, Any]) -> None:
    state = instance["state"]
    if state not in SHOWN_STATES or (instance["task_id"] in QUIET_TASKS and state != "failed"):
        return
    seconds = f"{instance['duration']:5.0f} s" if state == "success" and instance["duration"] else ""
    print(f"  {_name(instance):<28} {SHOWN_STATES[state]:<6} {seconds}".rstrip(), flush=True)


def _show_progress(api: AirflowApi, instance: dict[str, Any], shown_lines: dict[str, int]) -> None:
    lines = [line for line in api.log_lines(instance) if PROGRESS.search(line)]
    for line in lines[shown_lines.get(instance["id"], 0) :]:
        print(f"    {TIME_OF_LINE.sub('', line)}", flush=True)
    shown_lines[instance["id"]] = len(lines)


def _show_failures(api: AirflowApi, dag_run_id: str) -> None:
    for instance in api.task_instances(DAG_ID, dag_run_id):
        if instance["state"] == "failed" and instance["task_id"] != "summary":
            print(f"\n{_name(instance)} failed; the end of its log:", file=sys.stderr)
            lines = [line for line in api.log_lines(instance) if not line.startswith("::")]
            print("\n".join(f"  {line}" for line in lines[-FAILURE_LINES:]), file=sys.stderr)


def _name(instance: dict[str, Any]) -> str:
    """Name of the task, with what it works on once Airflow knows it; before, Airflow gives the number."""
    part = instance["rendered_map_index"]
    return instance["task_id"] if part in (None, str(instance["map_index"])) else f"{instance['task_id']} [{part}]"


def _read_info(plate: Path) -> dict[str, Any]:
    try:
        info = json.loads((plate / "plate.json").read_text())
        return {"name": info["name"], "role": info["role"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DemoError(f"{plate}/plate.json must be a JSON object with name and role ({error}); mend it.") from error


def run(home: Home, plates: Path | None, airflow_port: int, mlflow_port: int) -> bool:
    """Do the demo; True if its DAG run ended well."""
    home.make_folders()
    if plates:
        form = form_for(link_plates(plates, home))
        print("Training with the form's defaults, the preset laptop: about an hour on two cores.", flush=True)
    else:
        print("Making two small plates of synthetic nuclei ...", flush=True)
        form = form_for(make_plates(home)) | MADE_PLATES_FORM
    servers = local_servers.up(home, airflow_port, mlflow_port)
    api = AirflowApi(servers.airflow_url)
    api.call("PATCH", f"dags/{DAG_ID}", {"is_paused": False})
    dag_run_id = api.trigger(DAG_ID, form)
    print(f"\nThe DAG run: {servers.airflow_url}/dags/{DAG_ID}/runs/{dag_run_id}", flush=True)
    succeeded = watch(api, dag_run_id)
    if succeeded:
        print(f"\n{api.dag_run(DAG_ID, dag_run_id)['note']}")
    else:
        _show_failures(api, dag_run_id)
    print(f"\nAirflow {servers.airflow_url}\nMLflow  {servers.mlflow_url}\nBoth stay up; `make down` stops them.")
    return succeeded


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nucleus_dags.local.demo", description=__doc__)
    parser.add_argument("--plates", type=Path, help="folder of plates; made plates if not given")
    parser.add_argument("--airflow-port", type=int, default=8080)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    args = parser.parse_args(argv)
    try:
        return 0 if run(home_of_environment(), args.plates, args.airflow_port, args.mlflow_port) else 1
    except (DemoError, ServersError, AirflowApiError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Servers and DAG run go on; `make down` stops them.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
