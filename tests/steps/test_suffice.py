"""Which models are good enough on a plate of one line of pixels."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import Result, execute
from tasks.nuclei.sufficiency import Score
from tasks.steps.score import TASK as SCORE
from tasks.steps.score import Params as ScoreParams
from tasks.steps.suffice import TASK, Params
from tests.stored_results import add_model, add_plate, add_segmentation, store_result
from tests.tracked import track_in

FOVS = 12
TRUTH = [pixel for nucleus in range(1, 41) for pixel in (nucleus, nucleus, 0)]
HALF = [0 if pixel > 20 else pixel for pixel in TRUTH]
SOME = [0 if pixel > 31 else pixel for pixel in TRUTH]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    add_plate(tmp_path, "plate", "U2OS", {f"f{number}": TRUTH for number in range(FOVS)})
    return tmp_path


def scored(store: Path, name: str, line: list[int], **params: Any) -> str:
    """Score a model that predicts this line in every field; `params` are in place of those of its segmentation."""
    path = add_segmentation(store, "ingest/plate@0123456789ab", {f"f{number}": line for number in range(FOVS)}, name)
    own = {"method": "fpn2_ws", "networks": [], "settings": {}, "plate": "ingest/plate@0123456789ab", **params}
    store_result(store, path, own, {"segmentation": path})
    return execute(SCORE, ScoreParams(segmentations=[path]), store).outputs["scores"]


def ask(store: Path, scores: dict[str, str], **params: Any) -> tuple[Result, dict[str, list[str]]]:
    """Give the result, and the answers at IoU 0.7 and 0.9 by model."""
    result = execute(TASK, Params(scores=scores, dag_run_id="asks", **params), store)
    table = pd.read_csv(store / result.outputs["answers"])
    return result, {str(model): rows["answer"].tolist() for model, rows in table.groupby("model")}


@pytest.mark.parametrize(
    ("score", "answer"),
    [
        (Score(0.9, 0.85, 0.95), "good enough"),
        (Score(0.85, 0.8, 0.9), "good enough"),
        (Score(0.82, 0.75, 0.9), "can't be told"),
        (Score(0.7, 0.6, 0.79), "not good enough"),
    ],
)
def test_a_score_is_good_enough_only_if_its_whole_interval_says_so(score: Score, answer: str) -> None:
    assert score.answer(0.8) == answer


def test_four_times_the_nuclei_halve_an_interval_that_reaches_twice_too_far() -> None:
    assert Score(0.875, 0.75, 1.0).nuclei_lacking(0.8125, nuclei=100) == 300


def test_only_the_side_of_an_interval_that_reaches_too_far_counts() -> None:
    assert Score(0.875, 0.75, 0.9).nuclei_lacking(0.8125, nuclei=100) == 300
    assert Score(0.75, 0.5, 0.875).nuclei_lacking(0.8125, nuclei=100) == 300


def test_the_answers_are_by_the_levels_that_a_person_gives(store: Path) -> None:
    scores = {"all": scored(store, "all", TRUTH), "half": scored(store, "half", HALF)}
    result, answers = ask(store, scores)
    assert answers["all"] == ["good enough", "good enough"]
    assert answers["half"] == ["not good enough", "good enough"]
    assert result.values["in_short"] == (
        "Good enough at IoU 0.7 (F1 0.8 or more): all; at IoU 0.9 (F1 0.6 or more): all, half"
    )
    page = (store / result.outputs["page"]).read_text()
    assert "<h1>Which models are good enough for plate?</h1>" in page
    assert "not good enough" in page
    assert "A training: " in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    _, lower = ask(store, scores, least_f1_of_objects=0.5, least_f1_of_outlines=0.5)
    assert lower["half"] == ["good enough", "good enough"]


def test_where_it_cannot_be_told_it_is_said_how_many_more_nuclei_would_tell(store: Path) -> None:
    result, answers = ask(store, {"some": scored(store, "some", SOME)}, least_f1_of_objects=0.86)
    assert answers["some"][0] == "can't be told"
    assert any(line.startswith("- At 0.7 it can't be told on 480 nuclei; more in") for line in result.values["lines"])


def test_where_patches_were_chosen_f1_is_that_of_random_ones(store: Path) -> None:
    scores = scored(store, "half", HALF)
    table = pd.read_csv(store / scores / "f1.csv")
    table.assign(f1=0.9, f1_low=0.85, f1_high=0.95, tp=9, fn=1).to_csv(store / scores / "f1_at_random.csv", index=False)
    result, answers = ask(store, {"half": scores})
    assert answers["half"] == ["good enough", "good enough"]
    assert result.counts["true_nuclei"] == 10
    assert any("F1 is of those alone that were drawn at random" in line for line in result.values["lines"])
    table.iloc[:0].to_csv(store / scores / "f1_at_random.csv", index=False)
    difficult = execute(TASK, Params(scores={"half": scores}, dag_run_id="asks later"), store)
    assert any("F1 is of difficult patches" in line for line in difficult.values["lines"])


def test_a_model_is_not_judged_on_a_plate_that_it_was_trained_on(store: Path) -> None:
    add_model(store, "1" * 16, ["ingest/plate@ffffffffffff"])
    scores = scored(store, "own", TRUTH, networks=[f"train_fpn2_ws/{'1' * 16}"])
    result, answers = ask(store, {"own": scores})
    assert answers["own"] == ["was trained on this plate"] * 2
    assert "none" in result.values["in_short"]


def test_what_a_training_costs_is_that_of_the_last_one_or_said_in_words(store: Path) -> None:
    scores = {"all": scored(store, "all", TRUTH)}
    without, _ = ask(store, scores)
    assert without.values["lines"][-1].startswith(
        "- A training: none is in the store to go by; usually minutes on a CPU"
    )
    store_result(store, "augment/1", {"rois": 2000})
    store_result(store, "train_fpn2_ws/1", {"rois": "augment/1/rois.h5", "cycles": 4})
    path = store / "train_fpn2_ws/1/result.json"
    path.write_text(path.read_text().replace('"metrics":{}', '"metrics":{"training_seconds":800.0}'))
    measured = execute(TASK, Params(scores=scores, dag_run_id="asks later"), store)
    assert measured.values["lines"][-1].startswith(
        "- A training: the last one here took 13 min on CPUs (train_fpn2_ws: 2,000 ROIs, 4 epochs, 10 ROIs a second)"
    )


def test_the_answers_are_in_mlflow(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = scored(store, "all", TRUTH)
    track_in(store, monkeypatch)
    monkeypatch.chdir(store)
    run_id = tracking.open_run("experiments", "dag run", "name")
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    ask(store, {"all": scores})
    assert {file.path for file in MlflowClient().list_artifacts(run_id, "suffice")} == {
        "suffice/answers.csv",
        "suffice/answers.html",
    }
