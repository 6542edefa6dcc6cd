"""What a matrix says on the paper's statements."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.steps.experiments.data import Data
from tasks.steps.experiments.differences import difference_of, pooled_spread
from tasks.steps.experiments.findings import findings_of, verdict_on

FINDING = {
    **{"paper": "FPN2-WS is better on round nuclei.", "table": "Table 1", "expected": "more"},
    **{"of": ["FPN2-WS", "Full"], "against": ["MRCNN", "Full"], "cell_lines": ["MCF10A", "U2OS"]},
}
TABLES = [{"name": "Table 1", "by": ["model"]}]


def data_of(f1: dict[tuple[str, str, int], float], weights: Mapping[str, str] = {}) -> Data:
    """Scores of experiments by model, cell line and replicate; of 100 true and 100 predicted nuclei each."""
    scores = [
        {
            **{"experiment": f"{model} {replicate}", "role": "Testing", "cell_line": line, "labels": "Manual"},
            **{"iou_threshold": 0.7, "tp": round(100 * value), "fp": 100 - round(100 * value)},
            **{"fn": 100 - round(100 * value), "word/model": model, "word/aug": "Full", "replicate": replicate},
            **{"plates": line, "is_counting": True, "weights": weights.get(model, ""), "own_proposals": 0},
        }
        for (model, line, replicate), value in f1.items()
    ]
    costs = [{"experiment": name, "cpu_hours": 0.5} for name in dict.fromkeys(str(row["experiment"]) for row in scores)]
    empty = pd.DataFrame()
    return Data(pd.DataFrame(scores), empty, empty, empty, pd.DataFrame(costs))


def found(f1: dict[tuple[str, str, int], float], **more: Any) -> list[dict[Any, Any]]:
    return findings_of([FINDING], TABLES, data_of(f1, **more), ["model", "aug"], "paper").to_dict("records")


def test_a_statement_agrees_when_the_whole_interval_of_the_difference_does() -> None:
    replicates = {("FPN2-WS", 1): 0.90, ("FPN2-WS", 2): 0.92, ("MRCNN", 1): 0.70, ("MRCNN", 2): 0.72}
    row = found({(model, "MCF10A", number): value for (model, number), value in replicates.items()})[0]
    assert row["difference"] == pytest.approx(0.2)
    # Both have a standard error of 0.01; of two degrees of freedom, t is 4.303.
    assert (row["low"], row["high"]) == pytest.approx(
        (0.2 - 4.303 * 0.01 * 2**0.5, 0.2 + 4.303 * 0.01 * 2**0.5), rel=1e-3
    )
    assert (row["verdict"], row["runs_of"], row["cpu_hours"]) == ("agrees", 2, 2.0)
    assert (row["of"], row["against"]) == ("FPN2-WS", "MRCNN")
    assert row["published"] == pytest.approx(0.973310 - 0.818383)


def test_single_runs_alone_leave_a_statement_undecided() -> None:
    row = found({("FPN2-WS", "MCF10A", 1): 0.9, ("MRCNN", "MCF10A", 1): 0.1})[0]
    assert np.isnan(row["low"])
    assert row["verdict"] == "undecided"


def with_augmentation(word: str, data: Data) -> Data:
    scores, costs = (table.assign(experiment=table["experiment"] + word) for table in (data.scores, data.costs))
    scores["word/aug"] = word
    return replace(data, scores=scores, costs=costs)


def test_an_interval_rests_on_the_replicates_of_all_experiments_of_the_model() -> None:
    full = data_of({("FPN2-WS", "MCF10A", number): value for number, value in [(1, 0.80), (2, 0.84)]})
    blurred = with_augmentation("Min_Blur", data_of({("FPN2-WS", "MCF10A", n): 0.8 + n / 100 for n in (1, 2, 3)}))
    none = with_augmentation("None", data_of({("FPN2-WS", "MCF10A", 1): 0.9}))
    others = with_augmentation("None", data_of({("MRCNN", "MCF10A", n): n / 10 for n in (1, 5, 9)}))
    parts = (full, blurred, none, others)
    data = replace(full, scores=pd.concat([p.scores for p in parts]), costs=pd.concat([p.costs for p in parts]))
    against = FINDING | {"of": ["FPN2-WS", "None"], "against": ["FPN2-WS", "Full"], "cell_lines": ["MCF10A"]}
    row = findings_of([against], TABLES, data, ["model", "aug"], None).iloc[0]
    # Squares about their means: 2 x 0.02^2 of two runs and 2 x 0.01^2 of three, with three degrees of freedom; t is
    # 3.182. The other model has no part in it.
    half = 3.18245 * (0.001 / 3 * (1 / 1 + 1 / 2)) ** 0.5
    assert (row["low"], row["high"]) == pytest.approx((0.08 - half, 0.08 + half), rel=1e-3)


def test_the_spread_of_several_experiments_is_that_about_the_mean_of_each() -> None:
    pooled = pooled_spread([[0.9, 0.92], [0.5, 0.7], [0.4]])
    assert pooled.variance == pytest.approx((2 * 0.01**2 + 2 * 0.1**2) / 2)
    assert pooled.degrees == 2
    none = pooled_spread([[0.9], [0.4]])
    assert np.isnan(none.variance)
    assert none.degrees == 0


def test_a_cell_line_or_an_experiment_without_scores_is_said_to_be_not_run() -> None:
    rows = found({("FPN2-WS", "MCF10A", 1): 0.9, ("MRCNN", "MCF10A", 1): 0.1})
    assert [(row["cell_line"], row["verdict"]) for row in rows] == [("MCF10A", "undecided"), ("U2OS", "not run")]
    assert found({("MRCNN", "MCF10A", 1): 0.1})[0]["verdict"] == "not run"


def test_an_experiment_without_its_pretrained_weights_says_nothing_on_them() -> None:
    both = {(model, "MCF10A", number): 0.5 for model in ("FPN2-WS", "MRCNN") for number in (1, 2)}
    assert found(both, weights={"MRCNN": "no mask_rcnn_coco.h5"})[0]["verdict"] == "not run"


def test_a_statement_on_one_experiment_compares_training_with_test_plates_or_labels_as_its_table_does() -> None:
    kinds = {"Table S4": "training", "Table S3": "annotations"}
    tables = [{"name": name, "by": ["model"], "kind": kind} for name, kind in kinds.items()]
    words = ["FPN2-WS", "Full"]
    alone = FINDING | {"expected": "same", "of": words, "against": words, "cell_lines": ["MCF10A"]}
    data = data_of({("FPN2-WS", "MCF10A", number): 0.9 for number in (1, 2)})
    usual = data.scores.assign(labels="Semi-Automated", f1_low=0.89, f1_high=0.91)
    training = usual.assign(role="Training", tp=91, fp=9, fn=9)
    manual = usual.assign(labels="Manual", is_counting=False, tp=70, fp=30, fn=30)
    both = replace(data, scores=pd.concat([usual, training, manual]))
    rows = findings_of([alone | {"table": name} for name in kinds], tables, both, ["model", "aug"], "paper")
    of_training, of_manual = rows.to_dict("records")
    assert [of_training[name] for name in ("both", "of", "against")] == ["FPN2-WS", "Training", "Testing"]
    assert (of_training["difference"], of_training["verdict"]) == (pytest.approx(0.01), "agrees")
    assert of_training["published"] == pytest.approx(0.999490 - 0.984141)
    # Both sides are the same two runs.
    assert (of_training["runs_of"], of_training["cpu_hours"]) == (2, 1.0)
    assert [of_manual[name] for name in ("both", "of", "against")] == ["FPN2-WS", "Manual", "Semi-Automated"]
    assert (of_manual["difference"], of_manual["verdict"]) == (pytest.approx(-0.2), "differs")
    assert of_manual["published"] == pytest.approx(0.986350 - 0.984141)


def test_a_statement_says_of_which_model_it_is_where_both_experiments_have_the_same() -> None:
    against = FINDING | {"of": ["FPN2-WS", "None"], "against": ["FPN2-WS", "Full"]}
    data = data_of({("FPN2-WS", "MCF10A", 1): 0.9})
    for table in ("Table 1", "of another matrix"):
        row = findings_of([against | {"table": table}], TABLES, data, ["model", "aug"], None).iloc[0]
        assert (row["both"], row["of"], row["against"]) == ("FPN2-WS", "None", "Full")


@pytest.mark.parametrize(
    ("expected", "first", "second", "verdict"),
    [
        ("more", [0.5, 0.52], [0.8, 0.82], "differs"),
        ("less", [0.5, 0.52], [0.8, 0.82], "agrees"),
        ("more", [0.5, 0.8], [0.5, 0.6], "undecided"),
        ("same", [0.90, 0.901], [0.91, 0.911], "agrees"),
        ("same", [0.90, 0.901], [0.95, 0.951], "differs"),
        ("same", [0.90, 0.99], [0.95, 0.951], "undecided"),
        ("not less", [0.90, 0.901], [0.5, 0.501], "agrees"),
        ("not less", [0.90, 0.901], [0.95, 0.951], "differs"),
        # Equal runs have no spread.
        ("same", [0.9, 0.9], [0.9, 0.9], "agrees"),
    ],
)
def test_a_verdict_is_what_the_interval_allows(
    expected: Any, first: list[float], second: list[float], verdict: str
) -> None:
    assert verdict_on(expected, difference_of(first, second)) == verdict
