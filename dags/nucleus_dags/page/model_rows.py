"""The models of an installation, a row each: what MLflow registered, or without it what the store knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from nucleus_dags.manifest import manifest, short_title
from nucleus_dags.page.model_scores import ALL, OVERALL, Group, Measured, Scores
from nucleus_dags.page.registered import CHAMPION, Event, Registry, Version
from nucleus_dags.page.store_results import StoredResult, find_result, result_in, results_of
from nucleus_dags.planning.usability import MARK, shortcoming

OWN_PROPOSALS = "own_proposals"
"""Tag of a version: how many of the labels that it was scored against it proposed itself."""


class Generation(NamedTuple):
    """Networks that were trained together."""

    networks: tuple[str, ...]
    plates: tuple[str, ...]
    """Keys of the plates that they were trained on."""
    came_with_the_pipeline: bool


@dataclass(frozen=True)
class Row:
    """A model."""

    version: int | None
    """None where MLflow is away, and no run said which version it is."""
    key: str | None
    aliases: tuple[str, ...]
    made_at: datetime
    dag_run_id: str
    mlflow_run_id: str
    method: str
    plates: tuple[str, ...]
    """Keys of the plates that it was trained on last."""
    description: str
    gate: str
    """What came out when it was judged, in one word."""
    events: Sequence[Event]
    scores: Scores | None
    metrics: Mapping[str, float]
    """Of all cell lines together, from MLflow, with `OWN_PROPOSALS`: for models whose scores the store has lost."""

    @property
    def is_champion(self) -> bool:
        return CHAMPION in self.aliases

    @property
    def why_champion(self) -> Event | None:
        """The promotion by which it became champion last; None where a person set the alias in MLflow."""
        begins = (f"{CHAMPION} ", f"{CHAMPION}:")
        promotions = (one for one in self.events if one.kind == "promotion" and one.text.startswith(begins))
        return next(promotions, None)

    @property
    def title(self) -> str:
        return f"version {self.version}" if self.version else f"model {self.key}"

    @property
    def plate_names(self) -> list[str]:
        return [plate.rpartition("@")[0] for plate in self.plates]

    def f1(self, group: Group, threshold: float) -> float | None:
        if self.scores:
            return self.scores.f1(group, threshold)
        return self.metrics.get(f"f1_at_{threshold}/{ALL}") if group == OVERALL else None

    def own_proposals(self, group: Group) -> int:
        """Give how many of the true labels it proposed itself, as far as that is known: with any, F1 is too good."""
        if self.scores:
            return self.scores.own_proposals.get(group, 0)
        return int(self.metrics.get(OWN_PROPOSALS, 0)) if group == OVERALL else 0

    def shortcoming(self, cell_line: str = ALL) -> str:
        if self.scores:
            return self.scores.shortcoming(cell_line)
        return shortcoming(self.metrics, cell_line).removeprefix(f"{MARK} ")


def rows(registry: Registry, store: Path, measured: Measured) -> list[Row]:
    """Give all models, the newest first."""
    if registry.problem:
        return list(_of_store(store, measured))
    return [_of_version(version, measured) for version in registry.versions]


def generations(key: str | None, store: Path) -> list[Generation]:
    """Give the networks of a model with their plates, then those that these began from, back to the first."""
    model = find_result(store, "register_model", key) if key else None
    networks = tuple(model.params["networks"]) if model else ()
    found: list[Generation] = []
    while networks and networks not in [generation.networks for generation in found]:
        trainings = [training for path in networks if (training := result_in(store, path))]
        rois = {training.params["rois"] for training in trainings}
        plates = {plate for path in rois - {None} for plate in _plates_of_rois(path, store)}
        found.append(Generation(networks, tuple(sorted(plates)), rois == {None}))
        begun_from = [training.params.get("initialisation") for training in trainings]
        networks = tuple(path for path in begun_from if path and "/" in path and result_in(store, path))
    return found


def _of_version(version: Version, measured: Measured) -> Row:
    tags = version.tags
    return Row(
        version=version.number,
        key=version.key,
        aliases=version.aliases,
        made_at=version.created_at,
        dag_run_id=tags.get("dag_run_id", ""),
        mlflow_run_id=version.mlflow_run_id,
        method=_title(tags.get("method", "")),
        plates=tuple(version.plates),
        description=version.description,
        gate=tags.get("gate", ""),
        events=version.events,
        scores=measured.scores.get(version.key or ""),
        metrics=_metrics_in(tags),
    )


def _of_store(store: Path, measured: Measured) -> Iterator[Row]:
    """Give what the store knows of models: their numbers and the champion as the last runs saw them."""
    numbers = {
        found["key"]: found["version"]
        for result in results_of(store, "find_model")
        if (found := (result.content.get("values") or {}).get("model")) and found.get("version")
    }
    promotions = [one for one in results_of(store, "promote_model") if one.params.get("alias", CHAMPION) == CHAMPION]
    champion = promotions[-1].content["counts"]["version"] if promotions else None
    for result in reversed(results_of(store, "register_model")):
        number = numbers.get(result.key)
        of_it = [one for one in reversed(promotions) if number and one.content["counts"]["version"] == number]
        [*trained] = generations(result.key, store)[:1]
        yield Row(
            version=number,
            key=result.key,
            aliases=(CHAMPION,) if number and number == champion else (),
            made_at=result.made_at,
            dag_run_id="",
            mlflow_run_id="",
            method=_title(result.params.get("method", "")),
            plates=tuple(Path(plate).name for one in trained for plate in one.plates),
            description="",
            gate="",
            events=[_promotion(one) for one in of_it],
            scores=measured.scores.get(result.key),
            metrics={},
        )


def _promotion(result: StoredResult) -> Event:
    params = result.params
    return Event(result.made_at, "promotion", f"{CHAMPION}: {params['reason']} (DAG run {params['dag_run_id']})")


def _plates_of_rois(path: str, store: Path) -> list[str]:
    result = result_in(store, path)
    return list(result.params["plates"]) if result else []


def _title(method: str) -> str:
    return short_title(method) if method in manifest()["methods"] else method


def _metrics_in(tags: Mapping[str, Any]) -> dict[str, float]:
    """Give the metrics among the tags of a version. Others may change tags in MLflow, so what is no number is none."""
    metrics = {}
    for name in (*(f"f1_at_{t}/{ALL}" for t in manifest()["shown_iou_thresholds"]), f"fn_rate/{ALL}", OWN_PROPOSALS):
        try:
            metrics[name] = float(tags[name])
        except (KeyError, ValueError):
            continue
    return metrics
