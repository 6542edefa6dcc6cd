"""Versions of the registered model: found, made known, given aliases; and the folder that MLflow keeps of one."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import mlflow.pyfunc
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, LoggedModel, LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.types import Schema, TensorSpec

from tasks.nuclei.errors import InputError
from tasks.store.registered_model import KEY, REGISTERED_MODEL
from tasks.tracking.client import DAG_RUN_TAG, all_pages, failures_named, made_once

_MAX_VERSION_TAG_LENGTH = 5000
_MAX_DIGEST_LENGTH = 36
OWN_PROPOSALS = "own_proposals"
"""Tag of a version or run, and with a plate behind it of a model: true labels that the scored model itself, or one that
it began from, proposed, so that F1 is too good."""


class PlateScores(NamedTuple):
    """How well a model does on one version of a test plate."""

    plate: str
    digest: str
    f1: Mapping[float, float]
    """By IoU threshold."""
    own_proposals: int
    """Labels of the plate that the model proposed itself: with any, its F1 is too good."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of the model."""

    version: int
    mlflow_run_id: str
    tags: dict[str, str]

    @property
    def path(self) -> str:
        """Output of `register_model` in the store. InputError for a tag that names none: others may set it."""
        # A version that a person registered by hand has no key.
        key = self.tags.get("key", "none")
        if key != "none" and re.fullmatch(KEY, key) is None:
            raise InputError(
                f"version {self.version} of {REGISTERED_MODEL} has the tag key {key!r:.100} in MLflow; allowed are the "
                "16 hex digits that `register_model` wrote there. Find out who changed it, or delete the version."
            )
        return f"register_model/{key}"


def find_model(name: str) -> ModelVersion | None:
    """Give the version that is meant; None without such a one.

    `name` is an alias ("champion", "challenger"), a number, or "run/" and the id of the run that made the model.
    """
    with failures_named():
        try:
            found = _find_version(MlflowClient(), name)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
    assert found.run_id is not None
    return ModelVersion(int(found.version), found.run_id, dict(found.tags))


def _find_version(client: MlflowClient, name: str) -> Any:
    if name.startswith("run/"):
        run_id = name.removeprefix("run/")
        found = client.search_model_versions(f"name = '{REGISTERED_MODEL}' and run_id = '{run_id}'")
        if not found:
            raise MlflowException(f"no version of run {run_id}", RESOURCE_DOES_NOT_EXIST)
        return max(found, key=lambda version: int(version.version))
    if name.isdecimal():
        return client.get_model_version(REGISTERED_MODEL, name)
    return client.get_model_version_by_alias(REGISTERED_MODEL, name)


def all_models() -> list[ModelVersion]:
    """Give all registered versions, the oldest first."""
    with failures_named():
        search = partial(MlflowClient().search_model_versions, f"name = '{REGISTERED_MODEL}'")
        versions = [ModelVersion(int(v.version), v.run_id or "", dict(v.tags)) for v in all_pages(search)]
    return sorted(versions, key=lambda version: version.version)


def is_registered(key: str) -> bool:
    """Whether some version is of this output of `register_model`; without an MLflow run nobody asks, and it is none."""
    if "MLFLOW_RUN_ID" not in os.environ:
        return False
    return any(version.tags.get("key") == key for version in all_models())


def aliases() -> dict[str, int]:
    """Give the version that each alias means."""
    with failures_named():
        found = MlflowClient().search_registered_models(f"name = '{REGISTERED_MODEL}'")
    return {alias: int(version) for model in found for alias, version in model.aliases.items()}


def set_alias(alias: str, version: int, tags: Mapping[str, str]) -> None:
    """Let an alias mean this version from now on, and write on the version why."""
    with failures_named():
        client = MlflowClient()
        _tag(client, version, tags)
        client.set_registered_model_alias(REGISTERED_MODEL, alias, str(version))


def drop_alias(alias: str, version: int, tags: Mapping[str, str]) -> None:
    """Let an alias mean no version any more if it means this one, and write on the version why."""
    with failures_named():
        client = MlflowClient()
        _tag(client, version, tags)
        if aliases().get(alias) == version:
            client.delete_registered_model_alias(REGISTERED_MODEL, alias)


def _tag(client: MlflowClient, version: int | str, tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        client.set_model_version_tag(REGISTERED_MODEL, str(version), name, value[:_MAX_VERSION_TAG_LENGTH])


def register(run_id: str, folder: Path, key: str, tags: Mapping[str, str], description: str) -> None:
    """Register a folder that `save_model` wrote as a version of a run's model, once per run and key."""
    with failures_named():
        client = MlflowClient()
        if not _versions(client, run_id, key):
            _register(client, run_id, folder, {"key": key, **tags}, description)
        for twin in _versions(client, run_id, key)[1:]:
            if int(twin.version) not in aliases().values():
                client.delete_model_version(REGISTERED_MODEL, twin.version)


def _versions(client: MlflowClient, run_id: str, key: str) -> list[Any]:
    """Give the versions of a run and key: the one in use first, then those that were made by mistake."""
    versions = [version for version in _versions_of_run(client, run_id) if version.tags.get("key") == key]
    in_force = aliases().values() if len(versions) > 1 else ()
    return sorted(versions, key=lambda version: (int(version.version) not in in_force, int(version.version)))


def _versions_of_run(client: MlflowClient, run_id: str) -> list[Any]:
    return list(client.search_model_versions(f"name = '{REGISTERED_MODEL}' and run_id = '{run_id}'"))


def _register(client: MlflowClient, run_id: str, folder: Path, tags: Mapping[str, str], description: str) -> None:
    made_once(
        lambda: list(client.search_registered_models(f"name = '{REGISTERED_MODEL}'")),
        lambda: client.create_registered_model(REGISTERED_MODEL),
    )
    run = client.get_run(run_id)
    all_tags = {DAG_RUN_TAG: run.data.tags.get(DAG_RUN_TAG, ""), **tags}
    model_id = _logged_model(client, run, folder, tags["key"])
    made_once(
        lambda: _versions(client, run_id, tags["key"]),
        lambda: client.create_model_version(
            REGISTERED_MODEL, f"models:/{model_id}", run_id, all_tags, description=description, model_id=model_id
        ),
    )


def _logged_model(client: MlflowClient, run: Run, folder: Path, key: str) -> str:
    """Give the id of the model with its files that MLflow lists beside its run, made when there is none yet."""
    experiment_id, run_id = run.info.experiment_id, run.info.run_id
    # MLflow allows no others in the name of a model.
    name = re.sub(r"[^\w +-]", "-", run.info.run_name or REGISTERED_MODEL)
    first, *twins = made_once(
        lambda: [model for model in logged_models(client, run) if model.tags.get("key") == key],
        lambda: client.create_logged_model(
            experiment_id, name=name, source_run_id=run_id, tags={"key": key}, model_type="segmentation"
        ),
    )
    if first.status != LoggedModelStatus.READY:
        client.log_model_artifacts(first.model_id, str(folder))
        client.finalize_logged_model(first.model_id, LoggedModelStatus.READY)
    for twin in twins:
        client.delete_logged_model(twin.model_id)
    return str(first.model_id)


def logged_models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """Give the models that were made by a run: one whose files are there first."""
    found = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return sorted(found, key=lambda model: (model.status != LoggedModelStatus.READY, model.model_id))


def log_scores_of_plates(run_id: str, scores: Sequence[PlateScores]) -> None:
    """Log F1 on test plates, once for each version of a plate, for the models of a run, if there still is the run.

    Of plates of which the model proposed some labels itself, a tag of the model says how many.
    """
    with failures_named():
        client = MlflowClient()
        run = _run_if_kept(client, run_id)
        for model in logged_models(client, run) if run else ():
            known = {(metric.key, metric.dataset_name, metric.dataset_digest) for metric in model.metrics or ()}
            if own := _own_proposals(scores):
                client.set_logged_model_tags(model.model_id, own)
            for plate, digest, f1, _ in scores:
                for threshold, value in f1.items():
                    name, dataset = f"plate_f1_at_{threshold}", (plate, digest[:_MAX_DIGEST_LENGTH])
                    if (name, *dataset) not in known:
                        client.log_metric(
                            run_id,
                            name,
                            value,
                            dataset_name=dataset[0],
                            dataset_digest=dataset[1],
                            model_id=model.model_id,
                        )


def _own_proposals(scores: Iterable[PlateScores]) -> dict[str, str]:
    """Give a tag for each plate of which the model proposed some labels itself."""
    return {f"{OWN_PROPOSALS}/{one.plate}": str(one.own_proposals) for one in scores if one.own_proposals}


def _run_if_kept(client: MlflowClient, run_id: str) -> Run | None:
    """Give a run; None for one that a person deleted, which can't be logged to."""
    try:
        run: Run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run if run.info.lifecycle_stage == LifecycleStage.ACTIVE else None


def tag_versions_of_run(run_id: str, tags: Mapping[str, str]) -> None:
    """Write tags on the versions that were registered from a run."""
    with failures_named():
        client = MlflowClient()
        for version in _versions_of_run(client, run_id):
            _tag(client, version.version, tags)


def mark_versions_of_run(run_id: str, mark: str) -> None:
    """Let the description of the versions that were registered from a run begin with this sentence."""
    with failures_named():
        client = MlflowClient()
        for version in _versions_of_run(client, run_id):
            if not (version.description or "").startswith(mark):
                text = f"{mark}\n\n{version.description or ''}".strip()
                client.update_model_version(REGISTERED_MODEL, version.version, text)


def save_model(folder: Path, data: Path, code: Sequence[Path], loader_module: str, libraries: Iterable[str]) -> None:
    """Write a pyfunc model: data, the code that loads it, and the libraries' installed versions."""
    requirements = [f"{name}=={importlib.metadata.version(name)}" for name in libraries]
    with redirect_stderr(StringIO()), catch_warnings():
        simplefilter("ignore")  # MLflow asks for an example, which it would save with the model.
        mlflow.pyfunc.save_model(
            folder,
            loader_module=loader_module,
            data_path=data,
            code_paths=list(code),
            pip_requirements=requirements,
            # What comes in isn't in it: MLflow would refuse grey images of any but one type, which the model takes.
            signature=ModelSignature(outputs=Schema([TensorSpec(np.dtype(np.int32), (-1, -1), "label_image")])),
        )
