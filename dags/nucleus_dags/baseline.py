"""The task that hands on the baseline of reports, to be segmented and scored beside models.

Airflow maps over what tasks return: a list that isn't a task's can't be put to it.
"""

from airflow.sdk import task

from nucleus_dags.planning.baseline import baseline_model
from nucleus_dags.planning.types import Model


@task
def baseline() -> list[Model]:
    return [baseline_model()]
