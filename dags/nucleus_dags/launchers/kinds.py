"""What the kind of a task means to Airflow and Kubernetes. The manifest says of which kind a task is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nucleus_dags.manifest import Resources, manifest

GPU_POOL, PROCESSING_POOL = "gpu", "processing"
TRAIN = "train"
"""Launches the training of any method: each part names its own task."""


@dataclass(frozen=True)
class Kind:
    """How tasks of a kind are run."""

    pool: str
    """Airflow pool that bounds how many run at once."""
    priority: str
    """Priority class of k8s/base/priorities.yaml."""
    most_hours: float = 6
    """A pod that runs longer is ended. A training that needs longer resumes in the next try."""
    retries: int = 2


KINDS = {
    # Every stop of the servers or loss of a pod costs a retry, and a training is long. It resumes at its last cycle.
    "training": Kind(GPU_POOL, "nucleus-training", most_hours=24, retries=8),
    "processing": Kind(PROCESSING_POOL, "nucleus-processing"),
    "light": Kind("default_pool", "nucleus-processing"),
}


def resources_of(task: str) -> Resources:
    """Give what a task needs; for `TRAIN`, what the most demanding training does.

    `NUCLEUS_ON_GPU` names tasks, such as segment, that get a GPU too in a cluster that has any.
    """
    tasks = manifest()["tasks"]
    if task != TRAIN:
        needed = tasks[task]["resources"]
        on_gpu = task in os.environ.get("NUCLEUS_ON_GPU", "").split(",") and _gpus_in_cluster() > 0
        return {**needed, "container_image": "gpu", "gpu": max(1, needed["gpu"])} if on_gpu else needed
    trainings = (tasks[method["task"]]["resources"] for method in manifest()["methods"].values())
    return max(trainings, key=lambda resources: (resources["gpu"], resources["memory_gib"]))


def gpus_of_a_pod(task: str) -> int:
    """GPUs that a pod of this task gets: none in a cluster that has `NUCLEUS_GPUS` = 0."""
    wanted, in_cluster = resources_of(task)["gpu"], _gpus_in_cluster()
    if in_cluster and wanted > in_cluster:
        raise ValueError(f"{task} asks for {wanted} GPUs, but NUCLEUS_GPUS says there are {in_cluster}.")
    return wanted if in_cluster else 0


def gpu_resource() -> str:
    """Give the name under which the cluster's nodes offer GPUs, or parts of them; `NUCLEUS_GPU_RESOURCE`."""
    return os.environ.get("NUCLEUS_GPU_RESOURCE", "nvidia.com/gpu")


def pool_of(task: str) -> str:
    """Give the pool that bounds how many run at once: whatever gets a GPU is in that of the GPUs."""
    return GPU_POOL if gpus_of_a_pod(task) else KINDS[resources_of(task)["kind"]].pool


def _gpus_in_cluster() -> int:
    return int(os.environ.get("NUCLEUS_GPUS", "0"))
