"""What the words of an experiment stand for: the params of every task, checked against what tasks and methods know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.manifest import manifest, method_entry, settings_params, task_entry, training_params
from nucleus_dags.planning.experiments import OF_PLATES, OF_TASKS, Matrix, Row, merged, names_of, nearest
from nucleus_dags.planning.initial_weights import CYCLES, INITIALISATION, beginning_of, refuse_what_does_not_fit
from nucleus_dags.planning.methods import augmentation_of, checked, trainings_of
from nucleus_dags.planning.types import Experiment, Params, Variant

LEAST_ROIS = 20
"""Of a matrix that is scaled down: some for validation, some of each scale."""
GIVEN_BY_PLAN, GIVEN_BY_PLAN_TO_AUGMENT = ("rois", "random_seed", "preset"), ("random_seed", "plates", "new_plates")
WARMUP = "warmup_cycles"


def experiments_of(matrix: Matrix, scale: float) -> list[Experiment]:
    """Give every experiment with its params. Raises FormError that names all that no task knows."""
    rows = matrix.rows()
    found, problems = [], []
    for row, name in zip(rows, names_of(rows, matrix.columns), strict=True):
        try:
            found.append(_experiment(matrix, row, name, scale))
        except FormError as error:
            problems.append(f"{name}: {error}")
    if problems:
        more = f" {len(problems) - 5} more have faults." if len(problems) > 5 else ""
        raise FormError(f"The matrix {matrix.name} can't be run: {' '.join(problems[:5])}{more}")
    return found


def _experiment(matrix: Matrix, row: Row, name: str, scale: float) -> Experiment:
    instead = matrix.content.get("without_weights") or {}
    variants = [_variant(matrix, row, row.words, scale)]
    if instead and {**row.words, **instead} != row.words:
        variants.append(_variant(matrix, row, {**row.words, **instead}, scale))
    chosen = _params(matrix, row.words)
    return {
        "name": name,
        "words": dict(row.words),
        "replicate": row.replicate,
        "variants": variants,
        "train_on": {key: chosen[key] for key in OF_PLATES if chosen.get(key)},
    }


def _params(matrix: Matrix, words: Mapping[str, str]) -> Params:
    """Give what words stand for together; what holds for one method wins."""
    parts = [matrix.content.get("all") or {}, *(matrix.columns[name].words[word] for name, word in words.items())]
    general = merged(parts)
    method = general.get("method", manifest()["default_method"])
    if method not in manifest()["methods"]:
        raise FormError(f"there is no method {method!r}; {nearest(str(method), manifest()['methods'])}.")
    for other in general.pop("of_method", {}):
        if other not in manifest()["methods"]:
            raise FormError(f"of_method: there is no method {other!r}; {nearest(other, manifest()['methods'])}.")
    of_method = [part.get("of_method", {}).get(method, {}) for part in parts]
    return merged([general, *of_method, {"method": method}])


def _variant(matrix: Matrix, row: Row, words: Mapping[str, str], scale: float) -> Variant:
    params = _params(matrix, words)
    method, preset = params["method"], params.get("preset", next(iter(manifest()["presets"])))
    if preset not in manifest()["presets"]:
        raise FormError(f"there is no preset {preset!r}; {nearest(str(preset), manifest()['presets'])}.")
    networks, known = params.get("networks"), method_entry(method)["networks"]
    if networks is not None and networks not in known:
        raise FormError(f"{method} has no networks {networks!r}; {nearest(str(networks), known)}.")
    schemas = {
        "augment": task_entry("augment")["params"]["properties"],
        "train": training_params(method),
        "settings": settings_params(method),
        "calibrate": {"search": task_entry("calibrate")["params"]["properties"]["search"]},
    }
    problems = list(_problems_of_names(params, schemas))
    if problems:
        raise FormError(f"{'; '.join(problems)}.")
    given = {section: checked(method, params.get(section) or {}, schemas[section]) for section in schemas}
    seed = matrix.content.get("random_seed", 0)
    trainings = trainings_of(method, networks, preset, _known({"preset": preset, **given["train"]}, schemas["train"]))
    trainings = [_scaled_training(method, preset, training, scale) for training in trainings]
    refuse_what_does_not_fit(method, trainings, preset)
    return {
        "words": dict(words),
        "augment": _scaled_augmentation(augmentation_of(preset, given["augment"]), scale) | {"random_seed": seed},
        "trainings": [
            {**_known({"random_seed": seed + row.replicate - 1}, schemas["train"]), **training}
            | {"task": method_entry(method)["task"]}
            for training in trainings
        ],
        "model": {"method": method, "settings": given["settings"], **given["calibrate"]},
    }


def _problems_of_names(params: Params, schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for section in OF_TASKS:
        given = params.get(section) or {}
        known = [
            name for name in schemas[section] if name not in GIVEN_BY_PLAN or (section, name) == ("augment", "rois")
        ]
        yield from (f"{section}: there is no {name!r}; {nearest(name, known)}" for name in given if name not in known)


def _known(params: Params, schema: Iterable[str]) -> Params:
    return {name: value for name, value in params.items() if name in schema}


def _scaled_augmentation(augment: Params, scale: float) -> Params:
    rois = augment.get("rois", task_entry("augment")["params"]["properties"]["rois"]["default"])
    return {**augment, "rois": rois if scale == 1 else max(LEAST_ROIS, round(rois * scale))}


def _scaled_training(method: str, preset: str, training: Params, scale: float) -> Params:
    """Give a training with fewer epochs, those in which layers are frozen among them; 0 stay 0."""
    if scale == 1 or CYCLES not in training_params(method):
        return training
    cycles = _value_of(method, preset, training, CYCLES)
    scaled = {CYCLES: max(1, round(cycles * scale)) if cycles else 0}
    if WARMUP in training_params(method):
        warmup = round(_value_of(method, preset, training, WARMUP) * scale)
        scaled[WARMUP] = min(warmup, scaled[CYCLES] - 1) if scaled[CYCLES] else 0
    return {**training, **scaled}


def _value_of(method: str, preset: str, training: Params, name: str) -> int:
    """Give what a param of a training is: as given, as its initial weights or the preset have it, or the default."""
    entry = method_entry(method)
    kind = entry["initial_weights"].get(str(beginning_of(method, training, preset)))
    of_weights = kind["params"] if kind else {}
    # A preset says nothing about weights of a whole network, but all about others, whose own needs come first.
    sources: Sequence[Mapping[str, Any]] = (training, of_weights, entry["presets"][preset]["params"])
    default = training_params(method)[name].get("default", 0)
    return int(next((source[name] for source in sources if name in source), default))


def initial_weights_of(variant: Variant) -> str:
    """Give what the trainings of an experiment begin from, for its tags."""
    training, method = variant["trainings"][0], variant["model"]["method"]
    preset = training.get("preset", next(iter(manifest()["presets"])))
    return str(training.get(INITIALISATION) or beginning_of(method, training, preset))
