"""The tasks that a DAG can launch, with what each one needs. Nothing here imports a task."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

GPU_POOL, PROCESSING_POOL = "gpu", "processing"
TRAINING_PRIORITY, PROCESSING_PRIORITY = "nucleus-training", "nucleus-processing"


@dataclass(frozen=True)
class CatalogueEntry:
    """One task. CPU and memory are what a pod asks for; a local process takes what it finds."""

    module: str
    """Started as `python -m <module>`."""
    container_image: Literal["cpu", "gpu"] = "cpu"
    """Folder under images/."""
    cpu: int = 1
    """Cores."""
    memory_gib: float = 2
    gpu: int = 0
    """GPUs of one pod, where the cluster has any; a training shares its work among them."""
    priority: str = PROCESSING_PRIORITY
    """Priority class of k8s/base/priorities.yaml."""
    most_hours: float = 6
    """A pod that runs longer is ended. A training that needs longer goes on in the next try."""
    pool: str = "default_pool"
    """Airflow pool that bounds how many run at once."""
    retries: int = 2

    def command(self, params: dict[str, Any], store: Path, receipt: Path) -> list[str]:
        """Give the arguments after `python`, the same for a process and for a pod.

        The task writes its result to `receipt` too.
        """
        return ["-m", self.module, "--params", json.dumps(params), "--store", str(store), "--result", str(receipt)]


def _training(module: str) -> CatalogueEntry:
    # Every stop of the servers or loss of a pod costs a retry, and a training is long. It goes on at its last cycle.
    return CatalogueEntry(
        module,
        "gpu",
        cpu=4,
        memory_gib=16,
        gpu=1,
        priority=TRAINING_PRIORITY,
        most_hours=24,
        pool=GPU_POOL,
        retries=8,
    )


CATALOGUE = {
    "synthesize": CatalogueEntry("tasks.steps.synthesize", memory_gib=4),
    "open_run": CatalogueEntry("tasks.steps.open_run", memory_gib=1),
    "ingest": CatalogueEntry("tasks.steps.ingest", memory_gib=4, pool=PROCESSING_POOL),
    "drift": CatalogueEntry("tasks.steps.drift", memory_gib=2),
    "augment": CatalogueEntry("tasks.steps.augment", cpu=8, memory_gib=8, pool=PROCESSING_POOL),
    "train_fpn": _training("tasks.methods.fpn2_ws.train"),
    "train_mask_rcnn": _training("tasks.methods.mask_rcnn.train"),
    "train_jacobkie": _training("tasks.methods.jacobkie.train"),
    "train_external": _training("tasks.methods.external.train"),
    "calibrate": CatalogueEntry("tasks.steps.calibrate", cpu=4, memory_gib=8, pool=PROCESSING_POOL),
    "find_model": CatalogueEntry("tasks.steps.find_model", memory_gib=1),
    "list_models": CatalogueEntry("tasks.steps.list_models", memory_gib=1),
    "judge": CatalogueEntry("tasks.steps.judge", memory_gib=4, pool=PROCESSING_POOL),
    "promote_model": CatalogueEntry("tasks.steps.promote_model", memory_gib=1),
    "register_model": CatalogueEntry("tasks.steps.register_model", memory_gib=4, pool=PROCESSING_POOL),
    "segment": CatalogueEntry("tasks.steps.segment", cpu=4, memory_gib=8, pool=PROCESSING_POOL),
    "assemble_plate": CatalogueEntry("tasks.steps.assemble_plate", cpu=2, memory_gib=8, pool=PROCESSING_POOL),
    "score": CatalogueEntry("tasks.steps.score", cpu=2, memory_gib=8, pool=PROCESSING_POOL),
    "report": CatalogueEntry("tasks.steps.report", memory_gib=4, pool=PROCESSING_POOL),
    "forgetting": CatalogueEntry("tasks.steps.forgetting", memory_gib=4, pool=PROCESSING_POOL),
    "close_run": CatalogueEntry("tasks.steps.close_run", memory_gib=1),
}


def gpus_of_a_pod(entry: CatalogueEntry) -> int:
    """GPUs that a pod of this task gets: none in a cluster that has `NUCLEUS_GPUS` = 0."""
    in_cluster = int(os.environ.get("NUCLEUS_GPUS", "0"))
    if in_cluster and entry.gpu > in_cluster:
        raise ValueError(f"{entry.module} asks for {entry.gpu} GPUs, but NUCLEUS_GPUS says there are {in_cluster}.")
    return entry.gpu if in_cluster else 0


ENCODERS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "seresnet18",
    "seresnet34",
    "seresnet50",
    "seresnet101",
    "seresnet152",
    "seresnext50",
    "seresnext101",
    "senet154",
    "resnext50",
    "resnext101",
    "vgg16",
    "vgg19",
    "densenet121",
    "densenet169",
    "densenet201",
    "inceptionresnetv2",
    "inceptionv3",
    "mobilenet",
    "mobilenetv2",
    "efficientnetb0",
    "efficientnetb1",
    "efficientnetb2",
    "efficientnetb3",
    "efficientnetb4",
    "efficientnetb5",
    "efficientnetb6",
    "efficientnetb7",
)
"""Encoders of the package segmentation-models, in its own order."""
