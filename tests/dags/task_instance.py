"""What operators use of Airflow's task instance, where a test runs one without a server of Airflow."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TaskInstance:
    """Has attributes of Airflow's own alone, which `test_task_operator.py` checks."""

    task_id: str = "probe"
    map_index: int = -1
    dag_id: str = "train_models"
    run_id: str = "manual__2026-01-02T03:04:05+00:00"
    try_number: int = 1
    max_tries: int = 2
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value
