"""Tables of a segmented plate: one of all nuclei, one of the wells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
}
"""Columns of nuclei.csv as `segment` writes it. A field may be called 0012 and stays text; a site may be missing."""


def read_nuclei(path: Path) -> pd.DataFrame:
    """Read a nuclei.csv of `segment` with the types of `NUCLEI_TYPES`."""
    return pd.read_csv(path, dtype=NUCLEI_TYPES, keep_default_na=False, na_values={"site": [""]})


def write_parquet(path: Path, table: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    """Write a table as Parquet, with `metadata` as text beside its schema."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**arrow.schema.metadata, **metadata})
    pyarrow.parquet.write_table(arrow, path)


def wells_table(fovs: Mapping[str, int], left_out: Mapping[str, int], nuclei: pd.DataFrame) -> pd.DataFrame:
    """Give one row per well: number of nuclei, their areas, share of nuclei at the edge of a field.

    `fovs` counts the fields of each well, `left_out` those that were faulty, if any. Areas include nuclei at an edge;
    a well without nuclei has none. Of a well without fields not even the number of nuclei is known.
    """
    by_well = nuclei.groupby("well")
    measures = pd.DataFrame(
        {
            "nuclei": by_well.size(),
            "area_mean_um2": by_well["area_um2"].mean().round(3),
            "area_median_um2": by_well["area_um2"].median().round(3),
            "area_mean_px": by_well["area_px"].mean().round(3),
            "area_median_px": by_well["area_px"].median(),
            "edge_share": by_well["touches_edge"].mean().round(4),
        }
    )
    table = measures.reindex(pd.Index(list(fovs), name="well")).reset_index()
    table.insert(1, "fovs", list(fovs.values()))
    table.insert(2, "left_out", [left_out.get(well, 0) for well in fovs])
    table["nuclei"] = table["nuclei"].fillna(0).astype("Int64").mask(table["fovs"] == 0)
    return table
