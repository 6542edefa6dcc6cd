"""What a task needs of a machine, and how Airflow runs it for that."""

import pytest

from nucleus_dags.launchers import launch
from nucleus_dags.launchers.kinds import KINDS, TRAIN, gpus_of_a_pod, resources_of
from nucleus_dags.manifest import manifest


@pytest.mark.parametrize("task", manifest()["tasks"])
def test_every_task_of_the_manifest_is_of_a_kind(task: str) -> None:
    assert resources_of(task)["kind"] in KINDS


def test_what_trains_any_method_needs_what_the_most_demanding_training_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in manifest()["methods"].values():
        assert resources_of(method["task"])["kind"] == "training"
    monkeypatch.setitem(resources_of("train_jacobkie"), "gpu", 2)
    assert resources_of(TRAIN) == resources_of("train_jacobkie")


def test_a_task_of_several_gpus_takes_as_many_slots_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(resources_of("train_jacobkie"), "gpu", 2)
    monkeypatch.setenv("NUCLEUS_GPUS", "4")
    assert launch(TRAIN).pool_slots == 2
    monkeypatch.setenv("NUCLEUS_GPUS", "0")
    assert (launch(TRAIN).pool_slots, gpus_of_a_pod(TRAIN)) == (1, 0)


def test_a_training_is_tried_again_more_often_than_other_tasks() -> None:
    assert (launch(TRAIN).retries, launch("score").retries) == (8, 2)
    assert (launch(TRAIN).pool, launch("score").pool, launch("open_run").pool) == ("gpu", "processing", "default_pool")
