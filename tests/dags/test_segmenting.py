"""The tasks of a DAG that ask the store for segmentations, and make what it lacks, as they are started."""

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from nucleus_dags.segmenting import scoring_of, segment_what_is_left
from tasks.methods.fpn2_ws.method import Settings
from tasks.steps import segment
from tests.dags.task_instance import TaskInstance
from tests.stored_results import add_plate, store_result

RUN = "a" * 32


def model(marker_threshold: float) -> dict[str, Any]:
    settings = Settings(marker_threshold=marker_threshold).model_dump(mode="json")
    return {"method": "fpn2_ws", "networks": ["train_fpn2_ws/1"], "settings": settings}


CHAMPION, CHALLENGER = model(0.3), model(0.4) | {"mlflow_run_id": RUN}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUCLEUS_STORE", str(tmp_path))
    return tmp_path


def test_the_champion_is_taken_from_the_store_and_the_challenger_segments(store: Path) -> None:
    plates = [{"plate": add_plate(store, name, "U2OS", {"f": [1]})} for name in "ab"]
    for number, plate in enumerate(plates):
        params = segment.Params(**CHAMPION, **plate)
        path = f"segment/{segment.TASK.output_key(params, store)}"
        store_result(store, path, params.model_dump(mode="json"), {"segmentation": path})
        plates[number]["segmentation"] = path
    known = [{"plate": plate["plate"]} for plate in plates]
    with DAG(dag_id="train_models", schedule=None) as dag:
        segment_what_is_left([CHAMPION, CHALLENGER], known, RUN)

    asked = TaskInstance("find_stored")
    find_stored: Any = dag.get_task("find_stored")
    find_stored.settings = {"dag_run_id": asked.run_id}  # Airflow fills in its template.
    left = find_stored.execute({"ti": asked})
    assert [(pair["each"], pair["across"]) for pair in left] == [(1, 0), (1, 1), (0, 0)]
    of_score = {"found": asked.xcoms["found"], "segmented": [], "plates": known, "mlflow_run_id": "b" * 32}
    assert scoring_of(CHAMPION, of_score)["segmentations"] == [plate["segmentation"] for plate in plates]
    with pytest.raises(ValueError, match="segmented 0 of 2 plates"):
        scoring_of(CHALLENGER, of_score)
