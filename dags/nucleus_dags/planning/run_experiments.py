"""What `run_experiments` does: from the filled form and what is stored to the params of each task.

The functions with two arguments are hooks of `launch`, as in `candidates`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.in_store import in_store
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.manifest import manifest
from nucleus_dags.planning.experiment_params import experiments_of, initial_weights_of
from nucleus_dags.planning.experiments import OF_PLATES, Matrix, nearest, read_matrix
from nucleus_dags.planning.experiments_schema import problems_of_tables
from nucleus_dags.planning.methods import names_in
from nucleus_dags.planning.own_proposals import explained, mark_of
from nucleus_dags.planning.remarks import remarks_on
from nucleus_dags.planning.runs import runs_to_close
from nucleus_dags.planning.types import (
    Experiment,
    ExperimentsPlan,
    FoundExperiment,
    OpenedExperiment,
    Params,
    RunsToClose,
)
from nucleus_dags.plates.stored import StoredPlate, newest_plates

Wanted = Mapping[str, Sequence[str]]
"""Plates of a matrix: `plates`, their names, and `cell_lines`; all without any."""

OF_OTHERS = ", on other plates than the published ones"
"""Behind the title of the page, where it holds."""
NO_WEIGHTS = "‡"
"""Behind an experiment that ran without the pretrained weights that it asks for, as in the tables."""
TRAINING_TABLE = "training"
"""The kind of a table for which training plates are scored too."""


def plan(form: Mapping[str, Any], store: Path, dag_run_id: str) -> ExperimentsPlan:
    """Give the params of every task. Raises FormError, before anything is spent."""
    matrix = read_matrix(form["matrix"])
    scale = float(form["scale"])
    every = experiments_of(matrix, scale)
    chosen = chosen_rows(matrix, every, names_in(form["tables"]), names_in(form["rows"]))
    train, test = (newest_plates(store, role) for role in ("train", "test"))
    test_on = matrix.content.get("test") or {}
    _refuse_missing_plates(matrix, [(one["train_on"], train, "train") for one in chosen] + [(test_on, test, "test")])
    published = matrix.content.get("published_plates") or ()
    test = _plates_of(test_on, test, published)
    plates = {e["name"]: _plates_of(e["train_on"], train, published) for e in every}
    _refuse_doubtful_labels(plate for one in chosen for plate in plates[one["name"]])
    overfitting = _names_in_tables(matrix, every, TRAINING_TABLE)
    asked = [_asked(experiment, plates, overfitting) for experiment in every]
    used = {plate.path: plate for plate in (*(p for of_one in plates.values() for p in of_one), *test)}
    names = {experiment["name"] for experiment in chosen}
    # The page of the matrix is one for all its runs: experiments that aren't chosen now may have scores too.
    sought = [e for e in every if e["name"] in names or not list(_missing_plates(e["train_on"], train, "train"))]
    others = [plate.name for plate in used.values() if published and plate.name not in published]
    title = f"{matrix.content.get('title') or matrix.name}, scale {scale:g}{OF_OTHERS if others else ''}"
    prices = _prices(matrix, form)
    tables = {"title": title, "plates": list(used), "prices": prices, "scale": scale, **_tables(matrix, sought)}
    if problems := list(problems_of_tables(tables)):
        raise FormError(f"The matrix {matrix.name} can't be used: {'; '.join(problems)}.")
    matrix_id = f"matrix {matrix.name} {_digest([asked, [plate.path for plate in test]])}"
    asked_by_name = {experiment["name"]: experiment for experiment in asked}
    return {
        "find": {
            "experiments": [asked_by_name[e["name"]] | {"is_chosen": e["name"] in names} for e in sought],
            "test_plates": [plate.path for plate in test],
            "matrix": matrix_id,
            "dag_run_id": dag_run_id,
        },
        "open_run": {
            "experiment": form["experiment"],
            "dag_run_id": dag_run_id,
            "run_name": f"{matrix.name} at scale {scale:g} {matrix_id.rpartition(' ')[2]}",
            "belongs_to": matrix_id,
        },
        "tabulate": tables,
        "train_sets": _train_sets(matrix, chosen),
        "tags": {e["name"]: {**e["words"], "replicate": str(e["replicate"]), "scale": f"{scale:g}"} for e in chosen},
        "prices": prices,
        "stop_after_plan": form["stop_after_plan"],
        "remarks": [*_on_other_plates(others), *remarks_on(used.values())],
    }


def chosen_rows(
    matrix: Matrix, experiments: Sequence[Experiment], tables: Sequence[str], rows: Sequence[str]
) -> list[Experiment]:
    """Give the experiments of these tables, and of them those that match a line of words; all without any.

    A line such as "MRCNN, epochs=0.5X" matches what has all of its words. Raises FormError for unknown ones.
    """
    if unknown := [name for name in tables if name not in matrix.tables]:
        raise FormError(f"There is no table {unknown[0]!r}; {nearest(unknown[0], matrix.tables)}")
    of_tables = {row.key for table in tables or () for row in matrix.rows_of(table)}
    wanted = [_words_of_line(line, matrix) for line in rows]
    chosen = [
        experiment
        for experiment in experiments
        if (not tables or _key(experiment) in of_tables)
        and (not wanted or any(_matches(experiment, words) for words in wanted))
    ]
    if not chosen:
        raise FormError("No experiment is of these tables and has these words; leave one of the two fields empty.")
    return chosen


def _key(experiment: Experiment) -> tuple[str, ...]:
    return (*experiment["words"].values(), str(experiment["replicate"]))


def _words_of_line(line: str, matrix: Matrix) -> list[tuple[str | None, str]]:
    """Give column and word of each part of a line; a word of a single column may stand alone."""
    known = [word for column in matrix.columns.values() for word in column.words]
    words: list[tuple[str | None, str]] = []
    for part in (part.strip() for part in line.split(",")):
        name, is_named, word = part.rpartition("=")
        if is_named and (name not in matrix.columns or word not in matrix.columns[name].words):
            columns = matrix.columns[name].words if name in matrix.columns else matrix.columns
            raise FormError(f"Rows: {part!r} isn't known; {nearest(word if name in matrix.columns else name, columns)}")
        if not is_named and word not in known:
            raise FormError(f"Rows: no column has the word {word!r}; {nearest(word, dict.fromkeys(known))}")
        if not is_named and known.count(word) > 1:
            of = [name for name, column in matrix.columns.items() if word in column.words]
            raise FormError(f"Rows: {word!r} is a word of {' and '.join(of)}; write {of[0]}={word} or {of[1]}={word}.")
        words.append((name if is_named else None, word))
    return words


def _matches(experiment: Experiment, words: Iterable[tuple[str | None, str]]) -> bool:
    own = experiment["words"]
    return all(own[name] == word if name else word in own.values() for name, word in words)


def _names_in_tables(matrix: Matrix, experiments: Sequence[Experiment], kind: str) -> set[str]:
    of_kind = [name for name, table in matrix.tables.items() if table.get("kind") == kind]
    keys = {row.key for name in of_kind for row in matrix.rows_of(name)}
    return {experiment["name"] for experiment in experiments if _key(experiment) in keys}


def _refuse_missing_plates(matrix: Matrix, needed: Iterable[tuple[Wanted, Sequence[StoredPlate], str]]) -> None:
    """Raise FormError that names all plates that the store lacks, and says how they come into it."""
    missing = dict.fromkeys(text for one in needed for text in _missing_plates(*one))
    if missing:
        raise FormError(
            f"The matrix {matrix.name} needs plates that aren't in the store, or are retired: {'; '.join(missing)}. "
            "Put them into the inbox and unpause ingest_plates, which imports them; `make paper-plates` makes the "
            "paper's. Then trigger run_experiments again. Or change the matrix, or choose tables or rows that don't "
            "need them."
        )


def _missing_plates(wanted: Wanted, plates: Sequence[StoredPlate], role: str) -> Iterator[str]:
    lines, names = sorted({plate.cell_line for plate in plates}), [plate.name for plate in plates]
    if not plates and not wanted:
        yield f"any {role} plate"
    for line in wanted.get("cell_lines", ()):
        if line not in lines:
            yield f"a {role} plate of {line} ({nearest(line, lines)})"
    for name in wanted.get("plates", ()):
        if name not in names:
            yield f"the {role} plate {name} ({nearest(name, names)})"


def _plates_of(wanted: Wanted, plates: Sequence[StoredPlate], published: Collection[str]) -> list[StoredPlate]:
    """Give the plates of these names and cell lines, or all; of a cell line with published plates, only these."""
    named, lines = wanted.get("plates", ()), wanted.get("cell_lines", ())
    of_published = {plate.cell_line for plate in plates if plate.name in published}
    return [
        plate
        for plate in plates
        if plate.name in named
        or (
            (not wanted or plate.cell_line in lines)
            and (plate.name in published or plate.cell_line not in of_published)
        )
    ]


def _on_other_plates(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [
        f"- **{', '.join(names)}** are not the plates that the published values are of. Other images give other "
        "scores: a difference from the published values says nothing about the method. `make paper-plates` makes the "
        "paper's plates."
    ]


def _refuse_doubtful_labels(plates: Iterable[StoredPlate]) -> None:
    doubtful = sorted({plate.name for plate in plates if not plate.trains})
    if doubtful:
        raise FormError(
            f"The labels of the training plates {', '.join(doubtful)} are in doubt; correct them, or confirm them by "
            '"labels_confirmed": true in plate.json.'
        )


def _asked(experiment: Experiment, plates: Mapping[str, Sequence[StoredPlate]], overfitting: Iterable[str]) -> Params:
    name = experiment["name"]
    paths = [plate.path for plate in plates[name]]
    variants = experiment["variants"]
    return {"name": name, "variants": variants, "plates": paths, "score_training": name in overfitting}


def _prices(matrix: Matrix, form: Mapping[str, Any]) -> Params:
    """Give what an hour costs: as the form says, else as the matrix does."""
    of_form = {name: form[name] for name in ("core_hour", "gpu_hour") if form[name] is not None}
    of_matrix = {name: price for name, price in (matrix.content.get("prices") or {}).items() if price is not None}
    return of_matrix | of_form


def _tables(matrix: Matrix, experiments: Sequence[Experiment]) -> Params:
    """Give what the matrix says of the params of `tabulate`, but for the scores."""
    return {
        "columns": {name: column.axis for name, column in matrix.columns.items()},
        "tables": [
            {"name": name, **{key: value for key, value in table.items() if key != "rows"}}
            | {"rows": [list(row.key) for row in matrix.rows_of(name)]}
            for name, table in matrix.tables.items()
        ],
        "findings": matrix.findings(),
        "experiments": [{"name": e["name"], "words": e["words"], "replicate": e["replicate"]} for e in experiments],
        "published": matrix.content.get("published"),
    }


def _train_sets(matrix: Matrix, experiments: Iterable[Experiment]) -> dict[str, str]:
    """Give the words of each experiment that choose its training plates."""
    choosing = [
        name
        for name, column in matrix.columns.items()
        if any(params.keys() & set(OF_PLATES) for params in column.words.values())
    ]
    return {e["name"]: " · ".join(e["words"][name] for name in choosing) for e in experiments}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def read_found(store: Path, found: str) -> dict[str, Any]:
    """Read what `find_experiments` found."""
    content: dict[str, Any] = json.loads(in_store(store, found).read_text())
    return content


def chosen_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Give of what was found the experiments that were chosen in the form, and their ROI sets."""
    experiments = [one for one in found["experiments"] if one["is_chosen"]]
    needed = {one["rois"] for one in experiments}
    rois = {key: of_key for key, of_key in found["rois"].items() if key in needed}
    return {**found, "experiments": experiments, "rois": rois}


def to_do(found: Mapping[str, Any]) -> list[FoundExperiment]:
    """Give the experiments that aren't in the store or not in MLflow, as a whole."""
    return [one for one in found["experiments"] if not (one["scores"] and one["is_logged"])]


def rois_to_make(found: Mapping[str, Any]) -> list[str]:
    """Give the keys of the ROI sets that are needed and aren't there."""
    needed = {one["rois"] for one in to_do(found) if not (all(one["trained"]) and one["is_calibrated"])}
    return [key for key, rois in found["rois"].items() if key in needed and not rois["is_stored"]]


def named_rois(planned: ExperimentsPlan, found: Mapping[str, Any]) -> list[Params]:
    """Give the ROI sets to make as parts of `augment`: key, params, and a name of train set, amount, augmentation."""
    train_sets = {one["rois"]: planned["train_sets"][one["name"]] for one in reversed(found["experiments"])}
    params = {key: found["rois"][key]["params"] for key in rois_to_make(found)}
    return [
        {"key": key, "name": _name_of_rois(train_sets[key], of_key), "params": of_key} for key, of_key in params.items()
    ]


def _name_of_rois(train_set: str, params: Mapping[str, Any]) -> str:
    parts = [train_set, f"{params['rois']:,} ROIs", params.get("augmentation", "")]
    return " · ".join(filter(None, parts))


def params_of_rois(rois: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `augment` for a ROI set."""
    params: Params = rois["params"]
    return params


def runs_of_experiments(planned: ExperimentsPlan, experiments: Sequence[FoundExperiment]) -> Params:
    """Give the params of `open_run`: a child with tags for each experiment that is run."""
    variants = {e["name"]: e["variants"] for e in planned["find"]["experiments"]}
    tags = [
        planned["tags"][one["name"]]
        | {"weights": initial_weights_of(variants[one["name"]][one["variant"]])}
        | ({"weights_missing": one["missing"]} if one["missing"] else {})
        for one in experiments
    ]
    return {**planned["open_run"], "children": [one["name"] for one in experiments], "tags_of_children": tags}


def opened_experiments(opened: Result, known: Mapping[str, Any]) -> list[OpenedExperiment]:
    """Hand on, of `open_run`, each experiment with its MLflow run."""
    experiments: Sequence[FoundExperiment] = known["experiments"]
    children: Sequence[str] = opened["values"]["children"]
    return [{**one, "mlflow_run_id": run_id} for one, run_id in zip(experiments, children, strict=True)]


def trainings_of_experiment(experiment: Mapping[str, Any], known: Mapping[str, Any]) -> list[Params]:
    """Give the params of each training of an experiment, one after the other."""
    return [{**training, "mlflow_run_id": experiment["mlflow_run_id"]} for training in experiment["trainings"]]


def networks_of(trained: Sequence[Result], known: Mapping[str, Any]) -> list[str]:
    """Hand on, of the trainings, their networks."""
    return [result["outputs"]["network"] for result in trained]


def calibration_of_experiment(experiment: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `calibrate`, from the networks."""
    return {**experiment["model"], "networks": known["networks"], "mlflow_run_id": experiment["mlflow_run_id"]}


def segmentations_of(experiment: Mapping[str, Any], known: Mapping[str, Any]) -> list[Params]:
    """Give the params of `segment` for each plate."""
    plates = [plate for of_role in experiment["plates"].values() for plate in of_role]
    return [{**known["model"], "plate": plate} for plate in dict.fromkeys(plates)]


def segmented_plates(segmented: Sequence[Result], known: Mapping[str, Any]) -> dict[str, str]:
    """Hand on, of `segment`, each segmentation by its plate."""
    return {result["params"]["plate"]: result["outputs"]["segmentation"] for result in segmented}


def scorings_of(experiment: Mapping[str, Any], known: Mapping[str, Any]) -> list[Params]:
    """Give the params of `score` on the test plates, and on the training plates, which MLflow's run isn't shown."""
    of_roles = [plates for plates in experiment["plates"].values() if plates]
    scorings = [{"segmentations": [known["segmented"][plate] for plate in plates]} for plates in of_roles]
    runs = [experiment["mlflow_run_id"], *[None] * (len(scorings) - 1)]
    return [{**scoring, "mlflow_run_id": run_id} for scoring, run_id in zip(scorings, runs, strict=True)]


def scored_experiment(scored: Sequence[Result], known: Mapping[str, Any]) -> Params:
    """Hand on, of `score`, the scores of an experiment."""
    paths = [result["outputs"]["scores"] for result in scored]
    return {
        "name": known["experiment"]["name"],
        "missing": known["experiment"]["missing"],
        "scores": paths[0],
        "training_scores": paths[1] if len(paths) > 1 else None,
        "metrics": {name: value for name, value in scored[0]["metrics"].items() if name.endswith("/all")},
        "own_proposals": scored[0]["counts"].get("own_proposals", 0),
    }


def tables_of(planned: Mapping[str, Any], found: Mapping[str, Any], scored: Sequence[Mapping[str, Any]]) -> Params:
    """Give the params of `tabulate` for all of the matrix that has scores. Without any there is nothing to show."""
    of_name = {one["name"]: one for one in found["experiments"] if one["scores"]}
    of_name |= {one["name"]: one for one in scored}
    found_by_name = {one["name"]: one for one in found["experiments"]}
    experiments = [
        {
            **experiment,
            "scores": of_name[experiment["name"]]["scores"],
            "training_scores": of_name[experiment["name"]]["training_scores"],
            "key": found_by_name[experiment["name"]]["key"],
            "missing_weights": found_by_name[experiment["name"]]["missing"],
        }
        for experiment in planned["experiments"]
        if experiment["name"] in of_name and experiment["name"] in found_by_name
    ]
    return {**planned, "experiments": experiments}


def failed_experiments(opened: Sequence[Mapping[str, Any]], scored: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the names of the experiments that were run and have no scores."""
    names = {one["name"] for one in scored}
    return [experiment["name"] for experiment in opened if experiment["name"] not in names]


def runs_of_matrix(
    mlflow_run_id: str,
    opened: Sequence[Mapping[str, Any]],
    scored: Sequence[Mapping[str, Any]],
    succeeded: bool,
) -> RunsToClose:
    """Give the params of `close_run`; experiments that were scored are finished, whatever became of others."""
    failed = failed_experiments(opened, scored)
    runs = [experiment["mlflow_run_id"] for experiment in opened if experiment["name"] in failed]
    # Only those that are finished aren't run again.
    failed_runs = runs if succeeded and not failed else [*runs, mlflow_run_id]
    return {**runs_to_close(mlflow_run_id, opened, True), "failed": failed_runs}


def score_lines(scored: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the lines of a Markdown table of F1 of the experiments of this run, the best first."""
    if not scored:
        return []
    columns = [f"f1_at_{at}/all" for at in manifest()["shown_iou_thresholds"]]
    rows = sorted(scored, key=lambda one: -one["metrics"][columns[0]])
    titles = " | ".join(f"F1 at {at}" for at in manifest()["shown_iou_thresholds"])
    marks = [mark_of(one["own_proposals"]) for one in rows]
    names = [f"{one['name']} {NO_WEIGHTS}" if one["missing"] else one["name"] for one in rows]
    values = [
        " | ".join([name, *(f"{one['metrics'][column]:.3f}{mark}" for column in columns)])
        for name, one, mark in zip(names, rows, marks, strict=True)
    ]
    lines = [f"| experiment | {titles} |", "|---" * (len(columns) + 1) + "|", *(f"| {row} |" for row in values)]
    without = any(one["missing"] for one in rows)
    remark = ["", f"{NO_WEIGHTS} ran without the pretrained weights that it asks for"] if without else []
    return [*lines, *explained(any(marks)), *remark]
