"""Fine-tune the base model on small synthetic plates, or a person's own: `python -m nucleus_dags.local.demo`.

The demo starts the servers if they don't run, triggers `train_models` by the call that its page uses, shows the steps
of the work as they run and ends with the F1 scores of the base model and of what became of it. The servers stay up.
`--plates FOLDER` takes plates of one's own.
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
from nucleus_dags.errors import FormError
from nucleus_dags.in_store import in_store
from nucleus_dags.launchers.command_line import arguments_of
from nucleus_dags.launchers.kinds import TRAIN
from nucleus_dags.local import servers as local_servers
from nucleus_dags.local.home import REPOSITORY, Home, home_of_environment
from nucleus_dags.local.processes import ServersError
from nucleus_dags.plates.inbox import no_plates_in
from nucleus_dags.plates.plate_json import PlateFolder, read_plate_folder

DAG_ID = "train_models"
PLATE_FOLDERS = ("images", "labels")
SYNTHETIC_PLATES = (
    {"name": "demo-train", "role": "train", "fovs": 4, "random_seed": 1},
    {"name": "demo-test", "role": "test", "fovs": 2, "random_seed": 2},
)
SYNTHETIC_FIELDS = {"cell_line": "MCF10A", "height_px": 768, "width_px": 768}
SMALL_FORM = {"rois": 240, "cycles": 2, "experiment": "demo"}
"""A training that two cores finish in a few minutes; the preset, which begins from the base model, gives the others."""
SHOWN_STATES = {
    "running": "runs",
    "success": "done",
    "failed": "FAILED",
    "up_for_retry": "failed, will be tried again",
}
STEP_OPERATORS = ("LocalProcessOperator", "TaskPodOperator")
"""They run tasks of the manifest. What other operators run only prepares the steps."""
FAILURE_LINES = 15
TIME_OF_LINE = re.compile(r"^\d\d:\d\d:\d\d ")
# An option such as --epoch 40 isn't progress. Some tools print the number of the epoch alone, before its loss.
PROGRESS = re.compile(r"(?<![-\w])(?:cycle|epoch)\b\W{0,3}\d|^\S+: \d+, train_loss=", re.IGNORECASE)


class DemoError(RuntimeError):
    """The demo can't continue; the message says what to do."""


def synthesize_plates(home: Home) -> list[PlateFolder]:
    """Put small synthetic plates into the inbox; gives them."""
    plates = []
    store = home.folder / "demo"
    for settings in SYNTHETIC_PLATES:
        receipt = store / f"{settings['name']}.json"
        arguments = arguments_of("synthesize", settings | SYNTHETIC_FIELDS, store, receipt)
        ended = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
        if ended.returncode != 0:
            raise DemoError(f"The synthetic plate {settings['name']} could not be made:\n{ended.stdout}{ended.stderr}")
        plate = in_store(store, json.loads(receipt.read_text())["outputs"]["plate"])
        plates.append(copy_plate(plate, home.inbox / str(settings["name"])))
    return plates


def link_plates(folder: Path, home: Home) -> list[PlateFolder]:
    """Link all plates of a folder into the inbox and say what else is in it; gives them."""
    plates = sorted(path.parent for path in folder.glob("*/plate.json"))
    others = no_plates_in(folder, known={plate.name for plate in plates}) if folder.is_dir() else []
    if not plates:
        no_plate = f"{folder} has no plate: a folder with plate.json, images/ and labels/."
        raise DemoError("\n".join([no_plate, *others]))
    for sentence in others:
        print(f"Left out: {sentence}", flush=True)
    for plate in plates:
        link = home.inbox / plate.name
        if link.resolve() == plate.resolve():
            continue
        if link.is_symlink():
            link.unlink()
        if link.exists():
            raise DemoError(f"{link} is there already and is another plate; rename one of the two.")
        link.symlink_to(plate.resolve(), target_is_directory=True)
    return [read_plate_folder(plate) for plate in plates]


def copy_plate(source: Path, target: Path) -> PlateFolder:
    """Copy a plate, and nothing else of its folder; gives the copy."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in PLATE_FOLDERS:
        shutil.copytree(source / name, target / name)
    shutil.copy(source / "plate.json", target)
    return read_plate_folder(target)


def form_for(plates: list[PlateFolder]) -> dict[str, Any]:
    """Choose these plates, each for its role."""
    return {f"{role}_plates": [plate.name for plate in plates if plate.role == role] for role in ("train", "test")}


def is_step(instance: dict[str, Any]) -> bool:
    """Say whether a task instance runs a task of the manifest."""
    return instance["operator"] in STEP_OPERATORS


def is_training(instance: dict[str, Any]) -> bool:
    return is_step(instance) and instance["task_id"] == TRAIN


def is_shown(instance: dict[str, Any]) -> bool:
    """Say whether the state is one to show: steps show theirs, everything else only that it failed."""
    state = instance["state"]
    return state == "failed" or (state in SHOWN_STATES and is_step(instance))


def progress_in(lines: list[str]) -> list[str]:
    """Give the lines of a training's log with a counter of cycles or epochs, also those of a third-party tool."""
    untimed = (TIME_OF_LINE.sub("", line) for line in lines)
    return [line for line in untimed if PROGRESS.search(line)]


def failures_among(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the failed instances. The summary fails after any other, and has nothing to add to it."""
    failed = [instance for instance in instances if instance["state"] == "failed"]
    return [instance for instance in failed if instance["task_id"] != "summary"] or failed


def watch(api: AirflowApi, dag_run_id: str) -> bool:
    """Show the steps and the progress of trainings until the DAG run ends; gives True if it succeeded."""
    seen: dict[Any, Any] = {}
    shown_lines: dict[Any, int] = {}
    while True:
        dag_run_state = api.dag_run(DAG_ID, dag_run_id)["state"]
        for instance in api.task_instances(DAG_ID, dag_run_id):
            part, now = (instance["task_id"], instance["map_index"]), (instance["state"], instance["try_number"])
            has_changed = seen.get(part) != now
            seen[part] = now
            is_running = instance["state"] == "running"
            change = [_state_line(instance)] if has_changed and is_shown(instance) else []
            watched = is_training(instance) and (is_running or change)
            progress = _new_progress(api, instance, shown_lines) if watched else []
            for line in change + progress if is_running else progress + change:
                print(line, flush=True)
        if dag_run_state in ("success", "failed"):
            return bool(dag_run_state == "success")
        time.sleep(2)


def _state_line(instance: dict[str, Any]) -> str:
    state = instance["state"]
    seconds = f"{instance['duration']:5.0f} s" if state == "success" and instance["duration"] else ""
    return f"  {_name(instance):<28} {SHOWN_STATES[state]:<6} {seconds}".rstrip()


def _new_progress(api: AirflowApi, instance: dict[str, Any], shown_lines: dict[Any, int]) -> list[str]:
    """Give the lines of progress that were not shown yet, and count them as shown."""
    attempt = (instance["task_id"], instance["map_index"], instance["try_number"])
    lines = progress_in(api.log_lines(instance))
    new = lines[shown_lines.get(attempt, 0) :]
    shown_lines[attempt] = len(lines)
    return [f"    {_name(instance)}: {line}" for line in new]


def _show_failures(api: AirflowApi, dag_run_id: str) -> None:
    for instance in failures_among(api.task_instances(DAG_ID, dag_run_id)):
        print(f"\n{_name(instance)} failed; the end of its log:", file=sys.stderr)
        lines = [line for line in api.log_lines(instance) if not line.startswith("::")]
        print("\n".join(f"  {line}" for line in lines[-FAILURE_LINES:]), file=sys.stderr)


def _name(instance: dict[str, Any]) -> str:
    """Give the name of the task, with what it works on once Airflow knows it; before, Airflow gives the number."""
    part = instance["rendered_map_index"]
    return instance["task_id"] if part in (None, str(instance["map_index"])) else f"{instance['task_id']} [{part}]"


def run(home: Home, plates: Path | None, airflow_port: int, mlflow_port: int) -> bool:
    """Do the demo; gives True if its DAG run succeeded."""
    home.make_folders()
    if plates:
        form = form_for(link_plates(plates, home))
        print(
            "The form keeps its defaults, the preset laptop: fine-tuning takes about half an hour on two cores.",
            flush=True,
        )
    else:
        print("Making two small synthetic plates ...", flush=True)
        form = form_for(synthesize_plates(home)) | SMALL_FORM
    servers = local_servers.up(home, airflow_port, mlflow_port)
    api = AirflowApi(servers.airflow_url, home.login())
    api.call("PATCH", f"dags/{DAG_ID}", {"is_paused": False})
    dag_run_id = api.trigger(DAG_ID, form)
    print(f"\nThe DAG run: {servers.airflow_url}/dags/{DAG_ID}/runs/{dag_run_id}", flush=True)
    succeeded = watch(api, dag_run_id)
    if succeeded:
        print(f"\n{api.dag_run(DAG_ID, dag_run_id)['note']}")
    else:
        _show_failures(api, dag_run_id)
    print(f"\n{local_servers.where_to_go(home, servers)}\nAirflow and MLflow stay up; `make down` stops them.")
    return succeeded


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nucleus_dags.local.demo", description=__doc__)
    parser.add_argument("--plates", type=Path, help="folder of plates; without it, synthetic plates are made")
    parser.add_argument("--airflow-port", type=int, default=8080)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    args = parser.parse_args(argv)
    try:
        return 0 if run(home_of_environment(), args.plates, args.airflow_port, args.mlflow_port) else 1
    except (DemoError, FormError, ServersError, AirflowApiError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Servers and DAG run keep running; `make down` stops them.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
