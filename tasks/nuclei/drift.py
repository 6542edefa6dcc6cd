"""How far a plate deviates from the training plates of its cell line, measure by measure.

Every field of view gives one value of each measure. The distance of a plate is

    (median of its fields - median of the reference fields) / spread,   spread = 1.4826 x MAD of the reference fields

with MAD the median absolute deviation; 1.4826 makes it the standard deviation where values are normal. It is the
robust z-score as in Leys et al. 2013 (J. Exp. Soc. Psychol. 49, 764).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from tasks.nuclei.plates.info import PlateInfo

# A plate at a larger distance is an outlier. Leys et al. call 3 "very conservative" and 2.5 "moderately conservative";
# six measures per plate are six chances of a false alarm.
OUTLIER_DISTANCE = 3.0

MAD_TO_SD = 1.4826

# A few fields may be alike by chance, and a single field has no spread at all. In the most uniform of the real plates
# at hand (large-360 of the Data Science Bowl), the spread of every measure is 15 to 30 % of the median.
LEAST_SPREAD_OF_MEDIAN = 0.15


class Measure(NamedTuple):
    name: str
    """Column of `field_table`, and part of the name of a metric."""
    title: str
    unit: str
    """Empty for a ratio."""
    least_spread: float
    """The least spread, in the unit; for medians near 0, of which 15 % is next to nothing."""
    higher: str
    """What may cause a much higher value, in the words of a laboratory."""
    lower: str
    same: str | None = None
    """Column in which fields must be equal for their values to be comparable."""


SAME_IN_WORDS = {"dtype": "bit depth", "pixel_size_um": "pixel size"}

MEASURES = (
    Measure(
        "intensity",
        "mean intensity",
        "grey levels",
        1,
        "a longer exposure, a stronger lamp or stain, or more nuclei",
        "a shorter exposure, a weaker lamp or stain, bleaching, or fewer nuclei",
        same="dtype",
    ),
    Measure(
        "background",
        "background",
        "grey levels",
        1,
        "a longer exposure, stain that wasn't washed out, stray light, or another camera offset",
        "a shorter exposure, another camera offset, or background that was subtracted",
        same="dtype",
    ),
    # In pixels, so that another magnification gives another value of the same sharpness.
    Measure(
        "focus",
        "focus",
        "",
        0.0001,
        "another focus, a weak signal in the noise of the camera, or smaller nuclei",
        "images out of focus, or another plate bottom or objective",
        same="pixel_size_um",
    ),
    Measure(
        "area",
        "mean nuclear area",
        "µm²",
        1,
        "a treatment, neighbouring nuclei merged into one, or a wrong pixel_size_um in plate.json",
        "a treatment, dying cells, nuclei split or drawn too tightly, or a wrong pixel_size_um in plate.json",
    ),
    Measure(
        "density",
        "density of nuclei",
        "per mm²",
        1,
        "more cells seeded, more time to grow, nuclei split, or a wrong pixel_size_um in plate.json",
        "fewer cells seeded, cells lost, nuclei missed, or a wrong pixel_size_um in plate.json",
    ),
    # In fields of 50 nuclei, of which 15 % lie at the border, chance alone gives the share a standard deviation of 5 %.
    Measure(
        "border_share",
        "nuclei at the border",
        "%",
        5,
        "smaller fields of view, or larger nuclei",
        "larger fields of view, smaller nuclei, or nuclei at the border missed",
    ),
)


@dataclass(frozen=True)
class Drift:
    """One measure of a plate against the reference fields. One that can't be compared has a distance of NaN."""

    measure: Measure
    plate: pd.DataFrame
    """Rows of `field_table` that are compared."""
    references: pd.DataFrame

    @property
    def plate_median(self) -> float:
        return self.plate[self.measure.name].median()

    @property
    def reference_median(self) -> float:
        return self.references[self.measure.name].median()

    @property
    def spread(self) -> float:
        values = self.references[self.measure.name]
        mad = (values - values.median()).abs().median()
        return max(MAD_TO_SD * mad, LEAST_SPREAD_OF_MEDIAN * values.median(), self.measure.least_spread)

    @property
    def distance(self) -> float:
        """The difference of the medians in spreads; NaN if there is nothing to compare."""
        return (self.plate_median - self.reference_median) / self.spread

    @property
    def is_compared(self) -> bool:
        return not math.isnan(self.distance)

    @property
    def is_outlier(self) -> bool:
        return abs(self.distance) > OUTLIER_DISTANCE

    @property
    def perhaps(self) -> str:
        """What may have caused the difference."""
        return self.measure.higher if self.distance > 0 else self.measure.lower

    @property
    def why_not_compared(self) -> str:
        if self.plate.empty:
            return "not measured on this plate"
        same = self.measure.same
        return f"no training field of the same {SAME_IN_WORDS[same]}" if same else "not measured on the training plates"


def field_table(info: PlateInfo, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Give one row per field: plate, dtype, pixel_size_um and every measure, NaN where it can't be measured.

    `rows` are those of report.json; fields without labels have no nuclei to measure. Of a field that is annotated in
    part, the density is that of this part; its share of nuclei at the border says nothing.
    """
    return pd.DataFrame([_field(info, row) for row in rows]).astype({measure.name: float for measure in MEASURES})


def compare(plate: pd.DataFrame, references: pd.DataFrame) -> list[Drift]:
    """Compare a plate's `field_table` with that of the reference plates, in the order of `MEASURES`."""
    return [Drift(measure, *_comparable(measure, plate, references)) for measure in MEASURES]


def field_distances(plate: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """Give the distance of every field by itself: the index of `plate`, one column per measure, NaN if not compared."""
    distances = {
        drift.measure.name: (drift.plate[drift.measure.name] - drift.reference_median) / drift.spread
        for drift in compare(plate, references)
    }
    return pd.DataFrame(distances, index=plate.index)


def with_nuclei_found(rows: Iterable[Mapping[str, Any]], nuclei: pd.DataFrame) -> list[dict[str, Any]]:
    """Give rows of report.json with the nuclei that were found in place of the labelled ones.

    `nuclei` has one row per nucleus, with fov, area_px and touches_edge, as nuclei.csv has.
    """
    by_fov = nuclei.groupby("fov").agg(
        nuclei=("area_px", "size"), area_mean_px=("area_px", "mean"), nuclei_at_edge=("touches_edge", "sum")
    )
    found = {
        str(fov): {str(name): value for name, value in of_fov.items()}
        for fov, of_fov in by_fov.to_dict("index").items()
    }
    none: dict[str, Any] = {"nuclei": 0, "area_mean_px": None, "nuclei_at_edge": 0}
    # They were looked for in the whole field.
    return [{**row, "ignored_share": 0.0, **found.get(row["fov"], none)} for row in rows]


def _field(info: PlateInfo, row: Mapping[str, Any]) -> dict[str, Any]:
    px_in_um2 = info.pixel_size_um**2
    ignored_share = row.get("ignored_share", 0.0)
    annotated_mm2 = row["height_px"] * row["width_px"] * (1 - ignored_share) * px_in_um2 / 1e6
    nuclei, area_px = row.get("nuclei"), row.get("area_mean_px")
    return {
        "plate": info.name,
        "dtype": row["dtype"],
        "pixel_size_um": info.pixel_size_um,
        "intensity": row["intensity_mean"],
        "background": row["intensity_p10"],
        "focus": row["focus"],
        "area": None if area_px is None else area_px * px_in_um2,
        "density": None if nuclei is None else nuclei / annotated_mm2,
        "border_share": 100 * row["nuclei_at_edge"] / nuclei if nuclei and not ignored_share else None,
    }


def _comparable(measure: Measure, *tables: pd.DataFrame) -> list[pd.DataFrame]:
    """Give the fields of both tables that have the measure and are like most of the plate's."""
    if measure.same:
        most = tables[0][measure.same].mode()[0]
        tables = tuple(table[table[measure.same] == most] for table in tables)
    return [table.dropna(subset=[measure.name]) for table in tables]
