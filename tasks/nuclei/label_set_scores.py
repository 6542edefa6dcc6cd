"""A plate's fields that several people labelled: a model against each label set, and the sets against one another.

As in the paper's Tables S1 and S3, where F1 at 0.9 falls against manual labels. The agreement of two sets is what no
model can be expected to exceed by much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.nuclei import scoring
from tasks.nuclei.agreement import agreement_of_scores
from tasks.nuclei.intervals import Interval, interval_of_f1
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.image_files import read_ignored, read_label_image
from tasks.nuclei.plates.label_sets import LABEL_SETS
from tasks.nuclei.plates.origins import read_origins, shared_proposals
from tasks.nuclei.scoring import IOU_THRESHOLDS, score_instances

Kind = Literal["model", "agreement"]


def label_set_scores(
    plate: Plate, predicted: Callable[[Fov], Path], is_own: Callable[[pd.DataFrame], pd.Series]
) -> pd.DataFrame:
    """Score what was predicted against every label set, and the sets against the one that counts.

    One row per comparison and IoU threshold: plate, kind, labels, label_set, fovs, nuclei (of `labels`), iou_threshold,
    f1, f1_low, f1_high; of a model, `labels` is the set that it is scored against, tp, fp and fn are its counts, and
    own_proposals is how many of these labels it proposed itself, of which `is_own` says by their rows of origins.csv;
    of an agreement, shared_proposals is how many labels of both sets come from the same proposals, or from the other
    set. Each set is compared on the fields that it holds, and so is the set that counts beside it. Pixels that are
    ignored in that are ignored in all. Raises InputError for a file that can't be read.
    """
    tables = [
        table
        for name, files in plate.label_sets.items()
        for table in _of_set(
            plate, name, [(fov, files[fov.name]) for fov in plate.fovs if fov.name in files], predicted, is_own
        )
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _of_set(
    plate: Plate,
    name: str,
    fields: Sequence[tuple[Fov, Path]],
    predicted: Callable[[Fov], Path],
    is_own: Callable[[pd.DataFrame], pd.Series],
) -> Iterator[pd.DataFrame]:
    counting = plate.info.name_of_labels
    against_counting, against_other, between = [], [], []
    for fov, path in fields:
        assert fov.labels_path is not None
        ignored = read_ignored(fov.ignored_path) if fov.ignored_path else None
        found, labels, other = (read_label_image(each) for each in (predicted(fov), fov.labels_path, path))
        against_counting.append(score_instances(labels, found, ignored))
        against_other.append(score_instances(other, found, ignored))
        between.append(score_instances(labels, other, ignored))
    names = [fov.name for fov, _ in fields]
    of_counting, of_other = (read_origins(folder) for folder in (plate.folder, plate.folder / LABEL_SETS / name))
    origins = (of_counting[of_counting["fov"].isin(names)], of_other[of_other["fov"].isin(names)])
    for labels_name, scores, of_labels in zip(
        (counting, name), (against_counting, against_other), origins, strict=True
    ):
        counts = scoring.pool([scoring.count(of_field) for of_field in scores])
        f1 = scoring.f1_score(counts.tp, counts.fp, counts.fn)
        table = _table(plate, "model", labels_name, name, len(scores), counts.true_nuclei, f1, interval_of_f1(scores))
        own_proposals = int(is_own(of_labels).sum())
        yield table.assign(tp=counts.tp, fp=counts.fp, fn=counts.fn, own_proposals=own_proposals, shared_proposals=0)
    both = agreement_of_scores(between)
    agreement = _table(plate, "agreement", counting, name, both.fields, both.nuclei[0], both.f1, both.interval)
    yield agreement.assign(own_proposals=0, shared_proposals=shared_proposals(origins, (counting, name)))


def _table(
    plate: Plate,
    kind: Kind,
    labels: str,
    label_set: str,
    fovs: int,
    nuclei: int,
    f1: NDArray[np.float64],
    interval: Interval,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "plate": plate.info.name,
            "kind": kind,
            "labels": labels,
            "label_set": label_set,
            "fovs": fovs,
            "nuclei": nuclei,
            "iou_threshold": IOU_THRESHOLDS,
            "f1": f1,
            "f1_low": interval.low,
            "f1_high": interval.high,
        }
    )
