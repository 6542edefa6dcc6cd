"""napari, Fiji with MorphoLibJ, and all that opens label images: TIFF files in folders.

    images/NAME.tif               the image
    labels/NAME.tif               its nuclei; numbers are those that were sent
    unsure/NAME.tif               nuclei of which nobody can say; empty until somebody draws there
    context/NAME.tif              nuclei that are corrected elsewhere; not read

Without a folder `labels`, all TIFF and PNG files at the top of what came back are label images. Both folders must come
back: what is drawn in `unsure` and erased in `labels` would count as deleted otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tasks.annotation.returned_files import files_ending, read_labels, stem_of
from tasks.annotation.sheet import Kind, Nucleus, Sheet, label_image_of, nuclei_in, patch_in
from tasks.annotation.shown_images import write_images
from tasks.annotation.tool import Classes, Images, Tool
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.file_kinds import is_left_by_a_system
from tasks.nuclei.plates.image_files import EXTENSIONS, write_label_image

IMAGES = "images"
FOLDERS: dict[Kind, str] = {"nucleus": "labels", "unsure": "unsure", "context": "context"}


def _write(sheets: Sequence[Sheet], images: Images, folder: Path) -> None:
    write_images(sheets, images, folder / IMAGES)
    for kind, name in FOLDERS.items():
        for sheet in sheets:
            nuclei = [nucleus for nucleus in sheet.nuclei if nucleus.kind == kind]
            if nuclei or kind != "context":
                (folder / name).mkdir(exist_ok=True)
                painted = label_image_of(nuclei, sheet.size)
                write_label_image(inside(folder / name, f"{sheet.name}.tif"), painted)


def _read(folder: Path) -> list[Sheet]:
    place = _place_of_labels(folder)
    labels = {stem_of(path.name): path for path in _label_files(place)}
    if not labels:
        raise InputError(
            f"{folder}: has no label images; put them in a folder 'labels', as TIFF with the names that were sent."
        )
    _refuse_elsewhere(folder, place)
    beside = place.parent / FOLDERS["unsure"]
    unsure = {stem_of(path.name): path for path in _label_files(beside)} if beside.is_dir() and place != folder else {}
    alone = sorted(stem for stem in unsure.keys() - labels.keys() if read_labels(unsure[stem]).label_image.any())
    if alone:
        raise InputError(f"{unsure[alone[0]]}: there is no image of this name in {place}; add it or remove this one.")
    return [_sheet(name, path, unsure.get(name)) for name, path in labels.items()]


def _place_of_labels(folder: Path) -> Path:
    return next((path for path in sorted(folder.rglob(FOLDERS["nucleus"])) if path.is_dir()), folder)


def _refuse_without_unsure(folder: Path) -> None:
    place = _place_of_labels(folder)
    labels = _label_files(place)
    if labels and (place == folder or not (place.parent / FOLDERS["unsure"]).is_dir()):
        raise InputError(
            f"{folder}: label images came, such as {labels[0].name}, without the folder 'unsure' that was sent with "
            "them: nuclei that were drawn there and erased in 'labels' would count as deleted. Return the folders "
            "'labels' and 'unsure' together, as one folder or packed as ZIP, also where nothing is unsure."
        )


def _refuse_elsewhere(folder: Path, labels: Path) -> None:
    """Refuse images where none are read: somebody may have saved there what they corrected."""
    known = [labels] if labels == folder else [labels.parent / name for name in (IMAGES, *FOLDERS.values())]
    known.append(folder / IMAGES)
    found = [path for ending in EXTENSIONS for path in files_ending(folder, ending) if path.parent not in known]
    if found:
        raise InputError(
            f"{found[0]}: labels are read from {labels}, and not from here; move it there if it was corrected, or "
            "remove it."
        )


def _label_files(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not is_left_by_a_system(path.name))
    return [path for path in paths if path.name.lower().endswith(EXTENSIONS)]


def _sheet(name: str, path: Path, unsure: Path | None) -> Sheet:
    height, width, nuclei = _labelled(path, "nucleus")
    others = _labelled(unsure, "unsure") if unsure is not None else (height, width, ())
    if others[:2] != (height, width):
        raise InputError(
            f"{unsure}: is {others[0]} x {others[1]} px, and {path} is {height} x {width}; both are of one image."
        )
    return Sheet(name, height, width, patch_in(name), (*nuclei, *others[2]))


def _labelled(path: Path, kind: Kind) -> tuple[int, int, tuple[Nucleus, ...]]:
    numbered = read_labels(path)
    return *numbered.label_image.shape, tuple(with_ids(nuclei_in(numbered.label_image, kind), numbered.ids.tolist()))


def with_ids(nuclei: Iterator[Nucleus], ids: Sequence[int]) -> Iterator[Nucleus]:
    """Give nuclei that are numbered 1..n the numbers that they have in the file."""
    for nucleus in nuclei:
        assert nucleus.sent_id is not None
        yield replace(nucleus, sent_id=ids[nucleus.sent_id - 1])


TOOL = Tool(
    "label_tiff",
    "napari, Fiji (label TIFF)",
    by_patches=False,
    classes=Classes("Folders", FOLDERS),
    write=_write,
    read_files=_read,
    refuse_incomplete=_refuse_without_unsure,
)
