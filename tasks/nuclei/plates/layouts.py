"""The layouts in which a plate may arrive: where its images and its label images lie, and what these are called.

Whatever comes is presented as one of files in images/ and labels/ (`files`, and `hcs_plates` for OME-Zarr), so that all
that follows handles one layout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.file_kinds import is_left_by_a_system, without_extension

HCS_FOLDER = "images.ome.zarr"

OWN_ENTRIES = frozenset({"plate.json", "DONE", "origins.csv", "chosen_patches.csv", "ignored", "label_sets"})
"""What a plate may hold beside its images where these lie in its own folder."""

_MASK = re.compile(r"(?P<image>.+)_masks", re.IGNORECASE)
_PICTURE = re.compile(
    r"(?P<image>.+?)(?:_cp_output|(?:_cp)?_(?:outlines|flows(?:_\d+)?|dP|cellprob)(?:_cp_masks)?)", re.IGNORECASE
)


@dataclass(frozen=True)
class Layout:
    """Where the files of a plate lie, by folders relative to its own; "" is its own."""

    title: str
    images: str
    labels: str
    """The same as `images` where label images lie beside their images, told by their names."""
    is_labelled_so: Callable[[Path], bool]
    """Whether a plate's folder has label images where the layout has them, or its other marks."""
    lacking: str
    """What to add where an image has no label image."""
    meaning: str = ""
    """What images/ and labels/ stand for in messages, where they are no folders of the plate."""

    @property
    def labels_lie_beside(self) -> bool:
        return self.labels == self.images


def _has_folder(name: str) -> Callable[[Path], bool]:
    return lambda folder: (folder / name).is_dir()


def _has_masks_beside(folder: Path) -> bool:
    names = _names_in(folder)
    owners = owners_of(names)
    return any(image_of_mask(stem, owners) for name in names if (stem := without_extension(name)))


def _has_loose_images(folder: Path) -> bool:
    if _has_masks_beside(folder):
        return True
    of_others = any((folder / layout).is_dir() for layout in ("images", "labels", "masks"))
    return not of_others and any(without_extension(name) for name in _names_in(folder))


_BESIDE = "add one beside it, with _masks or _cp_masks behind its name"

OME_ZARR = Layout(
    "OME-Zarr", HCS_FOLDER, HCS_FOLDER, lambda folder: (folder / HCS_FOLDER).exists(), "add one, called nuclei"
)
LABELS = Layout("images/ and labels/", "images", "labels", _has_folder("labels"), "add one of the same name to labels/")
LAYOUTS = (
    OME_ZARR,
    LABELS,
    Layout(
        "images/ and masks/, as for StarDist",
        "images",
        "masks",
        _has_folder("masks"),
        "add one of the same name to masks/",
        "labels/ stands for masks/",
    ),
    Layout(
        "images/ with Cellpose's masks beside the images",
        "images",
        "images",
        lambda folder: _has_masks_beside(folder / "images"),
        _BESIDE,
        "labels/ stands for the masks in images/",
    ),
    Layout(
        "images in the plate's folder itself, with Cellpose's masks beside them if there are any",
        "",
        "",
        _has_loose_images,
        _BESIDE,
        "images/ and labels/ stand for the images and masks in the plate's folder itself",
    ),
)


def layout_of(folder: Path) -> Layout:
    """Give the layout of a plate's folder; that with images/ and labels/ where there is neither image nor label image.

    Raises InputError for a folder that fits several.
    """
    fitting = [layout for layout in LAYOUTS if layout.is_labelled_so(folder)]
    if len(fitting) > 1:
        raise InputError(
            f"{folder}: can be read in {len(fitting)} ways: {'; '.join(layout.title for layout in fitting)}. "
            "Keep the files of one of them, and move the others out of the plate's folder."
        )
    return fitting[0] if fitting else LABELS


def owners_of(file_names: Iterable[str]) -> dict[str, str]:
    """Give the images among files, named without extension, by all names that their masks may begin with.

    Cellpose takes one extension off: the mask of f1.ome.tif is f1.ome_cp_masks.png.
    """
    images = [(name, stem) for name in file_names if (stem := without_extension(name))]
    return {Path(name).stem: stem for name, stem in images} | {stem: stem for _, stem in images}


def image_of_mask(name: str, owners: dict[str, str]) -> str | None:
    """Give the image that Cellpose made a mask for, by the mask's name without extension; None if there is none.

    NAME_masks and NAME_cp_masks belong to NAME, in any letters. Pictures of outlines are no masks.
    """
    mask = _MASK.fullmatch(name)
    if mask is None or picture_of_cellpose(name, owners):
        return None
    image = mask["image"]
    return owners.get(image) or owners.get(re.sub("_cp$", "", image, flags=re.IGNORECASE))


def is_named_as_mask(name: str) -> bool:
    """Whether a name without extension is one that Cellpose gives to masks."""
    return _MASK.fullmatch(name) is not None


def picture_of_cellpose(name: str, owners: Collection[str]) -> bool:
    """Whether an image is one that Cellpose draws of another one: its flows, its outlines, or both beside it."""
    picture = _PICTURE.fullmatch(name)
    return picture is not None and picture["image"] in owners


def _names_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [entry.name for entry in folder.iterdir() if not is_left_by_a_system(entry.name) and not entry.is_dir()]
