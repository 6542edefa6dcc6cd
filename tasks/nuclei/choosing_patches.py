"""Which patches a person corrects next: those whose segmentations disagree, spread over the plate, and some at random.

Several segmentations of a field are compared, such as those of the model in force and of the one before it, or of one
model whose thresholds were moved a little. The score of a patch is the mean over its nuclei, those of all
segmentations, of 1 - best IoU with a nucleus of another segmentation. arXiv 2211.10244 found that how consistent a
model is chooses better than chance, entropy and dropout do, and fails for a model that hasn't learnt such images yet.

By its score alone, one bad field would be chosen as a whole. So the patches are taken one after the other, each time
the one with the largest

    score x nuclei / (nuclei + 5) / (1 + patches taken of its well) / (1 + patches taken of its stratum),

as seats are given to parties by votes (D'Hondt). Strata are three, by how far fields are from the training plates. Five
nuclei that agree are added, since a speck of dust is a nucleus of score 1.

A patch in five is drawn at random, before the others are ranked, from all that aren't annotated. Only these stand for
all of them: F1 of ranked patches is F1 of difficult patches.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.nuclei.drift import MEASURES, OUTLIER_DISTANCE
from tasks.nuclei.patch_grid import Patch, patch_of_nuclei
from tasks.nuclei.scoring import score_instances

NUCLEI_THAT_AGREE = 5
STRATA = 3
LEAST_IGNORED = 0.5
"""Of a patch that may be chosen in a field of which another part is annotated."""


def patch_scores(label_images: Sequence[NDArray[np.integer]], patches: list[Patch]) -> pd.DataFrame:
    """Compare two or more segmentations (y, x) of one field; gives one row per patch.

    Columns: y0, x0, y1, x1; nuclei of the first segmentation; nuclei_seen, the mean of all; score, 0 without nuclei.
    """
    places = [patch_of_nuclei(label_image, patches) for label_image in label_images]
    differences, compared = np.zeros(len(patches)), np.zeros(len(patches))
    for one, other in combinations(range(len(label_images)), 2):
        scores = score_instances(label_images[one], label_images[other])
        for ids, iou, place in (
            (scores.true_ids, scores.true_iou, places[one]),
            (scores.predicted_ids, scores.predicted_iou, places[other]),
        ):
            at = np.array([place[label] for label in ids.tolist()], np.intp)
            differences += np.bincount(at, 1 - iou, len(patches))
            compared += np.bincount(at, minlength=len(patches))
    proposed = Counter(places[0].values())
    # Each segmentation is compared with all others, from both sides.
    comparisons = len(label_images) * (len(label_images) - 1)
    return pd.DataFrame(patches, columns=list(Patch._fields)).assign(
        nuclei=[proposed[position] for position in range(len(patches))],
        nuclei_seen=compared / comparisons,
        score=np.divide(differences, compared, out=np.zeros(len(patches)), where=compared > 0),
    )


def without_annotated(scored: pd.DataFrame, ignored: NDArray[np.bool_]) -> pd.DataFrame:
    """Leave out the patches of a partly annotated field of which more than half of the pixels are annotated.

    `ignored` (y, x) says where nobody has looked. Patches of an earlier round needn't have had the same edges.
    """
    sides = scored[list(Patch._fields)].itertuples(index=False, name=None)
    return scored[[patch.of(ignored).mean() >= LEAST_IGNORED for patch in map(Patch._make, sides)]]


def without_skipped(scored: pd.DataFrame, skipped: Sequence[Patch]) -> pd.DataFrame:
    """Leave out the patches of a field of which more than half of the pixels lie in skipped ones."""
    if scored.empty or not skipped:
        return scored
    is_open = np.ones((int(scored["y1"].max()), int(scored["x1"].max())), np.bool_)
    for patch in skipped:
        is_open[patch.slices] = False
    return without_annotated(scored, is_open)


def strata(distances: pd.DataFrame) -> pd.Series:
    """Divide fields into thirds by their largest distance from the training plates, in any measure.

    `distances` are those of `drift.field_distances`. Gives 0 (the most alike) to 2, like the index; 0 where no measure
    can be compared.
    """
    rank = distances.abs().max(axis=1).rank(method="first", pct=True)
    return rank.mul(STRATA).fillna(1).map(math.ceil).astype(int) - 1


def choose(candidates: pd.DataFrame, amount: int, random_share: float, random_seed: int) -> pd.DataFrame:
    """Give the patches to annotate, in this order, with `is_random`; fewer if there aren't as many.

    `candidates` have the columns of `patch_scores`, and fov, well (which may be empty) and stratum; the index counts
    the rows. Random patches are spread evenly over the order, so that whoever stops before the end has their share
    of them. Patches on which all segmentations agree are drawn at random only.
    """
    amount = min(amount, len(candidates))
    drawn = np.random.default_rng(random_seed).permutation(len(candidates))[: math.ceil(amount * random_share)]
    left = candidates.drop(candidates.index[drawn])
    ranked = _ranked(left[left["score"] > 0], amount - len(drawn))
    order = _mixed(ranked, drawn.tolist())
    return candidates.iloc[order].assign(is_random=np.isin(order, drawn))


def why(chosen: pd.DataFrame, usual_score: float, distances: pd.DataFrame) -> list[str]:
    """Say of each patch that `choose` gave why it was chosen, and why there may be nothing to annotate in it.

    `usual_score` is the median of the plate; `distances` has one row per patch, in the same order.
    """
    rows = zip(chosen.to_dict("records"), distances.to_dict("records"), strict=True)
    texts = []
    for patch, distance in rows:
        reason = (
            "Drawn at random, for an unbiased estimate."
            if patch["is_random"]
            else f"The segmentations disagree: a nucleus and its counterpart have an IoU of {1 - patch['score']:.2f} "
            f"on average, in the usual patch of this plate {1 - usual_score:.2f}."
        )
        nothing = "Nothing is proposed here: perhaps there is nothing to annotate." if patch["nuclei"] == 0 else ""
        texts.append(" ".join(filter(None, [reason, _unlike(distance), nothing])))
    return texts


def _unlike(distance: Mapping[Any, float]) -> str:
    """Say in which measure a field differs most from the training plates, if in any."""
    known = {measure: distance[measure.name] for measure in MEASURES if not math.isnan(distance[measure.name])}
    most = max(known, key=lambda measure: abs(known[measure]), default=None)
    if most is None or abs(known[most]) <= OUTLIER_DISTANCE:
        return ""
    perhaps = most.higher if known[most] > 0 else most.lower
    return (
        f"The field is unlike the training plates: {most.title} at a distance of {known[most]:+.1f}, perhaps {perhaps}."
    )


def _ranked(candidates: pd.DataFrame, amount: int) -> list[int]:
    """Give the index of up to `amount` patches, the best first, of equal ones the first."""
    place = candidates["well"].where(candidates["well"] != "", candidates["fov"]).to_numpy()
    stratum, nuclei = candidates["stratum"].to_numpy(), candidates["nuclei_seen"].to_numpy()
    worth = candidates["score"].to_numpy() * nuclei / (nuclei + NUCLEI_THAT_AGREE)
    of_place, of_stratum = np.ones(len(worth)), np.ones(len(worth))
    taken: list[int] = []
    while len(taken) < min(amount, len(worth)):
        value = worth / (of_place * of_stratum)
        value[taken] = -1
        best = int(np.argmax(value))
        taken.append(best)
        of_place += place == place[best]
        of_stratum += stratum == stratum[best]
    return candidates.index[taken].tolist()


def _mixed(ranked: list[int], at_random: list[int]) -> list[int]:
    """Spread the random ones evenly, one at the end of each stretch."""
    total = len(ranked) + len(at_random)
    is_random = [(n + 1) * len(at_random) // total > n * len(at_random) // total for n in range(total)]
    sources = {True: iter(at_random), False: iter(ranked)}
    return [next(sources[one]) for one in is_random]
