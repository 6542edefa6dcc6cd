"""What `retrain_champion` does, task by task: from the store, the champion and the form to the params of each.

A candidate is one set of initial weights (the champion's, or a kind that its method knows) and one replicate, which has
a random seed of its own. Each is trained, scored and judged, and the best that passes the gate is the challenger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.manifest import InitialWeights, manifest, method_entry, short_title, training_params
from nucleus_dags.planning.baseline import scores_of_baseline
from nucleus_dags.planning.gate import APPROVALS, Gate
from nucleus_dags.planning.initial_weights import CYCLES, INITIALISATION, refuse_what_does_not_fit
from nucleus_dags.planning.methods import FOR_CELL_LINES, checked, takes_weights, trainings_of
from nucleus_dags.planning.remarks import remarks_on
from nucleus_dags.planning.retire_plate import not_used
from nucleus_dags.planning.retrainings import recorded
from nucleus_dags.planning.runs import training_to_open
from nucleus_dags.planning.types import (
    Candidate,
    FoundModel,
    Model,
    Params,
    RetrainingPlan,
)
from nucleus_dags.plates.retired import retired_plates
from nucleus_dags.plates.stored import StoredPlate, newest_plates

FROM_CHAMPION = "champion"
NEW_EACH_TIME = ("rois", INITIALISATION, "random_seed")
"""Params of a training that a candidate doesn't take over from the champion."""
MIN_AREA = "min_area_px"
"""Kept though it can be searched: how small nuclei are doesn't depend on the network; a person may have set it."""


class NothingNew(Exception):
    """There is nothing to train on that wasn't judged already; says what there is."""


def plan(
    form: Mapping[str, Any],
    gate: Gate,
    store: Path,
    champion: FoundModel | None,
    dag_run_id: str,
) -> RetrainingPlan:
    """Give the params of every task.

    Training plates with doubtful labels and retired plates are left out; test plates with doubtful labels are used, and
    all of them are told of.
    Raises NothingNew if all plates were trained on and judged already, FormError if there is no plate of a role.
    """
    plates = {role: newest_plates(store, role) for role in ("train", "test")}
    retired = [f"- {sentence}" for sentence in not_used(retired_plates(store))]
    train, test = (_paths(plates[role], role, retired) for role in ("train", "test"))
    remarks = [*remarks_on(plates["train"]), *remarks_on(plates["test"]), *retired]
    preset = manifest()["presets_of_augment"][form["preset"]]
    augment = preset | (_augmentation_of(champion) if champion else {})
    seen = augment.get("plates", ())
    new = [path for path in train if path not in seen]
    augment = augment | {"plates": train, "new_plates": new if champion else [], "new_share": form["new_share"]}
    augment |= {"random_seed": form["random_seed"]} | _filled(form, "rois")
    candidates = _candidates(form, champion)
    decisive = {
        "augment": augment,
        "candidates": candidates,
        "test_plates": [{"plate": path} for path in test],
        "champion_version": champion["version"] if champion else 0,
        "settings": {champion["method"]: _kept_settings(champion)} if champion else {},
        "gate": gate.rules,
    }
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
    _refuse_old_work(store, digest, new, form["also_without_news"], remarks)
    names = [candidate["name"] for candidate in candidates]
    trained_on = [plate for plate in plates["train"] if plate.path in train]
    return {
        **decisive,  # type: ignore[typeddict-item]
        "digest": digest,
        "gate_in_words": gate.in_words,
        "approval": form["approval"] if form["approval"] in APPROVALS else gate.approval,
        "open_run": training_to_open("retraining", dag_run_id, ["challenger"], trained_on, children=names),
        "remarks": remarks,
    }


def _augmentation_of(champion: FoundModel) -> Params:
    """Give the params of `augment` that made the champion's ROIs, or those of them that its network needs."""
    if champion["augmentation"] is None:
        raise FormError(
            f"The store has no longer the ROIs of the champion, version {champion['version']}, so no more can be "
            "made like these; train a model with train_models, and promote it with promote_model."
        )
    return champion["augmentation"]


def _kept_settings(champion: FoundModel) -> Params:
    """Give the champion's settings but for those that are chosen anew for every network."""
    anew = {FOR_CELL_LINES, *method_entry(champion["method"])["search"]} - {MIN_AREA}
    return {name: value for name, value in champion["settings"].items() if name not in anew}


def champions_of(found: Result, known: Mapping[str, Any]) -> list[Model]:
    """Hand on, of `find_model`, the champion as a model to be judged against; none without one."""
    champion: FoundModel | None = found["values"]["model"]
    if champion is None:
        return []
    return [{"method": champion["method"], "networks": champion["networks"], "settings": champion["settings"]}]


def judgement_of(candidate: Mapping[str, Any], known: Mapping[str, Any]) -> Params | None:
    """Give the params of `judge` for a candidate; None without a champion."""
    if not known["champion_version"]:
        return None
    of_run = {r["mlflow_run_id"]: r["outputs"]["scores"] for r in known["scored"] if r["mlflow_run_id"]}
    return {
        # The champion is scored in the MLflow run of the DAG run.
        "champion": of_run[known["mlflow_run_id"]],
        "challenger": of_run[candidate["mlflow_run_id"]],
        "gate": known["gate"],
        "candidates": len(of_run) - 1,
        "mlflow_run_id": candidate["mlflow_run_id"],
    }


def report_of(candidate: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `report` for a candidate and the baseline."""
    of_run = {result["mlflow_run_id"]: result["outputs"]["scores"] for result in known["scored"]}
    run_id = candidate["mlflow_run_id"]
    scores = {candidate["name"]: of_run[run_id]} | scores_of_baseline(known["scored"])
    return {"scores": scores, "mlflow_run_id": run_id}


def _paths(plates: Sequence[StoredPlate], role: str, retired: Sequence[str]) -> list[str]:
    used = [plate.path for plate in plates if plate.trains or role != "train"]
    if used:
        return used
    if plates:
        raise FormError(
            "\n".join(["The labels of every training plate in the store are doubtful.", *remarks_on(plates)])
        )
    lacking = (
        f"No {role} plate is in the store; put one into the inbox whose plate.json has role {role}, "
        "and wait for ingest_plates."
    )
    raise FormError("\n".join([lacking, *retired]))


def _candidates(form: Mapping[str, Any], champion: FoundModel | None) -> list[Candidate]:
    """Give the candidates, replicates of the same after one another."""
    if champion is None:
        bases = [_first_model(form)]
    else:
        bases = [_like_champion(champion, weights) for weights in form["initial_weights"]]
    count = form["replicates"]
    for base in bases:
        _choose_cycles(base, form[CYCLES])
        refuse_what_does_not_fit(base["method"], base["trainings"], form["preset"])
    return [
        {
            "name": base["name"] if count == 1 else f"{base['name']}, {number + 1} of {count}",
            "method": base["method"],
            "trainings": [training | {"random_seed": form["random_seed"] + number} for training in base["trainings"]],
        }
        for base in bases
        for number in range(count)
    ]


def _choose_cycles(base: Candidate, cycles: int | None) -> None:
    """Train a candidate for as long as a person chose, if its method is trained in cycles."""
    if CYCLES not in training_params(base["method"]):
        if cycles is not None:
            raise FormError(
                f"Epochs: the method {short_title(base['method'])} isn't trained in epochs; leave it empty."
            )
        return
    if cycles is not None:
        checked(base["method"], {CYCLES: cycles}, training_params(base["method"]))
    for training in base["trainings"]:
        if cycles is not None:
            training[CYCLES] = cycles
        elif training.get(CYCLES) == 0:
            raise FormError(
                "The champion has pretrained weights and wasn't trained here; give the epochs to train it for."
            )


def _first_model(form: Mapping[str, Any]) -> Candidate:
    method, preset = form["method"] or manifest()["default_method"], form["preset"]
    params = {"preset": preset} | _filled(form, INITIALISATION)
    if method_entry(method)["candidates"]:
        raise FormError(f"The first model can't be one of {short_title(method)}; train it with train_models.")
    if params.get(INITIALISATION) and not takes_weights(method, params[INITIALISATION]):
        kinds = ", ".join(method_entry(method)["initial_weights"])
        raise FormError(f"Initial weights {params[INITIALISATION]} aren't of {short_title(method)}; it has {kinds}.")
    params = {name: value for name, value in params.items() if name in training_params(method)}
    return {
        "name": f"first model, preset {preset}",
        "method": method,
        "trainings": trainings_of(method, None, preset, params),
    }


def _like_champion(champion: FoundModel, weights: str) -> Candidate:
    """Give a candidate with the champion's own settings, from its weights or from others."""
    if weights != FROM_CHAMPION and not takes_weights(champion["method"], weights):
        kinds = ", ".join((FROM_CHAMPION, *method_entry(champion["method"])["initial_weights"]))
        raise FormError(f"Initial weights: the champion is of {short_title(champion['method'])}; choose of {kinds}.")
    pairs = zip(champion["networks"], champion["trainings"], strict=True)
    return {
        "name": f"from the {weights}" if weights == FROM_CHAMPION else f"from {weights} weights",
        "method": champion["method"],
        "trainings": [_training(champion["method"], network, params, weights) for network, params in pairs],
    }


def _training(method: str, network: str, params: Params, weights: str) -> Params:
    known = training_params(method)
    left = {*NEW_EACH_TIME, *(() if weights == FROM_CHAMPION else _needed_by_weights(method, params, weights))}
    settings = {name: value for name, value in params.items() if name not in left and name in known}
    # What there wasn't yet when the champion was trained is at its default, which changes nothing, not at the preset's.
    settings |= {name: field["default"] for name, field in known.items() if name not in params and "default" in field}
    if weights != FROM_CHAMPION:
        return settings | {INITIALISATION: weights}
    model = _came_with_the_pipeline(method, params.get(INITIALISATION))
    if model and params.get(CYCLES) == 0:
        settings[CYCLES] = model["params"][CYCLES]
    return settings | {INITIALISATION: network}


def _needed_by_weights(method: str, params: Params, weights: str) -> set[str]:
    """Give the names of params that the champion's initial weights needed, or that others bring themselves."""
    kinds = method_entry(method)["initial_weights"].values()
    needed = {name for kind in kinds if not kind["is_whole"] for name in kind["params"]}
    for name in (params.get(INITIALISATION), weights):
        if model := _came_with_the_pipeline(method, name):
            needed |= set(model["params"]) - set(model["network"])
    return needed


def _came_with_the_pipeline(method: str, weights: str | None) -> InitialWeights | None:
    kind = method_entry(method)["initial_weights"].get(str(weights))
    return kind if kind and kind["as_it_is"] else None


def _refuse_old_work(
    store: Path, digest: str, new: Sequence[str], also_without_news: bool, remarks: Sequence[str]
) -> None:
    if also_without_news:
        return
    if not new:
        reason = "The champion was trained on every training plate of the store that may be used; nothing new has come."
        raise NothingNew("\n".join([reason, *remarks]))
    if before := recorded(store, digest):
        reason = f"Nothing has come since the DAG run {before['dag_run_id']}, which did the same: {before['outcome']}"
        raise NothingNew("\n".join([reason, *remarks]))


def _filled(form: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: form[name] for name in names if form[name] is not None}
