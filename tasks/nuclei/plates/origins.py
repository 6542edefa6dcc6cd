"""How each nucleus of a plate came to its label: origins.csv beside its labels/, or in the folder of a label set.

    fov,label,origin,model,proposed_by

A person drew it, corrected what a model had proposed, or accepted that as it was. `model` is for people to read;
`proposed_by` says what segmented, by method and networks, or whose labels were taken over, where somebody else had
drawn them. Both are empty where nothing was proposed. A label without a row is of unknown origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.file_kinds import refuse_other_than_file
from tasks.nuclei.tables import read_csv, write_csv

ORIGINS = "origins.csv"
COLUMNS = ("fov", "label", "origin", "model", "proposed_by")
Origin = Literal["drawn", "corrected", "accepted"]
ALL_ORIGINS: tuple[Origin, ...] = ("drawn", "corrected", "accepted")
_TEXTS = dict.fromkeys(set(COLUMNS) - {"label"}, str)


def proposer(method: str, networks: Sequence[str]) -> str:
    """Name what segments, as in the column `proposed_by`: the same text means the same proposals, but for settings."""
    return f"{method}:{','.join(networks)}"


def proposer_of_labels(name: str) -> str:
    """Name, as in the column `proposed_by`, the labels of a plate that another label set was made from."""
    return f"labels:{name}"


def read_origins(folder: Path) -> pd.DataFrame:
    """Read the table in the folder of a plate or label set, with its five columns; without a row if it has none.

    Raises InputError for other columns, unknown words, numbers that are no labels, and a nucleus that stands there
    twice.
    """
    path = inside(folder, ORIGINS)
    if not path.exists():
        return pd.DataFrame({name: pd.Series(dtype=_TEXTS.get(name, np.int64)) for name in COLUMNS})
    refuse_other_than_file(path, folder)
    remove = "correct the file, or remove it if nobody knows the origins"
    try:
        table = read_csv(path, dtype={**_TEXTS, "label": np.int64}).fillna("")
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: can't be read ({' '.join(str(error).split())}); {remove}.") from None
    if tuple(table.columns) != COLUMNS:
        raise InputError(f"{path}: has the columns {', '.join(table.columns)}; it has {', '.join(COLUMNS)}; {remove}.")
    unknown = sorted(set(table["origin"]) - set(ALL_ORIGINS))
    if unknown:
        raise InputError(f"{path}: origin is {unknown[0]!r}; allowed are {', '.join(ALL_ORIGINS)}; {remove}.")
    twice = table[table.duplicated(["fov", "label"])]
    if len(twice):
        fov, label = twice.iloc[0][["fov", "label"]]
        raise InputError(f"{path}: label {label} of {fov} stands there more than once; {remove}.")
    return table


def write_origins(table: pd.DataFrame, folder: Path) -> None:
    write_csv(table[list(COLUMNS)].sort_values(["fov", "label"]), folder / ORIGINS)


def problems_of(table: pd.DataFrame, labels: Mapping[str, NDArray[np.integer]], shown: str) -> list[str]:
    """Say which rows are about nuclei that there aren't.

    `labels` are those of each field's label image, `shown` is the name of the file in the plate.
    """
    problems = []
    for fov, rows in table.groupby("fov"):
        lost = np.setdiff1d(rows["label"], labels.get(str(fov), np.zeros(0, np.int64)))
        if len(lost):
            what = f"no label {lost[0]}" if fov in labels else "no labels"
            problems.append(
                f"{shown}: has a row for label {lost[0]} of {fov}, which has {what}; if labels were changed since, "
                f"remove {shown}, or the rows of the nuclei that are gone"
            )
    return problems


def shared_proposals(tables: tuple[pd.DataFrame, pd.DataFrame], names: tuple[str, str]) -> int:
    """Count the labels of two label sets, of the same fields, that aren't independent of the other set.

    They were proposed by what proposed labels of the other one in their field, or taken over from it. `names` are those
    of the sets.
    """
    proposed = [table[table["proposed_by"] != ""].set_index(["fov", "proposed_by"]).index for table in tables]
    by_same = proposed[0].isin(proposed[1]).sum() + proposed[1].isin(proposed[0]).sum()
    taken_over = sum(
        (table["proposed_by"] == proposer_of_labels(other)).sum()
        for table, other in zip(tables, reversed(names), strict=True)
    )
    return int(by_same + taken_over)


def counts_of(table: pd.DataFrame) -> dict[str, int]:
    """Give how many nuclei came in which way."""
    return {origin: int((table["origin"] == origin).sum()) for origin in ALL_ORIGINS}
