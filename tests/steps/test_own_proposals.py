"""A score against labels that the scored model itself proposed says so, wherever it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tasks.contract import execute
from tasks.nuclei.plates.origins import write_origins
from tasks.steps import judge, report, score
from tasks.store.provenance import own_proposals
from tests.stored_results import add_model, add_plate, add_segmentation, count_own

TRUTH = [1, 1, 0, 2, 2, 0, 3, 3, 0, 4, 4, 0]
ONE, TWO, THREE = "1" * 16, "2" * 16, "3" * 16


def say_origins(plate: Path, *proposed_by: str) -> None:
    rows = [("a", label, "accepted", "version 1", by) for label, by in enumerate(proposed_by, start=1)]
    write_origins(pd.DataFrame(rows, columns=["fov", "label", "origin", "model", "proposed_by"]), plate)


def scored(store: Path, name: str, own: int) -> str:
    segmentation = add_segmentation(store, "ingest/p1@0123456789ab", {"a": TRUTH}, name)
    count_own(store, segmentation, own)
    return execute(score.TASK, score.Params(segmentations=[segmentation]), store).outputs["scores"]


@pytest.mark.parametrize(
    ("networks", "number"),
    [
        pytest.param(TWO, 2, id="by itself, and by the model that it began from"),
        pytest.param(ONE, 1, id="by itself"),
        pytest.param(THREE, 0, id="by others alone"),
    ],
)
def test_labels_are_a_models_own_if_it_or_one_before_it_proposed_them(
    networks: str, number: int, tmp_path: Path
) -> None:
    plate = add_plate(tmp_path, "p1", "U2OS", {"a": TRUTH})
    add_model(tmp_path, ONE, [plate])
    add_model(tmp_path, TWO, [plate], f"train_fpn2_ws/{ONE}")
    add_model(tmp_path, THREE, [plate])
    say_origins(tmp_path / plate, f"fpn2_ws:train_fpn2_ws/{ONE}", f"fpn2_ws:train_fpn2_ws/{TWO}", "classical:", "")
    assert own_proposals("fpn2_ws", [f"train_fpn2_ws/{networks}"], tmp_path / plate, tmp_path) == number


def test_a_plate_that_says_nothing_of_its_labels_has_none(tmp_path: Path) -> None:
    plate = add_plate(tmp_path, "p1", "U2OS", {"a": TRUTH})
    assert own_proposals("fpn2_ws", ["train_fpn2_ws/none"], tmp_path / plate, tmp_path) == 0


def test_scores_the_report_and_the_gate_say_how_many_of_the_true_labels_are_the_models_own(tmp_path: Path) -> None:
    add_plate(tmp_path, "p1", "U2OS", {"a": TRUTH})
    flattered, fair = scored(tmp_path, "champion", 3), scored(tmp_path, "challenger", 0)
    content = json.loads((tmp_path / flattered / "result.json").read_text())
    assert content["counts"]["own_proposals"] == 3
    shown = execute(report.TASK, report.Params(scores={"fpn2_ws": flattered}), tmp_path)
    assert "3 of the 4 true labels were proposed by this model" in (tmp_path / shown.outputs["report"]).read_text()
    assert "fpn2_ws: 3 of the 4 true labels were proposed" in (tmp_path / shown.outputs["summary"]).read_text()
    judged = execute(judge.TASK, judge.Params(champion=flattered, challenger=fair), tmp_path)
    judgement = json.loads((tmp_path / judged.outputs["judgement"]).read_text())
    assert judgement["remarks"] == [
        "3 of the true labels were proposed by the champion, or one that it began from: F1 favours it"
    ]


def test_a_fair_score_is_not_marked(tmp_path: Path) -> None:
    add_plate(tmp_path, "p1", "U2OS", {"a": TRUTH})
    shown = execute(report.TASK, report.Params(scores={"fpn2_ws": scored(tmp_path, "fair", 0)}), tmp_path)
    assert "were proposed by this model" not in (tmp_path / shown.outputs["report"]).read_text()
