"""A challenger judged against the champion, on fields of one line of pixels."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import Result, execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.judgement import Gate
from tasks.steps.judge import TASK, Params
from tasks.steps.score import TASK as SCORE
from tasks.steps.score import Params as ScoreParams
from tests.stored_results import add_plate, add_segmentation, count_own
from tests.tracked import track_in

TRUTH = [1, 1, 0, 2, 2, 0, 3, 3, 0, 4, 4, 0] * 2
TRUTH = [label + 4 * (x >= 12) if label else 0 for x, label in enumerate(TRUTH)]
ONE_MISSED = [0 if label == 8 else label for label in TRUTH]
ANOTHER_MISSED = [0 if label == 1 else label for label in TRUTH]
ONE_FOUND = [label if label == 3 else 0 for label in TRUTH]
THREE_MISSED = [0 if label in (1, 2, 8) else label for label in TRUTH]
FOVS = ("a", "b", "c")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for name, cell_line in (("first", "U2OS"), ("second", "HCT116")):
        add_plate(tmp_path, name, cell_line, dict.fromkeys(FOVS, TRUTH))
    return tmp_path


def scored(store: Path, model: str, predictions: dict[str, list[int]]) -> str:
    """Score a model that predicts this line in every field of a plate, by plates."""
    paths = []
    for plate, line in predictions.items():
        path = add_segmentation(store, f"ingest/{plate}@0123456789ab", dict.fromkeys(FOVS, line))
        moved = f"segment/{model}-{plate}"
        (store / path).rename(store / moved)
        paths.append(moved)
    return execute(SCORE, ScoreParams(segmentations=paths), store).outputs["scores"]


def judge(store: Path, champion: str, challenger: str, **gate: float) -> tuple[Result, dict]:
    result = execute(TASK, Params(champion=champion, challenger=challenger, gate=Gate(**gate)), store)
    return result, json.loads((store / result.outputs["judgement"]).read_text())


def test_a_better_challenger_passes_and_what_it_gained_is_shown(store: Path) -> None:
    champion = scored(store, "champion", {"first": THREE_MISSED, "second": TRUTH})
    challenger = scored(store, "challenger", {"first": TRUTH, "second": TRUTH})
    result, judgement = judge(store, champion, challenger)
    assert (judgement["outcome"], judgement["failures"], judgement["undecided"]) == ("passed", [], [])
    assert result.counts == {"passed": 1, "gained": 9, "lost": 0, "plates": 2}
    assert (store / result.outputs["gained"]).stat().st_size > 0
    assert "lost" not in result.outputs
    assert judgement["mean_gain"] == pytest.approx((1 - 2 * 5 / (2 * 5 + 3)) / 2)


def test_a_worse_one_fails_and_the_rule_the_cell_line_and_the_plate_are_named(store: Path) -> None:
    champion = scored(store, "champion", {"first": TRUTH, "second": ONE_MISSED})
    challenger = scored(store, "challenger", {"first": ONE_FOUND, "second": TRUTH})
    result, judgement = judge(store, champion, challenger)
    assert judgement["outcome"] == "failed"
    assert (result.counts["passed"], result.counts["gained"], result.counts["lost"]) == (0, 3, 21)
    (loss,) = (line for line in judgement["failures"] if line.startswith("no cell line loses: U2OS: f1_at_0.7"))
    assert "1.000 -> 0.222" in loss
    assert "first (21 nuclei lost, 0 gained)" in loss
    assert not any("HCT116" in line for line in judgement["failures"])
    assert any(line.startswith("no new error rate: U2OS: fn_rate 0.000 -> 0.875") for line in judgement["failures"])


def test_too_few_nuclei_are_said_to_be_too_few_for_each_cell_line(store: Path) -> None:
    champion = scored(store, "champion", {"first": ONE_MISSED, "second": TRUTH})
    challenger = scored(store, "challenger", {"first": ANOTHER_MISSED, "second": TRUTH})
    result, judgement = judge(store, champion, challenger)
    assert (judgement["outcome"], result.counts["passed"], judgement["failures"]) == ("undecided", 0, [])
    (line,) = judgement["undecided"]
    assert re.match(
        r"too few to decide: U2OS has 24 test nuclei in 3 fields and needs about \d+ more, in further fields: \w+", line
    )


def test_each_rule_has_its_line_in_the_table(store: Path) -> None:
    same = scored(store, "champion", {"first": ONE_MISSED, "second": TRUTH})
    result, _ = judge(store, same, same)
    rules = pd.read_csv(store / result.outputs["rules"])
    assert rules.groupby(["rule", "cell_line"]).size().to_dict() == {
        ("no cell line loses", "HCT116"): 3,
        ("no cell line loses", "U2OS"): 3,
        ("no new error rate", "HCT116"): 4,
        ("no new error rate", "U2OS"): 4,
        ("the mean does not fall", "mean"): 1,
    }


def test_another_gate_lets_the_same_challenger_pass(store: Path) -> None:
    champion = scored(store, "champion", {"first": TRUTH})
    challenger = scored(store, "challenger", {"first": ONE_MISSED})
    assert judge(store, champion, challenger)[1]["outcome"] == "undecided"
    assert judge(store, champion, challenger, most_loss=0.5, most_rate_rise=0.5)[1]["outcome"] == "passed"


def test_scores_on_other_plates_are_refused(store: Path) -> None:
    champion, challenger = scored(store, "a", {"first": TRUTH}), scored(store, "b", {"second": TRUTH})
    with pytest.raises(InputError, match="score both on the same plates"):
        judge(store, champion, challenger)


@pytest.fixture
def registered_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Version 1, registered by the MLflow run of the retraining."""
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("retraining", "dag run", "name"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("")
    tracking.Run().register_model(tmp_path / "model", "0123", {}, "A model.")


@pytest.mark.usefixtures("registered_version")
def test_mlflow_shows_the_gains_and_the_outcome_at_run_and_version(store: Path) -> None:
    champion = scored(store, "champion", {"first": TRUTH})
    challenger = scored(store, "challenger", {"first": ONE_MISSED})
    judge(store, champion, challenger)
    run = MlflowClient().get_run(tracking.Run().id or "")
    assert run.data.tags["gate"] == "undecided"
    assert run.data.metrics["judge/gain/f1_at_0.7/U2OS"] == pytest.approx(2 * 7 / (2 * 7 + 1) - 1)
    assert {item.path for item in MlflowClient().list_artifacts(run.info.run_id, "judge")} >= {"judge/lost.png"}
    found = tracking.find_model("1")
    assert found is not None
    assert found.tags["gate"] == "undecided"
    assert "gate_failures" not in found.tags
    assert "gate_remarks" not in found.tags


@pytest.mark.usefixtures("registered_version")
def test_mlflow_says_at_run_and_version_that_the_gate_was_passed_on_labels_that_one_of_them_proposed(
    store: Path,
) -> None:
    challenger = scored(store, "challenger", {"first": TRUTH})
    count_own(store, challenger, 3)
    judge(store, scored(store, "champion", {"first": TRUTH}), challenger)
    remark = "3 of the true labels were proposed by the challenger, or one that it began from: F1 favours it"
    found = tracking.find_model("1")
    assert found is not None
    assert found.tags["gate_remarks"] == remark
    assert MlflowClient().get_run(tracking.Run().id or "").data.tags["gate_remarks"] == remark
