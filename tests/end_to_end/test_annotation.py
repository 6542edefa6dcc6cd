"""From a plate without labels to a better model, with a real Airflow: propose, send, correct, return, train."""

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nucleus_dags.local.home import Home
from tasks.annotation.sheet import Nucleus, Sheet, nuclei_in
from tasks.annotation.tools import TOOLS
from tasks.nuclei.patch_grid import Patch
from tasks.nuclei.plates.chosen_patches import read_chosen_patches
from tasks.nuclei.plates.files import Fov, open_plate
from tasks.nuclei.plates.image_files import read_ignored, read_image, read_label_image
from tasks.nuclei.plates.origins import read_origins
from tests.end_to_end.laboratory import Laboratory, laboratory
from tests.synthetic_plates import make_synthetic_plate

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

TOOL = TOOLS["supervisely"]
TRAINING = {"initialisation": "random", "random_seed": 0}


class Annotator:
    """Knows the true labels of a plate, and corrects what is proposed with a tool."""

    def __init__(self, truth: Path) -> None:
        self.truth = open_plate(truth)

    def correct(self, archive: Path, answer: Path) -> None:
        """Draw the true nuclei in every image that was sent, merges, splits and false ones gone, and export it."""
        opened, exported = answer.with_suffix(".opened"), answer.with_suffix(".exported")
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(opened)
        sheets = [self._corrected(sheet) for sheet in TOOL.read(opened)]
        exported.mkdir()
        TOOL.write(sheets, {sheet.name: self._image(sheet) for sheet in sheets}, exported)
        for path in (exported / "nuclei/ann").iterdir():
            content = json.loads(path.read_text())
            path.write_text(json.dumps(content | {"tags": [{"name": TOOL.done_tag, "value": None}]}))
        shutil.make_archive(str(answer.with_suffix("")), "zip", exported)

    def _corrected(self, sheet: Sheet) -> Sheet:
        labels = self._labels(sheet)
        patch = sheet.patch or Patch(0, 0, *labels.shape)
        proposed = [nucleus for nucleus in sheet.nuclei if nucleus.kind == "nucleus"]
        inside = [nucleus for nucleus in nuclei_in(labels) if _begins_in(nucleus, patch)]
        taken: set[int] = set()
        return replace(sheet, nuclei=tuple(_numbered(nucleus, proposed, taken) for nucleus in inside))

    def _fov(self, sheet: Sheet) -> Fov:
        return next(fov for fov in self.truth.fovs if f"_{fov.name}_annotation-" in sheet.name)

    def _image(self, sheet: Sheet) -> NDArray[Any]:
        return read_image(self._fov(sheet).image_path)

    def _labels(self, sheet: Sheet) -> NDArray[np.int32]:
        return labels_of(self._fov(sheet))


def labels_of(fov: Fov) -> NDArray[np.int32]:
    assert fov.labels_path is not None
    return read_label_image(fov.labels_path)


def _begins_in(nucleus: Nucleus, patch: Patch) -> bool:
    return patch.y0 <= nucleus.top < patch.y1 and patch.x0 <= nucleus.left < patch.x1


def _numbered(nucleus: Nucleus, proposed: list[Nucleus], taken: set[int]) -> Nucleus:
    """Give the number of the proposal that a person reshapes into this nucleus; a new one has none."""
    near = [one for one in proposed if abs(one.top - nucleus.top) < 10 and abs(one.left - nucleus.left) < 10]
    number = next((one.sent_id for one in near if one.sent_id not in taken), None)
    if number is not None:
        taken.add(number)
    return replace(nucleus, sent_id=number)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("nucleus")
    box = Home(folder).inbox
    sides = {"height_px": 512, "width_px": 512}
    truth = make_synthetic_plate(folder / "truth", role="train", random_seed=1, fovs=4, **sides)
    unlabelled = box / "screened"
    shutil.copytree(truth, unlabelled, ignore=shutil.ignore_patterns("labels"))
    info = json.loads((unlabelled / "plate.json").read_text()) | {"name": "screened", "role": "screen"}
    (unlabelled / "plate.json").write_text(json.dumps(info))
    make_synthetic_plate(box / "tiny-train", role="train", random_seed=2)
    make_synthetic_plate(box / "tiny-test", role="test", random_seed=3, **sides)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NUCLEUS_INBOX_QUIET_S", "1")
        with laboratory(folder) as started:
            started.unpause("ingest_plates")
            yield started


def f1_at_object_level(lab: Laboratory, dag_run_id: str) -> float:
    scored = lab.results("train_models", dag_run_id)["score"]
    (of_model,) = (result for result in scored if result["mlflow_run_id"])
    return float(of_model["metrics"]["f1_at_0.7/all"])


def annotated_plate(lab: Laboratory, name: str) -> Any:
    (folder,) = lab.home.store.glob(f"ingest/{name}@*")
    return open_plate(folder)


def send_and_return(lab: Laboratory, **form: Any) -> str:
    """Have an annotator correct what is sent, and put what the tool exports into the inbox; gives the note."""
    form = {"plate": "screened", "tool": "supervisely", **form}
    sent = lab.run("send_to_annotation", **form)
    (archive,) = (lab.home.inbox / "to_annotate").glob(f"{form['target']}_*.zip")
    answer = lab.home.folder / f"{form['target']}.zip"
    Annotator(lab.home.folder / "truth").correct(archive, answer)
    answer.rename(lab.home.inbox / f"export of {form['target']}.zip")
    lab.wait_until(lambda: any(lab.home.store.glob(f"ingest/{form['target']}@*")), "the answer is imported")
    return lab.note("send_to_annotation", sent)


def test_a_plate_without_labels_becomes_truth_that_trains_a_better_model(lab: Laboratory) -> None:
    note = send_and_return(lab, proposals="champion", patches=3, nuclei_per_patch=12, fields=None, target="in-part")
    assert "images of" in note.splitlines()[0]
    assert "nucleus-segmenter" not in note
    assert list((lab.home.inbox / "to_annotate").glob("in-part_*.html")), "the queue of patches lies beside the archive"

    plate = annotated_plate(lab, "in-part")
    assert (plate.info.role, plate.info.annotation) == ("train", "semi-automatic")
    assert "random" in set(read_chosen_patches(plate.folder)["choice"])
    in_part = [fov for fov in plate.fovs if fov.ignored_path]
    assert in_part, "some of a field wasn't looked at"
    assert 0 < read_ignored(in_part[0].ignored_path).mean() < 1
    origins = read_origins(plate.folder)
    assert set(origins["origin"]) <= {"accepted", "corrected", "drawn"}
    proposed = origins[origins["origin"] != "drawn"]
    assert len(proposed) > 10
    assert proposed["model"].eq("nucleus-segmenter version 1").all()

    plates = {"test_plates": ["tiny-test"]}
    weak = lab.run("train_models", **plates, train_plates=["tiny-train"], rois=60, cycles=1, **TRAINING)
    (trained,) = lab.results("train_models", weak)["train"]
    better = lab.run(
        "train_models",
        **plates,
        train_plates=["in-part"],
        rois=500,
        cycles=2,
        **TRAINING | {"initialisation": trained["outputs"]["network"]},
    )
    assert f1_at_object_level(lab, better) > f1_at_object_level(lab, weak) + 0.1


def test_whole_fields_can_be_proposed_without_any_network_and_come_back_whole(lab: Laboratory) -> None:
    send_and_return(lab, proposals="classical", fields=2, target="whole")
    plate = annotated_plate(lab, "whole")
    assert len(plate.fovs) == 2
    assert [fov.ignored_path for fov in plate.fovs] == [None, None]
    truth = {fov.name: fov for fov in open_plate(lab.home.folder / "truth").fovs}
    for fov in plate.fovs:
        labels, true_labels = labels_of(fov), labels_of(truth[fov.name])
        np.testing.assert_array_equal(labels > 0, true_labels > 0)
        assert len(np.unique(labels)) == len(np.unique(true_labels))
    assert set(read_origins(plate.folder)["model"]) <= {"classical", ""}
