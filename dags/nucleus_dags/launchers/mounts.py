"""What the pod of a task gets of the volume. Of the store, it changes nothing but what is its own.

A PodTemplate mounts store, inbox and weights. A task reads all of the store, since its inputs are results of others,
and writes its own results, `<store>/<task>/`, and its receipt; `find_stored` and `find_experiments` write to those of
the tasks too that they ask for. A pod sees the inbox if its params name something there, and the weights if it is a
training. A third-party tool in the pod of its task is kept to less, by that task.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleus_dags.files import make_folder
from nucleus_dags.launchers.kinds import resources_of
from nucleus_dags.manifest import manifest

if TYPE_CHECKING:
    from kubernetes.client import V1Container, V1VolumeMount

READ_WEIGHTS = ("find_experiments",)
"""Besides trainings: it says which experiments run without their pretrained weights."""


def make_folders(task: str, params: dict[str, Any], store: Path, receipt: Path) -> None:
    """Make what a pod writes to. The kubelet would make what is missing for root alone."""
    for folder in [*written_by(task, params, store), receipt.parent]:
        make_folder(folder)


def written_by(task: str, params: dict[str, Any], store: Path) -> list[Path]:
    """Give the folders of the store that a task writes to, but for that of its receipt."""
    return [store / name for name in [task, *_marked_by(task, params)]]


def _marked_by(task: str, params: dict[str, Any]) -> list[str]:
    """Give the tasks whose results a task marks as in use when it finds them, so that no clean-up takes them."""
    if task == "find_stored":
        return [params["task"]]
    return tasks_of_experiments() if task == "find_experiments" else []


def tasks_of_experiments() -> list[str]:
    """Give the tasks that an experiment is a chain of."""
    trainings = [method["task"] for method in manifest()["methods"].values() if method["task"]]
    return ["augment", *trainings, "calibrate", "segment", "score"]


def narrow(container: V1Container, task: str, params: dict[str, Any], store: Path, receipt: Path) -> None:
    """Take from a container's mounts, those of the PodTemplate, what the task doesn't need for these params."""
    environment = {variable.name: variable.value for variable in container.env or []}
    inbox = os.environ.get("NUCLEUS_INBOX")
    reads_inbox = inbox and any(
        Path(value).is_relative_to(inbox) for value in params.values() if isinstance(value, str)
    )
    hidden = {
        None if reads_inbox else inbox,
        None if _reads_weights(task) else environment.get("NUCLEUS_WEIGHTS"),
    }
    mounts = [mount for mount in container.volume_mounts if mount.mount_path not in hidden]
    whole = [mount for mount in mounts if mount.mount_path == str(store)]
    parts = [_part(mount, folder) for mount in whole for folder in [*written_by(task, params, store), receipt.parent]]
    container.volume_mounts = [_read_only(mount) if mount in whole else mount for mount in mounts] + parts


def _reads_weights(task: str) -> bool:
    return task in READ_WEIGHTS or resources_of(task)["kind"] == "training"


def _part(mount: V1VolumeMount, folder: Path) -> V1VolumeMount:
    """Mount a folder of what is mounted, to be written to unless that isn't."""
    part = copy.copy(mount)
    part.mount_path = str(folder)
    part.sub_path = str(Path(mount.sub_path or "", folder.relative_to(mount.mount_path)))
    return part


def _read_only(mount: V1VolumeMount) -> V1VolumeMount:
    mount = copy.copy(mount)
    mount.read_only = True
    return mount
