import json
import subprocess
import sys
from typing import Any, get_args

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import ParamValidationError

from nucleus_dags.catalogue import ENCODERS
from nucleus_dags.form import AUGMENTATIONS, PRESETS, train_models_form
from nucleus_dags.summary import f1_table, in_short
from tasks.methods.fpn2_ws.train import Params as TrainFpnParams
from tasks.methods.mask_rcnn.train import Params as TrainMaskRcnnParams
from tasks.nuclei.augmentation import AugmentationName
from tests.repository import REPOSITORY

DAGS = REPOSITORY / "dags"
TRAININGS = {"train_fpn", "train_mask_rcnn", "train_jacobkie", "train_external"}


@pytest.fixture(scope="module")
def dag() -> Any:
    bag = DagBag(str(DAGS / "train_models.py"))
    assert bag.import_errors == {}
    return bag.dags["train_models"]


def test_the_steps_of_the_work_are_the_tasks(dag: Any) -> None:
    steps = {
        "open_run",
        "augment",
        *TRAININGS,
        "calibrate",
        "register_model",
        "segment",
        "score",
        "report",
        "close_run",
    }
    assert steps | {"ingest_train", "ingest_test"} <= set(dag.task_ids)


def is_launched(task: Any) -> bool:
    return task.task_type == "LocalProcessOperator"


def test_launched_tasks_are_tried_again_later_and_later(dag: Any) -> None:
    for task in filter(is_launched, dag.tasks):
        assert task.retries == (8 if task.task_id in TRAININGS else 2)
        assert task.retry_exponential_backoff == 2


def test_trainings_share_a_pool(dag: Any) -> None:
    assert {task.task_id for task in dag.tasks if task.pool == "gpu"} == TRAININGS


def test_tasks_that_need_much_memory_share_a_pool(dag: Any) -> None:
    large = {"ingest_train", "ingest_test", "augment", "calibrate", "register_model", "segment", "score", "report"}
    assert {task.task_id for task in dag.tasks if task.pool == "processing"} == large


def test_the_end_runs_after_a_failure_and_does_not_hide_it(dag: Any) -> None:
    assert {task.task_id for task in dag.teardowns} == {"summary", "close_run"}
    assert dag.get_task("summary").on_failure_fail_dagrun
    assert dag.get_task("report").downstream_task_ids == {"summary"}


def test_the_dag_file_is_read_fast_and_without_the_libraries_of_the_tasks() -> None:
    program = """
import airflow.sdk, json, sys, time
import airflow.providers.standard
started = time.process_time()
import train_models
print(json.dumps([time.process_time() - started, sorted(sys.modules)]))
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=DAGS, capture_output=True, text=True, check=True)
    seconds, modules = json.loads(ended.stdout.splitlines()[-1])
    assert seconds < 1
    assert not {"tasks", "numpy", "pandas", "tensorflow", "mlflow", "kubernetes"} & set(modules)


def test_the_programs_that_a_person_starts_do_not_load_airflow_themselves() -> None:
    program = "import sys, nucleus_dags.local.demo; sys.exit('airflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=DAGS).returncode == 0


WRONG_VALUES = [
    ("train_plates", "a-train"),
    ("train_plates", ["a", "a"]),
    ("test_plates", [3]),
    ("preset", "desktop"),
    ("networks", "three"),
    ("encoder", "resnet35"),
    ("initialisation", "cocoa"),
    ("methods", []),
    ("methods", ["u_net"]),
    ("methods", ["mask_rcnn", "mask_rcnn"]),
    ("initialisation", "train_fpn/../ingest"),
    ("rois", 99),
    ("rois", 1_000_001),
    ("rois", 100.5),
    ("zoom", 5),
    ("cycles", 0),
    ("cycles", 1001),
    ("augmentation", "full"),
    ("marker_threshold", 0.04),
    ("marker_threshold", "0.6"),
    ("foreground_threshold", 0),
    ("test_time_augmentation", "yes"),
    ("random_seed", -1),
    ("random_seed", None),
    ("experiment", ""),
]


@pytest.mark.parametrize(("field", "value"), WRONG_VALUES)
def test_a_wrong_value_is_refused(field: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        train_models_form()[field].resolve(value)


@pytest.mark.parametrize("field", train_models_form())
def test_every_field_has_a_valid_default_a_title_and_an_explanation(field: str) -> None:
    param = train_models_form()[field]
    param.resolve()
    assert param.schema["title"]
    assert param.description
    assert param.schema["section"]


def test_every_choice_that_is_shown_otherwise_is_a_choice() -> None:
    for param in train_models_form().values():
        enum = param.schema.get("enum") or param.schema.get("items", {}).get("enum", [])
        choices = {"null" if choice is None else choice for choice in enum}
        assert set(param.schema.get("values_display", {})) <= choices


def test_presets_and_augmentations_are_those_of_the_tasks() -> None:
    for params in (TrainFpnParams, TrainMaskRcnnParams):
        assert set(PRESETS) == set(get_args(params.model_fields["preset"].annotation))
    assert set(AUGMENTATIONS) == set(get_args(AugmentationName))


def test_the_form_tells_what_the_presets_are() -> None:
    description = train_models_form()["preset"].description or ""
    for preset, form in PRESETS.items():
        training = TrainFpnParams(rois="", target="both", preset=preset)
        wanted = f"{training.encoder}, {training.initialisation}"
        assert wanted in description.replace(" first weights", "")
        rois = form["augment"]
        assert f"{rois['rois']} ROIs, {rois['augmentation']}, {training.cycles} cycles" in description


def test_no_number_has_bounds_that_the_page_moves_it_to() -> None:
    for param in train_models_form().values():
        assert not {"minimum", "maximum"} & set(param.schema)


@pytest.mark.slow
def test_encoders_are_those_of_segmentation_models() -> None:
    program = """
import os
os.environ.update(SM_FRAMEWORK="tf.keras", TF_USE_LEGACY_KERAS="1")
import json, segmentation_models
from tests.repository import REPOSITORY
print(json.dumps(segmentation_models.get_available_backbone_names()))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout.splitlines()[-1]) == list(ENCODERS)


def test_the_table_has_a_row_for_each_cell_line() -> None:
    metrics = {
        "f1_at_0.7/U2OS": 0.9,
        "f1_at_0.9/U2OS": 0.25,
        "f1_at_0.7/all": 1.0,
        "f1_at_0.9/all": 0.5,
        "f1_at_0.5/all": 1,
    }
    assert f1_table({"fpn2_ws": metrics}) == [
        "| method  | cell line | F1 at 0.7 | F1 at 0.9 |",
        "|---------|-----------|-----------|-----------|",
        "| fpn2_ws | U2OS      | 0.900     | 0.250     |",
        "| fpn2_ws | all       | 1.000     | 0.500     |",
    ]


def test_the_first_line_names_the_methods_if_there_are_several() -> None:
    one, other = ({"f1_at_0.7/all": f1, "f1_at_0.9/all": f1 / 2} for f1 in (0.9, 0.8))
    assert in_short({"fpn2_ws": one}) == "F1 at 0.7: 0.900, F1 at 0.9: 0.450"
    assert in_short({"fpn2_ws": one, "mask_rcnn": other}) == (
        "fpn2_ws: F1 at 0.7: 0.900, F1 at 0.9: 0.450; mask_rcnn: F1 at 0.7: 0.800, F1 at 0.9: 0.400"
    )
