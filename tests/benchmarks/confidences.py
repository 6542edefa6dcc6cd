"""What would a minimum confidence remove, and what would it cost? Prints a line for each.

    python -m tests.benchmarks.confidences STORE SCORES

SCORES is an output of `score`, such as score/0123456789abcdef, of plates that were segmented with `min_confidence` 0.
A nucleus counts as false without an IoU of 0.5 or more with a true one. The first line has the area under the ROC
curve: how probably a true nucleus has a higher confidence than a false one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from tasks.nuclei.tables import read_nuclei
from tasks.store.provenance import segmentations_of_scores

TRUE_FROM_IOU = 0.5
CONFIDENCES = (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9)
NUCLEUS = ["plate", "fov", "label"]


def scored_nuclei(store: Path, scores: str) -> pd.DataFrame:
    """Give one row per nucleus that was found: its confidence and its best IoU."""
    found = [read_nuclei(store / path / "nuclei.csv") for path in segmentations_of_scores(scores, store)]
    iou = pd.read_parquet(store / scores / "predicted_nuclei.parquet", columns=[*NUCLEUS, "iou"])
    return pd.concat(found, ignore_index=True).merge(iou, on=NUCLEUS, validate="one_to_one")


def print_table(nuclei: pd.DataFrame) -> None:
    is_true = (nuclei["iou"] >= TRUE_FROM_IOU).to_numpy()
    confidence = nuclei["confidence"].to_numpy()
    area = mannwhitneyu(confidence[is_true], confidence[~is_true]).statistic / (is_true.sum() * (~is_true).sum())
    print(f"{is_true.sum()} true and {(~is_true).sum()} false nuclei; area under the ROC curve {area:.3f}")
    print("| confidence below | false nuclei | true nuclei | share that is false |\n|---|---|---|---|")
    for least in CONFIDENCES:
        below = confidence < least
        false, true = (np.mean(below[kind]) for kind in (~is_true, is_true))
        print(f"| {least} | {false:.1%} | {true:.1%} | {np.mean(~is_true[below]) if below.any() else 0:.0%} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("scores", type=str)
    args = parser.parse_args()
    print_table(scored_nuclei(args.store, args.scores))
