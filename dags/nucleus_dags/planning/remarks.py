"""What a person should know of plates that were imported all the same, and of label images that look wrong.

Doubtful labels and images, fields that were left out, fields that came twice, and files that lack something.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.plates.stored import StoredPlate

_CONFIRM = '`"labels_confirmed": true` in plate.json'
FOLLOWS_FROM_DOUBTS = {
    "train": f"no training uses the plate until they are corrected, or confirmed by {_CONFIRM}",
    "test": f"scores on the plate may be wrong; correct them, or confirm them by {_CONFIRM}",
    "screen": "nuclei may be missing there; look at them",
}
"""By the role of the plate."""
MOST_SHOWN = 5
"""Sentences about one plate; the others are in its report.json."""


def remarks_on(plates: Iterable[StoredPlate]) -> list[str]:
    """Give lines of Markdown on the plates with which not all is well; none if all is."""
    return [line for plate in plates for line in (*_on_doubts(plate), *_on_fields(plate))]


def remarks_on_segmentations(segmented: Iterable[Result]) -> list[str]:
    """Give lines of Markdown on label images that look wrong, from results of `segment`; none if none do.

    What all parts of a plate say is said once.
    """
    return list(dict.fromkeys(line for result in segmented for line in _on_segmentation(result)))


def _on_segmentation(result: Result) -> list[str]:
    plate = Path(result["params"]["plate"]).name.rpartition("@")[0]
    # Results that were written before these were looked for don't have them.
    lines = [f"- **{plate}**: {remark}" for remark in result["values"].get("remarks", ())]
    count = result["counts"].get("doubtful_fovs", 0)
    if not count:
        return lines
    counted = f"{count} of {result['counts']['fovs']} label images look wrong, and count all the same"
    where = f"doubts.json in {result['outputs']['segmentation']}"
    return [*lines, f"- **{plate}**: {counted}; look at them:", *_first_of(result["values"]["doubts"], count, where)]


def left_out_in_short(plate: StoredPlate) -> str:
    """Say how many fields of how many were left out."""
    count = len(plate.left_out)
    return f"{count} of {plate.fovs + count} fields {'was' if count == 1 else 'were'} left out as faulty"


def _on_doubts(plate: StoredPlate) -> list[str]:
    """Say how many labels and images are doubtful, what follows from it and what to do, and which they are."""
    if not plate.doubts:
        return []
    doubts = "1 doubt" if len(plate.doubts) == 1 else f"{len(plate.doubts)} doubts"
    follows = FOLLOWS_FROM_DOUBTS[plate.role]
    return [f"- **{plate.name}**: {doubts} about its labels or images; {follows}:", *_first_of(plate.doubts)]


def _on_fields(plate: StoredPlate) -> list[str]:
    """Say how many fields were left out and why, which are copies of others, and what files lack."""
    lines: list[str] = []
    if plate.left_out:
        lines += [f"- **{plate.name}**: {left_out_in_short(plate)}:", *_first_of(plate.left_out)]
    if plate.copies:
        lines += [f"- **{plate.name}**: look whether fields were saved twice:", *_first_of(plate.copies)]
    if plate.warnings:
        lines += [f"- **{plate.name}**: look at these files:", *_first_of(plate.warnings)]
    return lines


def _first_of(
    sentences: Sequence[str], count: int | None = None, where: str = "report.json of the imported plate"
) -> list[str]:
    """Give the first of so many sentences, or of all that are given."""
    more = (len(sentences) if count is None else count) - MOST_SHOWN
    lines = [f"  - {sentence}" for sentence in sentences[:MOST_SHOWN]]
    return [*lines, f"  - and {more} more, in {where}"] if more > 0 else lines
