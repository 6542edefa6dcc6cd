"""The MLflow run that a task adds its part to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.time import get_current_time_millis

from tasks.tracking import models
from tasks.tracking.client import NOTE_TAG, failures_named, run_page_link

DATASET_CONTEXTS = {"train": "training", "test": "testing", "screen": "segmented"}
SAMPLED_EVERY_S, SAMPLES_PER_POINT = 10, 6
"""MLflow's default logs every sample, which are millions of rows in a month; their mean over a minute tells as much."""
_POINTS_PER_CALL = 1000
_MAX_PARAM_LENGTH = 6000


class Point(NamedTuple):
    """One value of a metric. `step` is the cycle, or 100 x IoU for curves over the IoU threshold."""

    name: str
    value: float
    step: int = 0


class Run:
    """The MLflow run that this task adds to, or none: then every call does nothing."""

    def __init__(self) -> None:
        self.id = os.environ.get("MLFLOW_RUN_ID")
        self._client = MlflowClient() if self.id else None

    def log_params(self, params: Mapping[str, object], prefix: str) -> None:
        """Log params as `prefix.name`; a value that the run already has stays."""
        if self._client and self.id:
            with failures_named():
                known = self._client.get_run(self.id).data.params
                new = [
                    Param(f"{prefix}.{name}", str(value)[:_MAX_PARAM_LENGTH])
                    for name, value in params.items()
                    if f"{prefix}.{name}" not in known
                ]
                self._client.log_batch(self.id, params=new)

    def log_points(self, points: Iterable[Point]) -> None:
        """Log metric values; steps that the run already has are left out."""
        if self._client and self.id:
            points = list(points)
            with failures_named():
                known = {
                    (name, metric.step)
                    for name in {point.name for point in points}
                    for metric in self._client.get_metric_history(self.id, name)
                }
                now = get_current_time_millis()
                new = [Metric(p.name, float(p.value), now, p.step) for p in points if (p.name, p.step) not in known]
                for start in range(0, len(new), _POINTS_PER_CALL):
                    self._client.log_batch(self.id, metrics=new[start : start + _POINTS_PER_CALL])

    def log_scores_of_plates(self, scores: Sequence[models.PlateScores]) -> None:
        """Log F1 on test plates for the models that this run made, by which MLflow sorts models of all runs."""
        if self.id:
            models.log_scores_of_plates(self.id, scores)

    def log_artifact(self, path: Path, folder: str) -> None:
        """Copy a file into the artefacts of the run, under `folder`."""
        if self._client and self.id:
            with failures_named():
                self._client.log_artifact(self.id, str(path), folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        if self._client and self.id:
            with failures_named():
                self._client.log_batch(self.id, tags=[RunTag(name, value) for name, value in tags.items()])

    def set_note(self, markdown: str) -> None:
        """Set the description at the top of the run's page; it ends with the way to the run on the page Nuclei."""
        self.set_tags({NOTE_TAG: "\n\n".join(filter(None, [markdown, run_page_link()]))})

    def log_plate(self, name: str, digest: str, source: str, role: str, profile: str) -> None:
        """Log a plate as a dataset input of the run."""
        if self._client and self.id:
            dataset = Dataset(name=name, digest=digest[:36], source_type="local", source=source, profile=profile)
            tags = [InputTag("mlflow.data.context", DATASET_CONTEXTS[role])]
            with failures_named():
                self._client.log_inputs(self.id, [DatasetInput(dataset, tags)])

    def register_model(self, folder: Path, key: str, tags: Mapping[str, str], description: str) -> None:
        """Register a folder that `save_model` wrote as a version of `nucleus-segmenter`, once per run and key."""
        if self.id:
            models.register(self.id, folder, key, tags, description)

    def tag_model_versions(self, tags: Mapping[str, str]) -> None:
        """Write tags on the versions that were registered from this run."""
        if self.id:
            models.tag_versions_of_run(self.id, tags)

    def mark_model_versions(self, mark: str) -> None:
        """Let the description of the versions that were registered from this run begin with this sentence."""
        if self.id:
            models.mark_versions_of_run(self.id, mark)

    @contextmanager
    def system_metrics(self, node: str) -> Iterator[None]:
        """Sample CPU, memory and GPU use of this machine as `system/<node>/…` while the block runs."""
        if not self.id:
            yield
            return
        monitor = SystemMetricsMonitor(self.id, SAMPLED_EVERY_S, SAMPLES_PER_POINT, node_id=node, resume_logging=True)
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()
