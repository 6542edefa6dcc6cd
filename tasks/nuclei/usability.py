"""Whether what a model makes of test plates can be used at all: a score alone is easily read over."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.nuclei.plates.info import ALL_CELL_LINES

MOST_MISSED = 1 / 3
"""A model that misses a larger share of the nuclei at an IoU of 0.7 isn't taken for one that finds nuclei."""
MARK = "🔴"
"""Red wherever it is shown: neither Airflow's notes nor MLflow's have colours."""


def shortcoming(missed_share: float) -> str:
    """Say what is wrong with a model that misses this share of the nuclei; empty if it can be used."""
    if missed_share >= 1:
        return "finds no nucleus"
    return f"misses {100 * missed_share:.0f} % of the nuclei" if missed_share > MOST_MISSED else ""


def shortcoming_of(metrics: Mapping[str, float]) -> str:
    """Say the same of the metrics of a score, for all cell lines together."""
    return shortcoming(metrics[f"fn_rate/{ALL_CELL_LINES}"])


def warning_in(tags: Mapping[str, str]) -> str:
    """Give a sentence on a registered version that can't be used, from its tags; empty if it can or wasn't scored."""
    try:
        wrong = shortcoming(float(tags.get(f"fn_rate/{ALL_CELL_LINES}", 0)))
    except ValueError:
        # Others may change tags in MLflow.
        return ""
    return f"{MARK} The model {wrong} of its test plates." if wrong else ""
