"""Which results of a task are in the store, asked for all at once."""

import json
import time
from pathlib import Path

import pytest

from tasks.contract import Result, execute
from tasks.methods.fpn2_ws.method import Settings
from tasks.nuclei.errors import InputError
from tasks.steps import segment
from tasks.steps.find_stored import TASK, Params
from tests.stored_results import add_plate, store_result

MODELS = [
    {
        "method": "fpn2_ws",
        "networks": ["train_fpn2_ws/1"],
        "settings": Settings(marker_threshold=threshold).model_dump(),
    }
    for threshold in (0.3, 0.4)
]


def ask(store: Path, plates: list[str], dag_run_id: str = "a", task: str = "segment") -> tuple[Result, dict]:
    across = [{"plate": plate} for plate in plates]
    result = execute(TASK, Params(dag_run_id=dag_run_id, task=task, each=MODELS, across=across), store)
    return result, json.loads((store / result.outputs["found"]).read_text())


def segmented(store: Path, model: dict, plate: str) -> str:
    params = segment.Params(**model, plate=plate)
    path = f"segment/{segment.TASK.output_key(params, store)}"
    store_result(store, path, params.model_dump(mode="json"), {"segmentation": path})
    return path


@pytest.fixture
def plates(tmp_path: Path) -> list[str]:
    return [add_plate(tmp_path, name, "U2OS", {"f": [1]}) for name in "ab"]


def test_what_is_in_the_store_is_found_and_the_rest_is_to_do(tmp_path: Path, plates: list[str]) -> None:
    path = segmented(tmp_path, MODELS[1], plates[0])
    result, found = ask(tmp_path, plates)
    assert [one["outputs"]["segmentation"] for one in found["stored"]] == [path]
    assert found["stored"][0]["params"]["plate"] == plates[0]
    assert found["to_do"] == [{"each": 0, "across": 0}, {"each": 0, "across": 1}, {"each": 1, "across": 1}]
    assert result.counts == {"stored": 1, "to_do": 3}


def test_nine_thousand_are_asked_for_in_one_task_within_a_minute(tmp_path: Path) -> None:
    plates = [add_plate(tmp_path, f"p{number}", "U2OS", {"f": [1]}) for number in range(90)]
    models = [MODELS[0] | {"networks": [f"train_fpn2_ws/{number}"]} for number in range(100)]
    for plate in plates:
        segmented(tmp_path, models[0], plate)
    params = Params(dag_run_id="a", task="segment", each=models, across=[{"plate": plate} for plate in plates])
    before = time.process_time()
    assert execute(TASK, params, tmp_path).counts == {"stored": 90, "to_do": 8910}
    assert time.process_time() - before < 60


def test_a_result_that_has_lost_files_is_to_do(tmp_path: Path, plates: list[str]) -> None:
    (tmp_path / segmented(tmp_path, MODELS[0], plates[0]) / "result.json").write_text("")
    assert ask(tmp_path, plates)[1]["stored"] == []


def test_an_unknown_task_is_refused(tmp_path: Path, plates: list[str]) -> None:
    with pytest.raises(InputError, match="there is no step 'segments'"):
        ask(tmp_path, plates, task="segments")
