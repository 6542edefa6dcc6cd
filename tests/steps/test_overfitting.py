"""Whether models do better on training plates than on test plates."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.steps.experiments.data import Data
from tasks.steps.experiments.differences import Difference
from tasks.steps.experiments.overfitting import overfitting_of, verdict_on_overfitting, verdicts

SPEC = {"name": "Table S4", "by": ["model"], "at": [0.7], "kind": "training"}


def found(f1: Mapping[tuple[str, int], float], half_width: float = np.nan) -> list[dict[Any, Any]]:
    """Compare scores of FPN2-WS on MCF10A by role and replicate, each with an interval over fields."""
    scores = [
        {
            **{"experiment": f"no. {replicate}", "role": role, "cell_line": "MCF10A", "labels": "Manual"},
            **{"iou_threshold": 0.7, "tp": round(1000 * value), "fp": 1000 - round(1000 * value)},
            **{"fn": 1000 - round(1000 * value), "word/model": "FPN2-WS", "replicate": replicate},
            **{"is_counting": True, "weights": "", "f1_low": value - half_width, "f1_high": value + half_width},
        }
        for (role, replicate), value in f1.items()
    ]
    empty = pd.DataFrame()
    data = Data(pd.DataFrame(scores), empty, empty, empty, empty)
    spec = SPEC | {"rows": [["FPN2-WS", str(number)] for number in (1, 2)]}
    return overfitting_of(spec, data, ["model"], "paper").to_dict("records")


def test_a_single_run_has_the_interval_of_two_independent_scores_beside_the_paper_s_difference() -> None:
    (row,) = found({("Training", 1): 0.95, ("Testing", 1): 0.80}, 0.03)
    assert (row["training"], row["testing"], row["difference"]) == pytest.approx((0.95, 0.80, 0.15))
    assert (row["low"], row["high"]) == pytest.approx((0.15 - 0.03 * 2**0.5, 0.15 + 0.03 * 2**0.5))
    assert row["published"] == pytest.approx(0.999490 - 0.984141)
    assert (row["over"], row["verdict"]) == ("fields", "overfitted")


def test_replicates_have_the_interval_of_their_spread() -> None:
    of_training = {("Training", 1): 0.90, ("Training", 2): 0.92}
    (row,) = found(of_training | {("Testing", 1): 0.70, ("Testing", 2): 0.72}, 0.5)
    # Both have a standard error of 0.01; of two degrees of freedom, t is 4.303.
    assert row["low"] == pytest.approx(0.2 - 4.303 * 0.01 * 2**0.5, rel=1e-3)
    assert (row["over"], row["verdict"]) == ("replicates", "overfitted")


def test_without_an_interval_or_without_scores_of_training_plates_nothing_is_told() -> None:
    assert found({("Training", 1): 0.95, ("Testing", 1): 0.5})[0]["verdict"] == "no difference can be told"
    assert found({("Testing", 1): 0.5}) == []


@pytest.mark.parametrize(
    ("training", "difference", "verdict"),
    [
        (0.9, Difference(0.10, 0.05, 0.15), "overfitted"),
        (0.9, Difference(0.10, -0.01, 0.21), "no difference can be told"),
        (0.9, Difference(0.01, -0.01, 0.029), "not overfitted"),
        (0.9, Difference(-0.10, -0.15, -0.05), "better on test plates"),
        # The paper concludes nothing from such scores.
        (0.4, Difference(0.10, 0.05, 0.15), "F1 is too low to tell"),
    ],
)
def test_a_verdict_on_overfitting_is_what_the_interval_allows(
    training: float, difference: Difference, verdict: str
) -> None:
    assert verdict_on_overfitting(training, training - difference.value, difference) == verdict


def test_verdicts_of_a_model_name_the_cell_lines_and_thresholds() -> None:
    rows = [("MCF10A", 0.7, "not overfitted"), ("U2OS", 0.7, "overfitted"), ("U2OS", 0.9, "overfitted")]
    table = pd.DataFrame(rows, columns=["cell_line", "iou_threshold", "verdict"]).assign(row="FPN2-WS")
    assert verdicts(table) == {"FPN2-WS": "not overfitted (MCF10A / 0.7); overfitted (U2OS / 0.7, U2OS / 0.9)"}
