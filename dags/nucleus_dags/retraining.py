"""What `retrain_champion` does, task by task: from the store, the champion and the form to the settings of each.

A candidate is one set of first weights (the champion's, the encoder's from ImageNet, or random ones) and one replicate,
a training with a random seed of its own. Each is trained, scored and judged, and the best that passes the gate is the
challenger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from nucleus_dags.plan import FormError, run_name, trainings_of_method
from nucleus_dags.plate_store import newest_plates, read_result, rois_of_network

GATE = Path(__file__).with_name("gate.yaml")
APPROVALS = ("automatic", "by_person")
FROM_CHAMPION = "champion"
NEW_EACH_TIME = ("rois", "initialisation", "random_seed")
"""Params of a training that a candidate doesn't take over from the champion."""


OF_FIRST_WEIGHTS = ("stages", "batch_norm_learns")
"""Those that belong to the champion's first weights, and not to others."""


class NothingNew(Exception):
    """There is nothing to train on that wasn't judged already; says what there is."""


def read_gate() -> dict[str, Any]:
    """Give the content of gate.yaml: the params `gate` of the task `judge`, and how a challenger is approved."""
    gate = yaml.safe_load(GATE.read_text())
    approval = gate.pop("approval", None)
    if approval not in APPROVALS:
        raise FormError(f"{GATE.name}: approval is {approval!r}; it may be {' or '.join(APPROVALS)}.")
    return {"gate": gate, "approval": approval}


def plan(
    form: Mapping[str, Any],
    gate: Mapping[str, Any],
    presets: Mapping[str, Any],
    store: Path,
    champion: Mapping[str, Any],
    dag_run_id: str,
) -> dict[str, Any]:
    """Give the settings of every task; `champion` is the result of `find_model`, without outputs if there is none.

    Raises NothingNew if all plates were trained on and judged already, FormError if there is no plate of a role.
    """
    train, test = (_paths(store, role) for role in ("train", "test"))
    in_force = _champion(store, champion["outputs"]["model"]) if champion["outputs"] else None
    augment = _augment_settings(store, in_force) if in_force else presets[form["preset"]]["augment"]
    seen = augment.get("plates", ())
    new = [path for path in train if path not in seen]
    augment = augment | {"plates": train, "new_plates": new if in_force else [], "new_share": form["new_share"]}
    augment |= {"random_seed": form["random_seed"]} | _filled(form, "rois")
    planned = {
        "augment": augment,
        "candidates": _candidates(form, presets, store, in_force),
        "test_plates": test,
        "champion": {"version": champion["counts"].get("version", 0), "model": in_force},
        "segmentation": {"test_time_augmentation": bool(in_force and in_force["test_time_augmentation"])},
        "gate": gate["gate"],
    }
    digest = hashlib.sha256(json.dumps(planned, sort_keys=True).encode()).hexdigest()[:16]
    _refuse_old_work(store, digest, new, form["also_without_news"])
    return planned | {
        "digest": digest,
        "approval": gate["approval"] if form["approval"] == "as in gate.yaml" else form["approval"],
        "open_run": {"experiment": "retraining", "dag_run_id": dag_run_id, "run_name": run_name(dag_run_id)},
    }


def record(store: Path, digest: str, dag_run_id: str, outcome: str) -> None:
    """Remember what came of a plan, so that the same isn't done every week."""
    path = _record(store, digest)
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".partial")
    beside.write_text(json.dumps({"dag_run_id": dag_run_id, "outcome": outcome}))
    beside.replace(path)


def judgements(planned: Mapping[str, Any], scores: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the settings of `judge` for each candidate; none without a champion."""
    if planned["champion"]["model"] is None:
        return []
    champion, *candidates = scores
    return [
        {
            "champion": champion["outputs"]["scores"],
            "challenger": score["outputs"]["scores"],
            "gate": planned["gate"],
            "mlflow_run_id": score["mlflow_run_id"],
        }
        for score in candidates
    ]


def reports(planned: Mapping[str, Any], scores: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the settings of `report` for each candidate."""
    of_candidates = scores[-len(planned["candidates"]) :]
    return [
        {"scores": {candidate["name"]: score["outputs"]["scores"]}, "mlflow_run_id": score["mlflow_run_id"]}
        for candidate, score in zip(planned["candidates"], of_candidates, strict=True)
    ]


def choose_challenger(
    store: Path,
    planned: Mapping[str, Any],
    judged: Sequence[Mapping[str, Any]],
    scores: Sequence[Mapping[str, Any]],
) -> int | None:
    """Give the number of the candidate that passed and gains most; None if none did. A first model needs no judge."""
    if planned["champion"]["model"] is None:
        areas = [score["metrics"]["f1_area/all"] for score in scores]
        return areas.index(max(areas))
    if len(judged) != len(planned["candidates"]):
        raise ValueError(f"There are {len(planned['candidates'])} candidates, but {len(judged)} were judged.")
    contents = [json.loads((store / result["outputs"]["judgement"]).read_text()) for result in judged]
    passed = [number for number, content in enumerate(contents) if content["passed"]]
    return max(passed, key=lambda number: contents[number]["mean_gain"], default=None)


def verdict(
    store: Path, planned: Mapping[str, Any], judged: Sequence[Mapping[str, Any]], pages: Sequence[str]
) -> list[str]:
    """Give lines of Markdown: each candidate's outcome and page and, where it failed, every rule that doesn't hold."""
    if planned["champion"]["model"] is None:
        return ["The first model: there was no champion to be judged against."]
    lines = []
    for candidate, result, page in zip(planned["candidates"], judged, pages, strict=True):
        content = json.loads((store / result["outputs"]["judgement"]).read_text())
        outcome = "passed the gate" if content["passed"] else "failed at the gate"
        lines += [
            f"**{candidate['name']}** {outcome}: {result['counts']['won']} nuclei won, "
            f"{result['counts']['lost']} lost against version {planned['champion']['version']}: "
            f"[report and panels]({page}), under Artifacts.",
            "",
        ]
        lines += [f"- {failure}" for failure in content["failures"]]
        lines += ["", *rule_table(content["rules"]), ""]
    return lines


def rule_table(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the lines of a Markdown table of the gate's rules."""
    columns = ("rule", "cell line", "metric", "champion", "challenger", "95 % of the difference", "")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for rule in rules:
        interval = "" if rule["low"] == rule["high"] else f"{rule['low']:+.3f} to {rule['high']:+.3f}"
        values = f"{rule['champion']:.3f} | {rule['challenger']:.3f} | {interval}"
        outcome = "holds" if rule["passed"] else f"**broken**: {rule['allowed']}"
        lines.append(f"| {rule['rule']} | {rule['cell_line']} | {rule['metric']} | {values} | {outcome} |")
    return lines


def _paths(store: Path, role: str) -> list[str]:
    plates = newest_plates(store, role)
    if not plates:
        raise FormError(
            f"No {role} plate is in the store; put one into the inbox whose plate.json has role {role}, "
            "and wait for ingest_plates."
        )
    return [plate.path for plate in plates]


def models_to_judge(
    planned: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]], parent_run_id: str
) -> list[dict[str, Any]]:
    """Give all that is judged, with what it segments by: the champion first, in the MLflow run of the DAG run."""
    champion = planned["champion"]["model"]
    return [*([champion | {"mlflow_run_id": parent_run_id}] if champion else []), *map(dict, candidates)]


def _champion(store: Path, model: str) -> dict[str, Any]:
    """Give the settings with which the champion segments: its networks and thresholds."""
    return read_result(store, model)["params"]


def _augment_settings(store: Path, in_force: Mapping[str, Any]) -> dict[str, Any]:
    """Give the params of `augment` that the champion was trained from, its plates among them."""
    return read_result(store, rois_of_network(store, in_force["networks"][0]))["params"]


def _candidates(
    form: Mapping[str, Any], presets: Mapping[str, Any], store: Path, in_force: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Give name and trainings of each candidate, replicates of the same after one another."""
    if in_force is None:
        methods = [_first_model(form, presets)]
    else:
        methods = [_from_weights(store, in_force["networks"], weights) for weights in form["first_weights"]]
    changed, count = _filled(form, "cycles"), form["replicates"]
    if not changed and any(training.get("cycles") == 0 for method in methods for training in method["trainings"]):
        raise FormError("The champion has published weights and wasn't trained here; give the cycles to train it for.")
    return [
        {
            "name": method["name"] if count == 1 else f"{method['name']}, {number + 1} of {count}",
            "trainings": [
                training
                # A program's own command says how long it is trained.
                | ({} if training["task"] == "train_external" else changed)
                | {"random_seed": form["random_seed"] + number}
                for training in method["trainings"]
            ],
        }
        for method in methods
        for number in range(count)
    ]


def _first_model(form: Mapping[str, Any], presets: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {"preset": form["preset"]} | _filled(form, "initialisation")
    return {
        "name": f"first model, preset {form['preset']}",
        "trainings": trainings_of_method("fpn2_ws", presets[form["preset"]]["networks"], chosen),
    }


def _from_weights(store: Path, networks: Sequence[str], weights: str) -> dict[str, Any]:
    return {
        "name": f"from the {weights}" if weights == FROM_CHAMPION else f"from {weights} weights",
        "trainings": [_training(store, network, weights) for network in networks],
    }


def _training(store: Path, network: str, weights: str) -> dict[str, Any]:
    """The champion's own settings, on with its weights or with others."""
    task = network.partition("/")[0]
    if weights == "imagenet" and task != "train_fpn":
        raise FormError("first_weights: imagenet is for FPN2-WS, which the champion isn't; choose champion or random.")
    params = read_result(store, network)["params"]
    left = NEW_EACH_TIME if weights == FROM_CHAMPION else (*NEW_EACH_TIME, *OF_FIRST_WEIGHTS)
    settings = {name: value for name, value in params.items() if name not in left}
    return settings | {"task": task, "initialisation": network if weights == FROM_CHAMPION else weights}


def _refuse_old_work(store: Path, digest: str, new: Sequence[str], also_without_news: bool) -> None:
    path = _record(store, digest)
    if also_without_news:
        return
    if not new:
        raise NothingNew("The champion was trained on every training plate of the store; nothing new has come.")
    if path.exists():
        before = json.loads(path.read_text())
        raise NothingNew(
            f"Nothing has come since the DAG run {before['dag_run_id']}, which did the same: {before['outcome']}"
        )


def _record(store: Path, digest: str) -> Path:
    return store / "retrainings" / f"{digest}.json"


def _filled(form: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: form[name] for name in names if form[name] is not None}
