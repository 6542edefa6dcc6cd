"""Whether a model can be used at all, from its scores: a low F1 is easily read over."""

from __future__ import annotations

from collections.abc import Mapping

from nucleus_dags.manifest import manifest

MARK = "🔴"
"""Red wherever it is shown: Airflow's notes have no colours."""


def shortcoming(metrics: Mapping[str, float], cell_line: str = "all") -> str:
    """Say what is wrong with a model that misses too many nuclei of a cell line; empty if it can be used."""
    missed = metrics.get(f"fn_rate/{cell_line}", 0)
    if missed >= 1:
        return f"{MARK} finds no nucleus"
    return f"{MARK} misses {100 * missed:.0f} % of the nuclei" if missed > manifest()["most_missed"] else ""
