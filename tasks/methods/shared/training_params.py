"""The params that every training of a network has, with their bounds.

A method's own params give them its defaults, the paper's. A field with a title is one that a person may set in the
form of a DAG.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.contract import TaskParams
from tasks.methods.method import RANDOM, Method, PresetName

Initialisation = Annotated[
    str,
    Field(
        title="Initial weights",
        description="What the training begins from: a kind of weights that the method knows, or an earlier network of "
        "the method, as its folder in the store.",
    ),
]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Field(
        description='Of the layers; weights, outputs and loss are always float32. "auto": bfloat16 on GPUs that have '
        "it (NVIDIA's since Ampere), else float32; network.json and result.json say which it was."
    ),
]
Cycles = Annotated[
    int,
    Field(
        ge=0,
        le=10_000,
        title="Epochs",
        description="Passes over the training ROIs, which the paper calls cycles.",
    ),
]
BatchSize = Annotated[
    int,
    Field(
        ge=1,
        le=1024,
        title="Batch size",
        description="ROIs of one training step. Several GPUs share them, so each needs at least one.",
    ),
]
LearningRate = Annotated[
    float, Field(gt=0, le=1, title="Learning rate", description="Size of a training step at the beginning.")
]
Schedule = Annotated[
    Literal["constant", "cosine"],
    Field(
        description="The learning rate is constant, as in the paper, within a stage, or falls to 0 along a cosine over "
        "the whole training."
    ),
]
Optimiser = Annotated[Literal["adam", "adamw", "sgd", "momentum"], Field(description="What makes steps of gradients.")]
BatchNormLearns = Annotated[
    bool,
    Field(
        description="Whether batch normalisation takes the statistics of the batch. With pretrained weights it "
        "doesn't, as in the paper; from random ones it must."
    ),
]


class NetworkTrainingParams(TaskParams):
    """Base of the params of every task that trains a network."""

    rois: str | None = Field()
    """ROI file: output of `augment`. None only for a model that comes with the pipeline and is kept as it is."""
    preset: PresetName = "paper"
    """Values of the params that aren't given: the paper's, or those for minutes on a CPU."""
    initialisation: Initialisation
    precision: Precision = "auto"
    cycles: Cycles
    batch_size: BatchSize
    learning_rate: LearningRate
    schedule: Schedule = "constant"
    optimiser: Optimiser
    averaging: float = Field(0.0, ge=0, lt=1)
    """Momentum of the exponential mean of the weights over the training steps, batch normalisation's averages among
    them. The mean is what is validated and kept, and usually better than the weights of the last step, which 0 keeps as
    the paper does."""
    random_seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the initial weights and of the order of the ROIs."""


def filled_in(values: Any, method: Method, default_initialisation: str) -> Any:
    """Fill in what isn't given: from the preset, then what the kind of initial weights needs.

    Weights of a whole network say all that a preset would, but for themselves. What isn't even a known preset is left
    to the validation.
    """
    if not isinstance(values, dict) or values.get("preset", "paper") not in method.presets:
        return values
    of_preset: Mapping[str, Any] = method.presets[values.get("preset", "paper")].params
    filled = {"initialisation": default_initialisation, **of_preset, **values}
    kind = method.weights_named(str(filled["initialisation"]))
    if kind is not None and kind.is_whole:
        return {"initialisation": kind.name, **kind.all_params, **values}
    return {**(kind.params if kind else {}), **filled}


def refuse_another_network(method: Method, params: NetworkTrainingParams) -> None:
    """Raise ValueError for a network that the initial weights aren't of."""
    kind = method.weights_named(params.initialisation)
    given = params.model_dump(mode="json")
    wrong = {name: value for name, value in (kind.network if kind else {}).items() if given[name] != value}
    if wrong:
        others = "; ".join(f"{name} {json.dumps(given[name])}, not {json.dumps(wrong[name])}" for name in wrong)
        raise ValueError(
            f'the initial weights "{params.initialisation}" are of another network than is asked for: {others}; leave '
            f'this out, or choose other initial weights, such as "{RANDOM}"'
        )


def refuse_what_cannot_learn(
    method: Method, initialisation: str, cycles: int, batch_norm_learns: bool = True, frozen: str | None = None
) -> None:
    """Raise ValueError for settings that give a network that finds no nuclei, or that keep it from learning.

    `frozen` is the param, with its value, that freezes layers for a while; None if none does.
    """
    kind = method.weights_named(initialisation)
    if cycles == 0 and not (kind and kind.is_whole):
        whole = ", ".join(f'"{weights.name}"' for weights in method.initial_weights if weights.is_whole)
        raise ValueError(
            f'cycles=0 keeps the initial weights as they are, which is for {whole} alone, not for "{initialisation}"'
        )
    if initialisation == RANDOM and not batch_norm_learns:
        raise ValueError('batch_norm_learns=false is for pretrained weights; with "random" it is true')
    if initialisation == RANDOM and frozen is not None:
        raise ValueError(
            f'{frozen} freezes pretrained weights for a while; with "random" nothing is frozen, leave it out'
        )
