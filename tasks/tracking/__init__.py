"""What the tasks show in MLflow. The only package that imports mlflow.

One MLflow run holds one trained model, from the plates it saw to its F1 curve. The task `open_run`
makes the run; every later task finds its id in `MLFLOW_RUN_ID` and adds its part. Without that
variable a task works just the same and logs nothing.

Everything here can be repeated: a retried or reused task adds only what the run lacks.
"""

from tasks.tracking.client import DAG_RUN_TAG, TrackingError
from tasks.tracking.current_run import Point, Run
from tasks.tracking.models import (
    OWN_PROPOSALS,
    ModelVersion,
    PlateScores,
    aliases,
    all_models,
    drop_alias,
    find_model,
    is_registered,
    log_scores_of_plates,
    save_model,
    set_alias,
)
from tasks.tracking.runs import (
    PARENT_TAG,
    PLATES_EXPERIMENT,
    SegmentedPlate,
    close_run,
    downloaded,
    finished_children,
    open_run,
    segmented_plates,
)

__all__ = [
    "DAG_RUN_TAG",
    "OWN_PROPOSALS",
    "PARENT_TAG",
    "PLATES_EXPERIMENT",
    "ModelVersion",
    "PlateScores",
    "Point",
    "Run",
    "SegmentedPlate",
    "TrackingError",
    "aliases",
    "all_models",
    "close_run",
    "downloaded",
    "drop_alias",
    "find_model",
    "finished_children",
    "is_registered",
    "log_scores_of_plates",
    "open_run",
    "save_model",
    "segmented_plates",
    "set_alias",
]
