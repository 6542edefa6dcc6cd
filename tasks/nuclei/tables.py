"""Tables of a segmented plate: one of all nuclei, one of the wells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

NUCLEI_TYPES = {
    "plate": "str",
    "well": "str",
    "site": "Int64",
    "fov": "str",
    "label": "int64",
    "area_px": "int64",
    "centroid_y_px": "float64",
    "centroid_x_px": "float64",
    "mean_intensity": "float64",
    "touches_edge": "bool",
    "confidence": "float64",
}
"""Columns of nuclei.csv as `segment` writes it. A field may be called 0012 and stays text; a site may be missing."""

DOUBTFUL_BELOW = 0.7
"""A nucleus with a lower confidence is shown as doubtful. `tests.benchmarks.confidences` tells how many of them are
false."""

_FORMULA = ("=", "+", "-", "@", "\t")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

LARGE_SHARE, HUGE_SHARE = 0.05, 0.25
"""Of a field: a doubtful nucleus that covers the first, and any that covers the second, is hardly one."""


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table without its index. Texts that a spreadsheet would run as a formula get an apostrophe in front.

    These begin with =, +, -, @ or tab and are no numbers (OWASP, "CSV Injection"); a text of this kind that has
    apostrophes in front already gets one more, so that `read_csv` gives every text as it was. No name has a line break.
    """
    safe = {name: _escaped(column) for name, column in table.items() if _may_begin_with(column, (*_FORMULA, "'"))}
    table.assign(**safe).to_csv(path, index=False)  # type: ignore[arg-type]


def read_csv(
    path: Path, dtype: Mapping[str, Any] | type[str] | None = None, usecols: list[str] | None = None
) -> pd.DataFrame:
    """Read a table that `write_csv` wrote, now or before there were apostrophes.

    `dtype` gives the types of columns, those of the others are inferred. Texts stay as they are, since a field may be
    called NA; elsewhere, what is empty is missing, and nothing else is.
    """
    names = pd.read_csv(path, nrows=0).columns
    of_names = dict.fromkeys(names, str) if isinstance(dtype, type) else dtype or {}
    missing = {name: [""] for name in names if of_names.get(name) not in (str, "str")}
    table: pd.DataFrame = pd.read_csv(path, dtype=dtype, usecols=usecols, keep_default_na=False, na_values=missing)
    true = {str(name): column.map(_unescaped) for name, column in table.items() if _may_begin_with(column, ("'",))}
    return table.assign(**true)


def _may_begin_with(column: pd.Series, beginnings: tuple[str, ...]) -> bool:
    if not pd.api.types.is_string_dtype(column) and not pd.api.types.is_object_dtype(column):
        return False
    return bool(column.astype(str).str.startswith(beginnings).any())


def _escaped(column: pd.Series) -> pd.Series:
    return column.map(lambda value: f"'{value}" if _would_be_run(value) else value)


def _unescaped(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value.startswith("'") and _would_be_run(value[1:]) else value


def _would_be_run(value: Any) -> bool:
    """Whether a spreadsheet would run a text, apostrophes in front aside."""
    is_risky = isinstance(value, str) and value.lstrip("'").startswith(_FORMULA)
    return is_risky and _NUMBER.fullmatch(value) is None


def read_nuclei(path: Path) -> pd.DataFrame:
    """Read a nuclei.csv of `segment` with the types of `NUCLEI_TYPES`.

    A confidence is NaN where the method gives none, and of all nuclei in tables that were written before there was any.
    """
    table = read_csv(path, NUCLEI_TYPES)
    return table if "confidence" in table else table.assign(confidence=np.nan)


def is_doubtful(nuclei: pd.DataFrame) -> pd.Series:
    """Say of each nucleus whether its confidence is below `DOUBTFUL_BELOW`: 1 or 0, NaN where it has none."""
    return nuclei["confidence"].lt(DOUBTFUL_BELOW).astype(float).where(nuclei["confidence"].notna())


def doubts_about_sizes(nuclei: pd.DataFrame, field_px: int) -> list[str]:
    """Say whether some of the nuclei of a field of so many pixels are too large to be nuclei; empty if not."""
    share = nuclei["area_px"] / field_px
    is_none = (share > HUGE_SHARE) | ((share > LARGE_SHARE) & (is_doubtful(nuclei) == 1))
    if not is_none.any():
        return []
    largest = f"what covers {share[is_none].max():.0%} of the field is hardly a nucleus"
    return [f"{largest}; uneven light of an empty well may look like one"]


def write_parquet(path: Path, table: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    """Write a table as Parquet, with `metadata` as text beside its schema."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**arrow.schema.metadata, **metadata})
    pyarrow.parquet.write_table(arrow, path)


def wells_table(fovs: Mapping[str, int], left_out: Mapping[str, int], nuclei: pd.DataFrame) -> pd.DataFrame:
    """Give one row per well: number of nuclei, their areas, shares of nuclei at the edge of a field and doubtful.

    `fovs` counts the fields of each well, `left_out` those that were faulty, if any. Areas include nuclei at an edge;
    a well without nuclei has none. The share of doubtful ones is of those that have a confidence. Of a well without
    fields not even the number of nuclei is known.
    """
    by_well = nuclei.assign(doubtful=is_doubtful(nuclei)).groupby("well")
    measures = pd.DataFrame(
        {
            "nuclei": by_well.size(),
            "area_mean_um2": by_well["area_um2"].mean().round(3),
            "area_median_um2": by_well["area_um2"].median().round(3),
            "area_mean_px": by_well["area_px"].mean().round(3),
            "area_median_px": by_well["area_px"].median(),
            "edge_share": by_well["touches_edge"].mean().round(4),
            "doubtful_share": by_well["doubtful"].mean().round(4),
        }
    )
    table = measures.reindex(pd.Index(list(fovs), name="well")).reset_index()
    table.insert(1, "fovs", list(fovs.values()))
    table.insert(2, "left_out", [left_out.get(well, 0) for well in fovs])
    table["nuclei"] = table["nuclei"].fillna(0).astype("Int64").mask(table["fovs"] == 0)
    return table
