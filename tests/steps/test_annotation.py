"""From proposals to an annotation tool and back: what a person did with them, and what becomes of the plate."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray

from tasks.annotation.comparison import SECONDS_BY_HAND
from tasks.annotation.tools import TOOLS
from tasks.contract import Result, execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.patch_grid import Patch
from tasks.nuclei.plates.chosen_patches import read_chosen_patches
from tasks.nuclei.plates.files import Fov, Plate, open_plate
from tasks.nuclei.plates.image_files import read_ignored, read_label_image
from tasks.nuclei.plates.origins import read_origins, shared_proposals
from tasks.nuclei.tables import read_csv
from tasks.steps import ingest, receive_annotation, send_to_annotation
from tests.plates import make_plate
from tests.segmentations import add_part

SIDE_PX, FIELDS = 12, ("p_B07_1", "p_B08_1")
MODEL = "fpn2_ws:train_fpn2_ws/0"
Labels = NDArray[np.integer]
Edit = Callable[[Labels], None]


def squares(rows: int = 4, columns: int = 6) -> NDArray[np.int32]:
    """Label image of nuclei of 12 x 12 px in rows, numbered from 1."""
    label_image = np.zeros((rows * 20 + 10, columns * 20 + 10), np.int32)
    for number in range(rows * columns):
        y, x = 10 + number // columns * 20, 10 + number % columns * 20
        label_image[y : y + SIDE_PX, x : x + SIDE_PX] = number + 1
    return label_image


PROPOSED = squares()
IMAGES = {
    name: (np.where(PROPOSED > 0, 900, 100) + np.random.default_rng(seed).normal(0, 9, PROPOSED.shape)).astype(
        np.uint16
    )
    for seed, name in enumerate(FIELDS)
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def plate(store: Path) -> str:
    folder = make_plate(store.parent / "screened", IMAGES, {}, role="screen")
    return execute(ingest.TASK, ingest.Params(folder=str(folder)), store).outputs["plate"]


@pytest.fixture
def proposals(store: Path, plate: str) -> str:
    params = {
        "plate": plate,
        "method": "fpn2_ws",
        "networks": ["train_fpn2_ws/0"],
        "made_by": {"version": 3, "key": ""},
    }
    return add_part(store, "now", open_plate(store / plate), dict.fromkeys(FIELDS, PROPOSED), params)


def send(store: Path, plate: str, proposals: str, **params: Any) -> Result:
    given = {"plate": plate, "tool": "label_tiff", "segmentations": [proposals], "target": "annotated", **params}
    return execute(send_to_annotation.TASK, send_to_annotation.Params(**given), store)


def opened(store: Path, sent: Result) -> Path:
    folder = store.parent / "opened"
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(store / sent.outputs["archive"]) as archive:
        archive.extractall(folder)
    return folder


def corrected(
    store: Path, sent: Result, edits: Mapping[str, Edit], but: Callable[[str], bool] = lambda name: False
) -> Path:
    """Do what an annotator does who opens label images, changes some fields and returns all but some of the images."""
    folder = opened(store, sent)
    for path in sorted((folder / "labels").iterdir()):
        labels = tifffile.imread(path)
        for name, edit in edits.items():
            if name in path.name:
                edit(labels)
        tifffile.imwrite(path, labels)
        if but(path.name):
            path.unlink()
    answer = store.parent / f"answer{len(list(store.parent.glob('answer*')))}.zip"
    with zipfile.ZipFile(answer, "w") as archive:
        for path in sorted(folder.rglob("*.tif")):
            if path.parent.name in ("labels", "unsure"):
                archive.write(path, path.relative_to(folder))
    return answer


def receive(store: Path, sent: Result, answer: Path) -> Result:
    params = receive_annotation.Params(folder=str(answer), request=sent.key)
    return execute(receive_annotation.TASK, params, store)


def imported(store: Path, received: Result) -> Plate:
    folder = store / received.outputs["plate"]
    result = execute(ingest.TASK, ingest.Params(folder=str(folder)), store)
    return open_plate(store / result.outputs["plate"])


def labels_of(fov: Fov) -> Labels:
    assert fov.labels_path is not None
    return read_label_image(fov.labels_path)


def fix_everything(labels: Labels) -> None:
    """Merge 1 with 2, split 3, delete 4, add one, and change the outline of 5."""
    labels[10:22, 22:30] = 1
    labels[labels == 2] = 1
    labels[10:22, 50 + 6 : 50 + SIDE_PX] = 100
    labels[labels == 4] = 0
    labels[2:8, 2:8] = 101
    labels[10:12, 90 : 90 + SIDE_PX] = 0


def test_what_a_person_corrected_is_told_and_becomes_a_plate_that_knows_where_each_label_comes_from(
    store: Path, plate: str, proposals: str
) -> None:
    sent = send(store, plate, proposals)
    assert sent.counts == {"fovs": 2, "patches": 2, "nuclei": 48}
    received = receive(store, sent, corrected(store, sent, {FIELDS[0]: fix_everything}))
    first, second = read_csv(store / received.outputs["comparison"]).to_dict("records")
    kinds = ("kept", "changed", "split", "merged", "deleted", "added")
    assert [first[kind] for kind in kinds] == [19, 1, 1, 1, 1, 1]
    assert [second[kind] for kind in kinds] == [24, 0, 0, 0, 0, 0]
    assert received.values["remarks"][0].startswith("48 nuclei annotated in 2 fields: 43 kept, 1 changed, 1 split")
    by_hand = 48 * SECONDS_BY_HAND / 3600
    assert received.values["effort"] == {
        **{"hours": pytest.approx(by_hand * 5 / 48), "hours_by_hand": pytest.approx(by_hand)},
        "is_measured": False,
    }
    assert any("1 of 2 images came back exactly as they were sent" in remark for remark in received.values["remarks"])

    annotated = imported(store, received)
    assert (annotated.info.name, annotated.info.role, annotated.info.annotation) == (
        "annotated",
        "train",
        "semi-automatic",
    )
    origins = read_origins(annotated.folder)
    of_first = origins[origins["fov"] == FIELDS[0]]
    assert Counter(of_first["origin"]) == {"accepted": 19, "corrected": 4, "drawn": 1}
    assert set(of_first.loc[of_first["origin"] != "drawn", "proposed_by"]) == {MODEL}
    assert set(of_first.loc[of_first["origin"] == "drawn", "proposed_by"]) == {""}
    labels = labels_of(annotated.fovs[0])
    assert labels.max() == 24
    assert annotated.fovs[0].ignored_path is None


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_the_archive_says_nowhere_which_model_made_the_proposals(
    tool: str, store: Path, plate: str, proposals: str
) -> None:
    sent = send(store, plate, proposals, tool=tool)
    content = _all_in(store / sent.outputs["archive"])
    for name in (b"fpn2", b"nucleus-segmenter", b"version 3", b"train_"):
        assert name not in content
    assert json.loads((store / sent.outputs["request"]).read_text())["proposed_by"] == MODEL


def _all_in(archive: Path | io.BytesIO) -> bytes:
    """Give the names and contents of all files in an archive, and of archives in it."""
    with zipfile.ZipFile(archive) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    contents = (_all_in(io.BytesIO(file)) if file.startswith(b"PK") else file for file in files.values())
    return b"".join((*map(str.encode, files), *contents))


def test_patches_that_did_not_come_back_are_ignored_until_they_come(store: Path, plate: str, proposals: str) -> None:
    sent = send(store, plate, proposals, nuclei_per_patch=6)
    names = [
        name
        for of_field in json.loads((store / sent.outputs["request"]).read_text())["sheets"].values()
        for name in of_field
    ]
    assert len(names) == 8
    first_half = corrected(store, sent, {}, but=lambda name: not name.startswith(tuple(names[:2])))
    received = receive(store, sent, first_half)
    annotated = imported(store, received)
    assert [fov.name for fov in annotated.fovs] == [FIELDS[0]]
    (in_part,) = annotated.fovs
    assert in_part.ignored_path is not None
    ignored = read_ignored(in_part.ignored_path)
    assert 0.3 < ignored.mean() < 0.7
    rest = receive(store, sent, corrected(store, sent, {}, but=lambda name: name.startswith(tuple(names[:2]))))
    whole = imported(store, rest)
    assert [fov.ignored_path for fov in whole.fovs] == [None, None]
    assert len(read_origins(whole.folder)) == 48


def test_a_second_round_keeps_what_the_plate_had(store: Path, plate: str, proposals: str) -> None:
    first = send(store, plate, proposals, fovs=[FIELDS[0]])
    before = imported(store, receive(store, first, corrected(store, first, {FIELDS[0]: fix_everything})))
    second = send(store, plate, proposals, fovs=[FIELDS[1]])
    both = imported(store, receive(store, second, corrected(store, second, {})))
    assert [fov.name for fov in both.fovs] == list(FIELDS)
    np.testing.assert_array_equal(labels_of(both.fovs[0]), labels_of(before.fovs[0]))
    assert len(read_origins(both.folder)) == len(read_origins(before.folder)) + 24


def the_patches(store: Path, plate: str, proposals: str, rows: list[tuple[str, int, int, int, int, bool]]) -> Result:
    """Send these patches of fields, each drawn at random or not."""
    path = store / f"choose_patches/{len(list(store.glob('choose_patches/*')))}/patches.csv"
    path.parent.mkdir(parents=True)
    pd.DataFrame(rows, columns=["fov", *Patch._fields, "is_random"]).to_csv(path, index=False)
    return send(store, plate, proposals, patches=path.relative_to(store).as_posix(), nuclei_per_patch=12)


LEFT, RIGHT = (0, 0, 90, 65), (0, 65, 90, 130)


def test_another_patch_of_a_field_is_added_to_those_that_the_plate_has(store: Path, plate: str, proposals: str) -> None:
    first = the_patches(store, plate, proposals, [(FIELDS[0], *LEFT, False)])
    before = imported(store, receive(store, first, corrected(store, first, {FIELDS[0]: fix_everything})))
    second = the_patches(store, plate, proposals, [(FIELDS[0], *RIGHT, True)])
    of_right = receive(store, second, corrected(store, second, {}))
    both = imported(store, of_right)
    of_first, of_both = labels_of(before.fovs[0]), labels_of(both.fovs[0])
    np.testing.assert_array_equal(of_both[:, :60] > 0, of_first[:, :60] > 0)
    assert both.fovs[0].ignored_path is None
    origins = Counter(read_origins(both.folder)["origin"])
    assert origins["drawn"] == 1
    assert origins["corrected"] >= 3
    chosen = read_chosen_patches(both.folder)
    assert chosen["choice"].to_list() == ["ranked", "random"]
    assert chosen["request"].to_list() == [first.key, second.key]
    assert any("on 1 patch drawn at random (12 nuclei): 1.00 (95 % CI" in text for text in of_right.values["remarks"])


def test_patches_that_are_none_of_these_proposals_are_refused(store: Path, plate: str, proposals: str) -> None:
    with pytest.raises(InputError, match="p_B07_1 has no patch of rows 0 to 50 and columns 0 to 65 with these"):
        the_patches(store, plate, proposals, [(FIELDS[0], *LEFT, True), (FIELDS[0], 0, 0, 50, 65, True)])


def test_another_image_of_the_same_name_replaces_none_that_is_annotated(
    store: Path, plate: str, proposals: str
) -> None:
    first = send(store, plate, proposals)
    imported(store, receive(store, first, corrected(store, first, {})))
    images = {name: image[::-1] for name, image in IMAGES.items()}
    folder = make_plate(store.parent / "other", images, {}, role="screen")
    other = execute(ingest.TASK, ingest.Params(folder=str(folder)), store).outputs["plate"]
    found = add_part(store, "other", open_plate(store / other), dict.fromkeys(FIELDS, PROPOSED), {"plate": other})
    sent = send(store, other, found)
    with pytest.raises(InputError, match="it has another image named p_B07_1; it has another image named p_B08_1"):
        receive(store, sent, corrected(store, sent, {}))


def test_what_nobody_could_tell_is_named_and_stays_so_when_the_labels_are_corrected_again(
    store: Path, plate: str, proposals: str
) -> None:
    sent = send(store, plate, proposals)
    folder = opened(store, sent)
    (name,) = (path.name for path in (folder / "labels").iterdir() if FIELDS[0] in path.name)
    labels = tifffile.imread(folder / "labels" / name)
    tifffile.imwrite(folder / "unsure" / name, np.where(labels == 3, 3, 0).astype(labels.dtype))
    tifffile.imwrite(folder / "labels" / name, np.where(labels == 3, 0, labels))
    received = receive(store, sent, folder)
    assert received.values["remarks"][0] == "48 nuclei annotated in 2 fields: 47 kept, 1 reclassified"
    before = imported(store, received)
    given = {"tool": "label_tiff", "proposals": "labels", "target": "annotated"}
    params = send_to_annotation.Params(plate=f"ingest/{before.folder.name}", **given)
    again = execute(send_to_annotation.TASK, params, store)
    after = receive(store, again, corrected(store, again, {}))
    assert after.values["remarks"][0] == "48 nuclei annotated in 2 fields: 48 kept"


def test_labels_of_a_second_annotator_stand_beside_the_first(store: Path, plate: str, proposals: str) -> None:
    of_anna = send(store, plate, proposals, label_set="anna")
    first = imported(store, receive(store, of_anna, corrected(store, of_anna, {})))
    assert first.info.name_of_labels == "anna"
    of_ben = send(store, plate, proposals, label_set="ben")
    both = imported(store, receive(store, of_ben, corrected(store, of_ben, {FIELDS[0]: fix_everything})))
    assert both.info.name_of_labels == "anna"
    assert sorted(both.label_sets["ben"]) == list(FIELDS)
    np.testing.assert_array_equal(labels_of(both.fovs[0]), PROPOSED)
    assert len(np.unique(read_label_image(both.label_sets["ben"][FIELDS[0]]))) == 25


def test_labels_of_a_second_annotator_keep_where_they_come_from_whatever_comes_back_after_them(
    store: Path, plate: str, proposals: str
) -> None:
    of_anna = send(store, plate, proposals, label_set="anna")
    imported(store, receive(store, of_anna, corrected(store, of_anna, {})))
    of_ben = send(store, plate, proposals, label_set="ben")
    both = imported(store, receive(store, of_ben, corrected(store, of_ben, {FIELDS[0]: fix_everything})))
    before = read_origins(both.folder / "label_sets/ben")
    assert Counter(before["origin"]) == {"accepted": 43, "corrected": 4, "drawn": 1}
    assert set(before.loc[before["origin"] != "drawn", "proposed_by"]) == {MODEL}
    assert Counter(read_origins(both.folder)["origin"]) == {"accepted": 48}
    # Ben returns one field again, and Anna all.
    again = send(store, plate, proposals, label_set="ben", fovs=[FIELDS[0]])
    later = imported(store, receive(store, again, corrected(store, again, {})))
    assert Counter(read_origins(later.folder / "label_sets/ben")["origin"]) == {"accepted": 48}
    anew = receive(store, of_anna, corrected(store, of_anna, {FIELDS[1]: fix_everything}))
    last = imported(store, anew)
    assert read_origins(last.folder / "label_sets/ben").equals(read_origins(later.folder / "label_sets/ben"))
    assert Counter(read_origins(last.folder)["origin"]) == {"accepted": 43, "corrected": 4, "drawn": 1}
    assert len(read_origins(both.folder / "label_sets/ben")) == 48


def test_labels_that_a_second_annotator_took_over_from_the_first_are_not_independent_of_them(
    store: Path, plate: str
) -> None:
    given: dict[str, Any] = {"tool": "label_tiff", "target": "annotated"}

    def ask(**more: Any) -> Any:
        return execute(send_to_annotation.TASK, send_to_annotation.Params(**given, **more), store)

    def draw(labels: Labels) -> None:
        labels[:] = PROPOSED

    of_anna = ask(plate=plate, proposals="none", label_set="anna")
    drawn = imported(store, receive(store, of_anna, corrected(store, of_anna, dict.fromkeys(FIELDS, draw))))
    of_ben = ask(plate=f"ingest/{drawn.folder.name}", proposals="labels", label_set="ben")
    both = imported(store, receive(store, of_ben, corrected(store, of_ben, {FIELDS[0]: fix_everything})))
    anna, ben = read_origins(both.folder), read_origins(both.folder / "label_sets/ben")
    assert Counter(anna["origin"]) == {"drawn": 48}
    assert Counter(ben["origin"]) == {"accepted": 43, "corrected": 4, "drawn": 1}
    assert Counter(ben["proposed_by"]) == {"labels:anna": 47, "": 1}
    assert shared_proposals((anna, ben), ("anna", "ben")) == shared_proposals((ben, anna), ("ben", "anna")) == 47
    assert shared_proposals((anna, anna), ("anna", "ben")) == 0


def test_labels_of_a_second_annotator_of_a_part_of_a_field_are_refused(store: Path, plate: str, proposals: str) -> None:
    of_anna = send(store, plate, proposals, label_set="anna")
    imported(store, receive(store, of_anna, corrected(store, of_anna, {})))
    of_ben = send(store, plate, proposals, label_set="ben", nuclei_per_patch=6)
    answer = corrected(store, of_ben, {}, but=lambda name: "_y0-" not in name)
    with pytest.raises(
        InputError, match="Labels of a second name need the same fields whole: p_B07_1 came back in part"
    ):
        receive(store, of_ben, answer)


def test_fields_without_proposals_are_drawn_by_hand(store: Path, plate: str) -> None:
    given = {"plate": plate, "tool": "label_tiff", "proposals": "none", "target": "annotated", "fovs": [FIELDS[0]]}
    sent = execute(send_to_annotation.TASK, send_to_annotation.Params(**given), store)

    def draw(labels: Labels) -> None:
        labels[:] = PROPOSED

    annotated = imported(store, receive(store, sent, corrected(store, sent, {FIELDS[0]: draw})))
    assert set(read_origins(annotated.folder)["origin"]) == {"drawn"}
    assert annotated.info.annotation == "manual"


def test_own_labels_are_corrected_in_place_and_only_what_changed_is_of_another_origin(
    store: Path, plate: str, proposals: str
) -> None:
    first = send(store, plate, proposals)
    before = imported(store, receive(store, first, corrected(store, first, {})))
    given = {
        "plate": f"ingest/{before.folder.name}",
        "tool": "label_tiff",
        "proposals": "labels",
        "target": "annotated",
    }
    sent = execute(send_to_annotation.TASK, send_to_annotation.Params(**given), store)
    after = imported(store, receive(store, sent, corrected(store, sent, {FIELDS[0]: fix_everything})))
    counts = Counter(read_origins(after.folder)["origin"])
    assert counts == {"accepted": 43, "corrected": 4, "drawn": 1}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "is damaged or only half there"),
        (lambda path: path.write_bytes(b""), "is damaged or only half there|is empty"),
        (lambda path: _add(path, "../../evil.tif"), "leads out of it"),
        (lambda path: _add(path, "labels/other.tif"), "were not sent with this request: other"),
    ],
)
def test_a_faulty_answer_is_refused_and_changes_nothing(
    spoil: Callable[[Path], None], message: str, store: Path, plate: str, proposals: str
) -> None:
    sent = send(store, plate, proposals)
    answer = corrected(store, sent, {})
    spoil(answer)
    with pytest.raises(InputError, match=message):
        receive(store, sent, answer)
    assert not list(store.glob("receive_annotation/[!.]*"))
    assert not list(store.parent.glob("**/evil.tif"))


def _add(archive: Path, name: str) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(name, next(opened.read(each) for each in opened.namelist() if "labels/" in each))


def test_fields_of_another_cell_line_are_not_added_to_a_plate(store: Path, plate: str, proposals: str) -> None:
    first = send(store, plate, proposals)
    imported(store, receive(store, first, corrected(store, first, {})))
    images = {name: image[::-1] for name, image in IMAGES.items()}
    folder = make_plate(store.parent / "other", images, {}, role="screen", cell_line="HCT116")
    other = execute(ingest.TASK, ingest.Params(folder=str(folder)), store).outputs["plate"]
    params: dict[str, Any] = {"plate": other, "method": "fpn2_ws", "networks": [], "made_by": None}
    found = add_part(store, "other", open_plate(store / other), dict.fromkeys(FIELDS, PROPOSED), params)
    sent = send(store, other, found)
    with pytest.raises(
        InputError, match=r"The plate annotated .* differs from what was sent: cell_line 'U2OS' and 'HCT116'"
    ):
        receive(store, sent, corrected(store, sent, {}))


@pytest.mark.parametrize("place", ["", "labels/"])
def test_label_images_without_their_unsure_folder_are_refused_since_unsure_nuclei_would_count_as_deleted(
    place: str, store: Path, plate: str, proposals: str
) -> None:
    sent = send(store, plate, proposals)
    answer = store.parent / "labels alone.zip"
    with zipfile.ZipFile(answer, "w") as archive:
        for path in (opened(store, sent) / "labels").iterdir():
            archive.write(path, f"{place}{path.name}")
    with pytest.raises(InputError, match=r"such as 001_p_B07_1.*without the folder 'unsure'.*Return the folders"):
        receive(store, sent, answer)


def of_supervisely(store: Path, sent: Result, change: Mapping[str, Callable[[dict[str, Any]], None]]) -> Path:
    """Export a whole project from Supervisely, in which the images of some fields were changed or tagged."""
    folder = opened(store, sent)
    for path in (folder / "nuclei/ann").iterdir():
        content = json.loads(path.read_text())
        for name, edit in change.items():
            if name in path.name:
                edit(content)
        path.write_text(json.dumps(content))
    return folder


def delete_one(content: dict[str, Any]) -> None:
    content["objects"].remove(next(one for one in content["objects"] if one["classTitle"] == "Nucleus"))


def tag(content: dict[str, Any]) -> None:
    content["tags"].append({"name": "corrected", "value": None})


def test_without_any_tag_images_that_nobody_changed_are_no_truth(store: Path, plate: str, proposals: str) -> None:
    sent = send(store, plate, proposals, tool="supervisely")
    received = receive(store, sent, of_supervisely(store, sent, {FIELDS[0]: delete_one}))
    first, *_, last = received.values["remarks"]
    assert first == "23 nuclei annotated in 1 field: 23 kept, 1 deleted"
    assert last.startswith("1 of 2 images came back exactly as they were sent and without the tag 'corrected'")
    assert [fov.name for fov in imported(store, received).fovs] == [FIELDS[0]]


def test_of_a_field_only_the_patches_that_were_changed_count_without_a_tag(
    store: Path, plate: str, proposals: str
) -> None:
    sent = send(store, plate, proposals, tool="supervisely", nuclei_per_patch=6, fovs=[FIELDS[0]])
    received = receive(store, sent, of_supervisely(store, sent, {"_y0-": delete_one}))
    assert "2 of 4 images came back exactly" in received.values["remarks"][-1]
    assert "didn't come back" not in " ".join(received.values["remarks"])
    (fov,) = imported(store, received).fovs
    assert fov.ignored_path is not None
    assert 0.3 < read_ignored(fov.ignored_path).mean() < 0.7


def test_an_export_without_a_tag_and_without_a_change_is_refused(store: Path, plate: str, proposals: str) -> None:
    sent = send(store, plate, proposals, tool="supervisely")
    with pytest.raises(InputError, match="none of its images was changed or has the tag 'corrected'"):
        receive(store, sent, of_supervisely(store, sent, {}))


def test_an_image_with_the_tag_is_accepted_as_it_was_proposed(store: Path, plate: str, proposals: str) -> None:
    sent = send(store, plate, proposals, tool="supervisely")
    received = receive(store, sent, of_supervisely(store, sent, {FIELDS[1]: tag}))
    assert received.values["remarks"][0] == "24 nuclei annotated in 1 field: 24 kept"
    assert not any("exactly as they were sent" in remark for remark in received.values["remarks"])
    # Somebody looked at it, for nobody knows how long.
    assert received.values["effort"] is None
    assert not any("saved" in remark for remark in received.values["remarks"])
    assert set(read_origins(imported(store, received).folder)["origin"]) == {"accepted"}
