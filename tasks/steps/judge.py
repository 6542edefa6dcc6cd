"""Judge a challenger against the champion: both scored on the same test plates, the gate's rules one by one.

Writes rules.csv (one row per rule and cell line), plates.csv (nuclei gained and lost on each plate), gained.png and
lost.png (nuclei that one of them finds alone, at IoU 0.7) and judgement.json, which says whether the challenger
passed, failed, or can't be judged on so few nuclei, and why.
"""

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pydantic

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.nuclei import figures, judgement
from tasks.nuclei.errors import InputError
from tasks.nuclei.judgement import Gate, GateOutcome, ModelScores, RuleOutcome
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.image_files import read_image, read_label_image, read_numbered
from tasks.nuclei.tables import write_csv
from tasks.store.provenance import plate_at, plate_of_segmentation, result_of, segmentations_of_scores

EXAMPLES = 8

log = logging.getLogger("nucleus")


class Params(TaskParams):
    champion: str
    """Output of `score` for the model in force."""
    challenger: str
    """Output of `score` for the candidate, on the same plates."""
    gate: Gate = Gate()
    """What the challenger must fulfil."""
    candidates: int = pydantic.Field(default=1, ge=1)
    """How many candidates are judged on these plates to take the best of them: their CIs are the wider."""


@dataclass(frozen=True)
class ScoredModel:
    """What one model made of each test plate, and its scores."""

    scores: ModelScores
    plates: dict[str, str]
    """Imported plates by name, as paths in the store."""
    labels: dict[str, Path]
    """Folders of the predicted label images, by the plate's name."""


def run(params: Params, workspace: Workspace) -> Outcome:
    champion, challenger = (_open_model(path, workspace) for path in (params.champion, params.challenger))
    if champion.plates != challenger.plates:
        raise InputError(
            f"The champion was scored on {', '.join(champion.plates.values())}, the challenger on "
            f"{', '.join(challenger.plates.values())}; score both on the same plates."
        )
    rules = judgement.apply_gate(champion.scores, challenger.scores, params.gate, params.candidates)
    true = judgement.paired(champion.scores, challenger.scores)
    gained, lost = judgement.gained(true), judgement.lost(true)
    plates = _plate_table(true, gained, lost)
    write_csv(plates, workspace.output_dir / "plates.csv")
    write_csv(_rule_table(rules), workspace.output_dir / "rules.csv")
    failures = [_failure(rule, plates) for rule in rules if rule.verdict == "broken"]
    undecided = list(_undecided(rules, true))
    warnings = [_warning(rule) for rule in rules if rule.verdict == "warning"]
    outcome = judgement.outcome_of(rules)
    remarks = list(_remarks(params, workspace.store))
    said = {"failures": failures, "undecided": undecided, "warnings": warnings, "remarks": remarks}
    _write_judgement(outcome, rules, said, workspace.output_dir / "judgement.json")
    outputs = {"judgement": "judgement.json", "rules": "rules.csv", "plates": "plates.csv"}
    for name, nuclei in (("gained", gained), ("lost", lost)):
        if len(nuclei):
            _draw_examples(name, nuclei, champion, challenger, workspace)
            outputs[name] = f"{name}.png"
    for line in [*(failures + undecided or ["every rule holds"]), *warnings, *remarks]:
        log.info("%s: %s", outcome, line)
    counts = {"passed": int(outcome == "passed"), "gained": len(gained), "lost": len(lost), "plates": len(plates)}
    return Outcome(outputs, _metrics(rules), counts)


def log_result(params: Params, result: Result, store: Path) -> None:
    """Show the judgement in MLflow, and write it on the version of the model that it is about."""
    run = tracking.Run()
    run.log_points([tracking.Point(f"judge/{name}", value) for name, value in result.metrics.items()])
    run.log_params(params.gate.model_dump(), "gate")
    for name in result.outputs:
        run.log_artifact(store / result.outputs[name], "judge")
    judged = json.loads((store / result.outputs["judgement"]).read_text())
    # Why is in judgement.json, among the artifacts of the run.
    remarks = {"gate_remarks": "; ".join(judged["remarks"])} if judged["remarks"] else {}
    tags = {"gate": judged["outcome"]} | remarks
    run.set_tags(tags)
    run.tag_model_versions(tags)


def _open_model(path: str, workspace: Workspace) -> ScoredModel:
    segmentations = segmentations_of_scores(path, workspace.store)
    folder = workspace.input(path)
    tables = [folder / f"{kind}_nuclei.parquet" for kind in ("true", "predicted")]
    if not all(table.exists() for table in tables):
        raise InputError(f"{path} was scored without tables of nuclei, by an earlier version; score it again.")
    plates, labels = {}, {}
    for segmentation in segmentations:
        plate = plate_of_segmentation(segmentation, workspace.store)
        name = plate_at(plate, workspace.store).info.name
        plates[name], labels[name] = plate, workspace.input(segmentation) / "labels"
    scores = ModelScores(*(pd.read_parquet(table) for table in tables))
    return ScoredModel(scores, dict(sorted(plates.items())), labels)


def _plate_table(true: pd.DataFrame, gained: pd.DataFrame, lost: pd.DataFrame) -> pd.DataFrame:
    """One row per plate: plate, cell_line, true_nuclei, gained, lost."""
    columns = {"true_nuclei": true, "gained": gained, "lost": lost}
    counts = {name: nuclei.groupby(["plate", "cell_line"]).size() for name, nuclei in columns.items()}
    return pd.DataFrame(counts).fillna(0).astype(int).reset_index()


def _rule_table(rules: Iterable[RuleOutcome]) -> pd.DataFrame:
    return pd.DataFrame([asdict(rule) | {"difference": rule.difference} for rule in rules])


def _failure(rule: RuleOutcome, plates: pd.DataFrame) -> str:
    """One line on a rule that is broken, with the plates of its cell line."""
    concerned = plates if rule.cell_line == "mean" else plates[plates["cell_line"] == rule.cell_line]
    on_plates = ", ".join(
        f"{plate} ({lost} nuclei lost, {gained} gained)"
        for plate, lost, gained in zip(concerned["plate"], concerned["lost"], concerned["gained"], strict=True)
    )
    return f"{rule.rule}: {rule.cell_line}: {_found(rule)}; allowed is {rule.allowed}; on {on_plates}"


def _warning(rule: RuleOutcome) -> str:
    """One line on a rate that is bad though its rule holds."""
    return f"bad, though not shown to be worse than before: {rule.cell_line}: {_found(rule)}; allowed is {rule.allowed}"


def _undecided(rules: Sequence[RuleOutcome], true: pd.DataFrame) -> Iterator[str]:
    """One line for each cell line that has too few nuclei, with the rule that needs most."""
    open_rules = [rule for rule in rules if rule.verdict == "undecided"]
    for cell_line in sorted({rule.cell_line for rule in open_rules}):
        of_line = [rule for rule in open_rules if rule.cell_line == cell_line]
        worst = max(of_line, key=lambda rule: rule.more_nuclei)
        nuclei = true[true["cell_line"] == cell_line]
        fields = len(nuclei[["plate", "fov"]].drop_duplicates())
        yield (
            f"too few to decide: {cell_line} has {len(nuclei)} test nuclei in {fields} field{'s' * (fields != 1)} and "
            f"needs about {worst.more_nuclei} more, in further fields: {_found(worst)}"
        )


def _remarks(params: Params, store: Path) -> Iterator[str]:
    """Say it where labels of the test plates were proposed by one of the two, which has an advantage on them."""
    for name, scores in (("champion", params.champion), ("challenger", params.challenger)):
        number = result_of(scores, store).counts.get("own_proposals", 0)
        if number:
            yield f"{number} of the true labels were proposed by the {name}, or one that it began from: F1 favours it"


def _found(rule: RuleOutcome) -> str:
    return (
        f"{rule.metric} {rule.champion:.3f} -> {rule.challenger:.3f}, "
        f"95 % CI of the difference {rule.low:+.3f} to {rule.high:+.3f}"
    )


def _write_judgement(outcome: GateOutcome, rules: list[RuleOutcome], said: Mapping[str, list[str]], path: Path) -> None:
    content = {
        "outcome": outcome,
        **said,
        "mean_gain": next(rule.difference for rule in rules if rule.rule == "the mean does not fall"),
        "rules": _rule_table(rules).to_dict("records"),
    }
    path.write_text(json.dumps(content, indent=1))


def _metrics(rules: Iterable[RuleOutcome]) -> dict[str, float]:
    """Gain of every metric and cell line."""
    return {f"gain/{rule.metric}/{rule.cell_line}": rule.difference for rule in rules}


def _draw_examples(
    name: str, nuclei: pd.DataFrame, champion: ScoredModel, challenger: ScoredModel, workspace: Workspace
) -> None:
    """Draw the nuclei on which the models differ most."""
    difference = (nuclei["iou_challenger"] - nuclei["iou_champion"]).abs()
    chosen = nuclei.loc[difference.sort_values(ascending=False, kind="stable").index[:EXAMPLES]]
    examples = [
        _example(plate_at(champion.plates[plate], workspace.store), fov, label, champion, challenger)
        for plate, fov, label in zip(chosen["plate"], chosen["fov"], chosen["label"], strict=True)
    ]
    who = {"gained": "the challenger alone finds", "lost": "the champion alone finds"}[name]
    title = f"{len(examples)} of {len(nuclei)} nuclei that {who} at IoU 0.7"
    figures.examples_figure(examples, title).savefig(workspace.output_dir / f"{name}.png")


def _example(
    plate: Plate, fov_name: str, label: int, champion: ScoredModel, challenger: ScoredModel
) -> figures.NucleusExample:
    fov = _fov_named(plate, fov_name)
    assert fov.labels_path is not None
    mask = read_numbered(fov.labels_path).mask_of(label)
    part = figures.window_around(mask)
    of_champion, of_challenger = (
        read_label_image(model.labels[plate.info.name] / f"{fov.name}.tif")[part] for model in (champion, challenger)
    )
    grey = figures.display_grey(read_image(fov.image_path))[part]
    title, pixel_size_um = f"{plate.info.name}, {fov.name}", plate.info.pixel_size_um
    return figures.NucleusExample(title, grey, mask[part], of_champion, of_challenger, pixel_size_um)


def _fov_named(plate: Plate, name: str) -> Fov:
    return next(fov for fov in plate.fovs if fov.name == name)


TASK = Task(
    name="judge", version=4, params_type=Params, run=run, log=log_result, resources=Resources(PROCESSING, memory_gib=4)
)

if __name__ == "__main__":
    sys.exit(TASK.main())
