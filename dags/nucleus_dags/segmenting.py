"""Let models segment plates: one task asks the store for all pairs of both, and only what it lacks is made.

A task for each of them would be thousands that answer "reused".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleus_dags.launchers import launch
from nucleus_dags.planning import segmentations

if TYPE_CHECKING:
    from nucleus_dags.launchers.task_operator import Result

# As a template it is empty where nothing was asked; as an XCom, its lack would be a failure.
FOUND = "{{ ti.xcom_pull(task_ids='find_stored', key='found') or '' }}"


def segment_what_is_left(models: Any, plates: Any, mlflow_run_id: Any = None, **arguments: Any) -> Any:
    """Give the mapped operator of `segment`, for models and plates that are XComs; see `planning/segmentations.py`.

    `arguments` are further ones of `launch`.
    """
    known = {"models": models, "plates": plates, "mlflow_run_id": mlflow_run_id}
    find_stored = launch(
        "find_stored",
        settings={"dag_run_id": "{{ run_id }}"},
        known=known,
        prepare=segmentations.question_of,
        hand_on=_left_to_segment,
    )
    return launch(
        "segment",
        each=find_stored.output,
        known=known,
        prepare=segmentations.segmentation_of,
        mlflow_run_id=mlflow_run_id,
        map_index_template="{{ task.known['plates'][task.each['across']]['plate'].rsplit('/', 1)[-1] }}",
        **arguments,
    )


def all_segmentations(found: str, segmented: list[Result] | None) -> list[Result]:
    """Give the results that `find_stored` found in the store, and those that were made now."""
    return [*segmentations.read_found(_store(), found)["stored"], *(segmented or [])]


def scoring_of(model: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Give the params of `score` for a model, from what was in the store and what was segmented now."""
    segmented = all_segmentations(known["found"], known["segmented"])
    return segmentations.scoring_of(model, known | {"segmented": segmented})


def _left_to_segment(asked: Result, known: dict[str, Any]) -> list[dict[str, Any]]:
    to_do = segmentations.read_found(_store(), asked["outputs"]["found"])["to_do"]
    return segmentations.left_to_segment(to_do, known)


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])
