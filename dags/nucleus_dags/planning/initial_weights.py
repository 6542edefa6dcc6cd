"""From what trainings begin: which kind of weights it is, what doesn't fit it, and a model that is used as it came."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.manifest import InitialWeights, method_entry, short_title, training_params
from nucleus_dags.planning.types import Candidate, Params

INITIALISATION, CYCLES = "initialisation", "cycles"


def beginning_of(method: str, training: Mapping[str, Any], preset: str) -> str | None:
    """Give what a training begins from: a kind of weights or an earlier network; None where nobody says it."""
    of_preset = method_entry(method)["presets"][preset]["params"]
    of_task = training_params(method).get(INITIALISATION, {})
    chosen: str | None = training.get(INITIALISATION) or of_preset.get(INITIALISATION) or of_task.get("default")
    return chosen


def refuse_what_does_not_fit(method: str, trainings: Sequence[Params], preset: str) -> None:
    """Raise FormError for weights of another network than is asked for, and for no epochs where these are needed."""
    kinds = method_entry(method)["initial_weights"]
    for training in trainings:
        beginning = beginning_of(method, training, preset)
        kind = kinds.get(str(beginning))
        if training.get(CYCLES) == 0 and not (kind and kind["is_whole"]):
            whole = ", ".join(name for name, other in kinds.items() if other["is_whole"]) or "none of its weights"
            raise FormError(
                f"{short_title(method)}: Epochs: 0 keep the initial weights as they are, which is for {whole}, not for "
                f"{beginning}; give at least 1."
            )
        if kind:
            _refuse_another_network(method, str(beginning), kind, training)


def _refuse_another_network(method: str, beginning: str, kind: InitialWeights, training: Params) -> None:
    wrong = {name: value for name, value in kind["network"].items() if training.get(name, value) != value}
    if wrong:
        shown = "; ".join(f"{name} {json.dumps(training[name])}, not {json.dumps(wrong[name])}" for name in wrong)
        raise FormError(
            f"{short_title(method)}: the initial weights {beginning} are of another network than is asked for: "
            f"{shown}; leave this as the initial weights have it, or choose other initial weights, such as random."
        )


def as_it_came(method: str, trainings: Sequence[Params], preset: str) -> Candidate | None:
    """Give the model that trainings begin from as a candidate, to be compared with what becomes of it.

    None unless all of them begin from a model that comes with the pipeline, and are trained.
    """
    (beginning,) = {beginning_of(method, training, preset) for training in trainings}
    kind = method_entry(method)["initial_weights"].get(str(beginning))
    model = kind["as_it_is"] if kind else None
    if model is None or any(training.get(CYCLES) == 0 for training in trainings):
        return None
    return {
        "name": f"{beginning}, not trained further",
        "method": method,
        "trainings": [model["training"]],
        "settings": model["settings"],
    }
