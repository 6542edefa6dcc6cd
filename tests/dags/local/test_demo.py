import re
import time
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.launchers.local_process import LocalProcessOperator
from nucleus_dags.launchers.pods import TaskPodOperator
from nucleus_dags.local import demo
from nucleus_dags.local.home import Home

PYTHON_TASK = "_PythonDecoratedOperator"


def add_plate(folder: Path, name: str, role: str = "train") -> Path:
    for part in ("images", "labels"):
        (folder / name / part).mkdir(parents=True)
        (folder / name / part / "1.tif").write_bytes(b"")
    (folder / name / "plate.json").write_text(f'{{"name": "{name}", "role": "{role}"}}')
    return folder / name


def test_a_persons_plates_are_linked_into_the_inbox_and_chosen_by_role(home: Home, tmp_path: Path) -> None:
    add_plate(tmp_path / "mine", "a")
    add_plate(tmp_path / "mine", "b", "test")
    for _ in range(2):
        infos = demo.link_plates(tmp_path / "mine", home)
    assert demo.form_for(infos) == {"train_plates": ["a"], "test_plates": ["b"]}
    assert (home.inbox / "a" / "images" / "1.tif").exists()


def test_a_plate_of_the_inbox_is_not_replaced_by_another_of_its_name(home: Home, tmp_path: Path) -> None:
    add_plate(tmp_path / "mine", "a")
    add_plate(home.inbox, "a")
    with pytest.raises(demo.DemoError, match="is there already and is another plate"):
        demo.link_plates(tmp_path / "mine", home)


def test_a_folder_without_plates_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(demo.DemoError, match="has no plate"):
        demo.link_plates(tmp_path, home)


def test_what_is_no_plate_in_a_folder_of_plates_is_told_of(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    misnamed = add_plate(tmp_path / "mine", "misnamed")
    (misnamed / "plate.json").rename(misnamed / "plate.json.txt")
    told = "`misnamed` isn't a plate: it has no plate.json; rename plate.json.txt to plate.json."
    with pytest.raises(demo.DemoError, match=re.escape(told)):
        demo.link_plates(tmp_path / "mine", home)
    add_plate(tmp_path / "mine", "a")
    assert [plate.name for plate in demo.link_plates(tmp_path / "mine", home)] == ["a"]
    assert capsys.readouterr().out == f"Left out: {told}\n"


def test_only_the_plate_is_copied_from_its_folder(home: Home, tmp_path: Path) -> None:
    plate = add_plate(tmp_path / "mine", "a")
    (plate / "result.json").touch()
    demo.copy_plate(plate, home.inbox / "a")
    assert {path.name for path in (home.inbox / "a").iterdir()} == {"plate.json", "images", "labels"}


def task_instance(task_id: str, state: str | None, operator: str = "LocalProcessOperator", **fields: Any) -> Any:
    """Give a task instance as Airflow's API describes it."""
    usual = {"map_index": -1, "try_number": 1, "rendered_map_index": None, "duration": None}
    return {"task_id": task_id, "state": state, "operator": operator} | usual | fields


def test_what_our_operators_run_is_a_step() -> None:
    assert {LocalProcessOperator.__name__, TaskPodOperator.__name__} == set(demo.STEP_OPERATORS)


@pytest.mark.parametrize("operator", demo.STEP_OPERATORS)
@pytest.mark.parametrize("state", ["running", "success", "failed", "up_for_retry"])
def test_a_step_is_shown_when_it_runs_and_when_it_has_ended(operator: str, state: str) -> None:
    assert demo.is_shown(task_instance("score", state, operator))


@pytest.mark.parametrize("state", [None, "scheduled", "queued", "skipped", "upstream_failed"])
def test_a_step_that_waits_or_was_left_out_is_not_shown(state: str | None) -> None:
    assert not demo.is_shown(task_instance("score", state))


@pytest.mark.parametrize(
    ("state", "is_shown"), [("running", False), ("success", False), ("up_for_retry", False), ("failed", True)]
)
def test_what_only_prepares_the_steps_is_shown_if_it_fails(state: str, is_shown: bool) -> None:
    assert demo.is_shown(task_instance("plan", state, PYTHON_TASK)) is is_shown


@pytest.mark.parametrize(
    ("task_id", "operator", "is_training"),
    [
        ("train", "LocalProcessOperator", True),
        ("train", "TaskPodOperator", True),
        ("train", PYTHON_TASK, False),
        ("ingest_train", "LocalProcessOperator", False),
        ("augment", "LocalProcessOperator", False),
    ],
)
def test_the_step_that_trains_is_a_training_whatever_the_method(task_id: str, operator: str, is_training: bool) -> None:
    assert demo.is_training(task_instance(task_id, "running", operator)) is is_training


@pytest.mark.parametrize(
    "line",
    [
        "cycle 2 of 3: loss 0.01234, validation loss 0.02345, 12 s, 26.7 ROIs/s",
        "cycle 2 of 3: 128 of 288 ROIs, loss 0.01234",
        "resuming after cycle 2 of an earlier attempt",
        "stardist: Epoch 3/40",
        "own-tool: [epoch: 3] loss 0.2",
        "own-tool: cycle 3",
        "cellpose: 5, train_loss=0.1234, test_loss=0.2345, LR=0.0050, time 3.21s",
    ],
)
def test_a_line_that_counts_cycles_or_epochs_is_progress(line: str) -> None:
    assert demo.progress_in([f"12:34:56 {line}", line]) == [line, line]


@pytest.mark.parametrize(
    "line",
    [
        "GPUs: 0; precision: float32",
        "train_fpn2_ws: done in 12.3 s: 0123abcd",
        "stardist: python run_stardist.py train --epochs 40",
        "own-tool: python train.py --epoch 40 --save last_epoch_3.pt",
        "stardist: 100/100 - 12s - loss: 0.9876",
        'Running command: ["python", "--params", "{\\"cycles\\": 3}"]',
    ],
)
def test_other_lines_of_a_training_are_no_progress(line: str) -> None:
    assert demo.progress_in([f"12:34:56 {line}"]) == []


def test_the_summary_is_among_the_failures_only_if_nothing_else_failed() -> None:
    summary = task_instance("summary", "failed", PYTHON_TASK)
    plan = task_instance("plan", "failed", PYTHON_TASK)
    done = task_instance("ingest", "success")
    assert demo.failures_among([done, plan, summary]) == [plan]
    assert demo.failures_among([done, summary]) == [summary]


class RecordedApi:
    """Gives the training and its log at one moment after the other; the DAG run ends with the last one."""

    def __init__(self, *moments: tuple[dict[str, Any], list[str]]) -> None:
        self.coming = list(moments)
        self.log: list[str] = []

    def dag_run(self, dag_id: str, dag_run_id: str) -> dict[str, Any]:
        return {"state": "running" if len(self.coming) > 1 else "success"}

    def task_instances(self, dag_id: str, dag_run_id: str) -> list[dict[str, Any]]:
        changes, self.log = self.coming.pop(0)
        training = task_instance("train", None, map_index=0, rendered_map_index="border") | changes
        return [task_instance("plan", "success", PYTHON_TASK), training]

    def log_lines(self, instance: dict[str, Any]) -> list[str]:
        return self.log


def test_every_change_and_every_line_of_progress_is_shown_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    first, second, third = (f"12:00:0{number} cycle {number} of 3: loss 0.5" for number in (1, 2, 3))
    resumed = "12:00:05 resuming after cycle 2"
    api: Any = RecordedApi(
        ({"state": "running"}, ["GPUs: 0", first]),
        ({"state": "running"}, ["GPUs: 0", first, second]),
        ({"state": "up_for_retry"}, ["GPUs: 0", first, second]),
        ({"state": "running", "try_number": 2}, [resumed]),
        ({"state": "success", "try_number": 2, "duration": 61.4}, [resumed, third]),
    )
    assert demo.watch(api, "run")
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "train [border] runs",
        "train [border]: cycle 1 of 3: loss 0.5",
        "train [border]: cycle 2 of 3: loss 0.5",
        "train [border] failed, will be tried again",
        "train [border] runs",
        "train [border]: resuming after cycle 2",
        "train [border]: cycle 3 of 3: loss 0.5",
        "train [border] done 61 s",
    ]
