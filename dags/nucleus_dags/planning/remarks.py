"""What a person should know of plates that were imported all the same: doubtful labels, fields that were left out,
and fields that came twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nucleus_dags.plates.stored import StoredPlate

CONFIRM = '`"labels_confirmed": true` in plate.json'
MOST_SHOWN = 5
"""Sentences about one plate; the others are in its report.json."""


def remarks_on(plates: Iterable[StoredPlate]) -> list[str]:
    """Give lines of Markdown on the plates with which not all is well; none if all is."""
    return [line for plate in plates for line in (*remarks_on_labels(plate), *remarks_on_fields(plate))]


def remarks_on_labels(plate: StoredPlate) -> list[str]:
    """Give lines of Markdown: how many labels are doubtful, what follows from it and what to do, and which they are."""
    if not plate.doubts:
        return []
    if plate.role == "train":
        follows = f"no training uses the plate until they are corrected, or confirmed by {CONFIRM}"
    else:
        follows = f"scores on the plate may be wrong; correct them, or confirm them by {CONFIRM}"
    doubts = "1 doubt" if len(plate.doubts) == 1 else f"{len(plate.doubts)} doubts"
    return [f"- **{plate.name}**: {doubts} about its labels; {follows}:", *_first_of(plate.doubts)]


def remarks_on_fields(plate: StoredPlate) -> list[str]:
    """Give lines of Markdown: how many fields were left out and why, and which are copies of others."""
    lines: list[str] = []
    if plate.left_out:
        lines += [f"- **{plate.name}**: {left_out_in_short(plate)}:", *_first_of(plate.left_out)]
    if plate.copies:
        lines += [f"- **{plate.name}**: look whether fields were saved twice:", *_first_of(plate.copies)]
    return lines


def left_out_in_short(plate: StoredPlate) -> str:
    """Say how many fields of how many were left out."""
    count = len(plate.left_out)
    return f"{count} of {plate.fovs + count} fields {'was' if count == 1 else 'were'} left out as faulty"


def _first_of(sentences: Sequence[str]) -> list[str]:
    more = len(sentences) - MOST_SHOWN
    lines = [f"  - {sentence}" for sentence in sentences[:MOST_SHOWN]]
    return [*lines, f"  - and {more} more, in report.json of the imported plate"] if more > 0 else lines
