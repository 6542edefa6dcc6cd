"""The training of Mask R-CNN on tiny ROIs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from numpy.testing import assert_array_equal

from tasks.contract import BAD_INPUT, DONE, execute
from tasks.methods.mask_rcnn.network import Architecture, MaskRcnn, load_mask_rcnn
from tasks.methods.mask_rcnn.train import MOST_NUCLEI, TASK, Params, boxed_batch, numbered_with_boxes, stages
from tasks.methods.shared.training import Stage
from tasks.methods.shared.weights_file import read_weights
from tasks.nuclei.roi_file import RoiReader
from tests.repository import REPOSITORY
from tests.rois import make_roi_file

TINY: dict[str, Any] = {
    "rois": "rois.h5",
    "preset": "laptop",
    "pyramid_filters": 8,
    "rpn_filters": 8,
    "head_units": 8,
    "mask_filters": 8,
    "precision": "float32",
    "proposals": 12,
    "cycles": 2,
    "batch_size": 1,
    "schedule": "constant",
}


def arguments(store: Path, params: dict[str, Any]) -> list[str]:
    return ["--params", json.dumps(params), "--store", str(store)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_roi_file(tmp_path / "rois.h5", training=2, validation=1, roi_px=256)
    return tmp_path


def test_labels_are_numbered_by_size_and_have_their_boxes() -> None:
    label_image = np.zeros((256, 256), np.uint16)
    label_image[5:8, 10:14] = 7
    label_image[100:120, 50:90] = 3
    numbered, boxes = numbered_with_boxes(label_image)
    assert (numbered[6, 12], numbered[110, 60], numbered[0, 0]) == (2, 1, 0)
    assert_array_equal(boxes[:3], [[100, 50, 120, 90], [5, 10, 8, 14], [0, 0, 0, 0]])


def test_of_too_many_nuclei_the_smallest_are_background() -> None:
    label_image = np.arange(256 * 256).reshape(256, 256) // 100
    label_image[0, :2] = label_image.max() + 1  # A tiny one.
    numbered, boxes = numbered_with_boxes(label_image)
    assert numbered.max() == MOST_NUCLEI
    assert numbered[0, 0] == 0
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_an_image_without_nuclei_has_no_boxes() -> None:
    numbered, boxes = numbered_with_boxes(np.zeros((256, 256), np.uint16))
    assert numbered.max() == boxes.max() == 0


def test_nuclei_that_are_cut_have_no_box_and_nothing_is_known_where_they_are(tmp_path: Path) -> None:
    path = make_roi_file(tmp_path / "rois.h5", training=2, validation=1, roi_px=256, ignored_columns=14)
    images, label_images, boxes, unknown = boxed_batch(RoiReader(path, leaves_out_ignored=True), [0, 1])
    assert (label_images.max(axis=(1, 2)) == 1).all()
    assert ((boxes[..., 2] > 0).sum(axis=1) == 1).all()
    assert (boxes[:, 0, 1] >= 128).all()
    assert unknown[:, :, :14].all()
    assert (unknown[:, :, 14:128] == (images[:, :, 14:128] > 100)).all()
    assert not unknown[:, :, 128:].any()


def test_a_batch_of_whole_fields_is_as_it_always_was(store: Path) -> None:
    assert len(boxed_batch(RoiReader(store / "rois.h5"), [0])) == 3


def test_the_papers_rounds_are_scaled_to_any_number_of_cycles() -> None:
    found = stages(Params(rois="rois.h5", cycles=5))
    assert [stage.until * 200 for stage in found] == [75, 100, 125, 150, 175, 200]
    assert [stage.is_frozen for stage in found] == [True, True, True, False, False, False]
    assert [stage.rate for stage in found] == [1, 0.1, 0.01, 0.1, 0.01, 0.001]
    assert stages(Params(rois="rois.h5", preset="laptop")) == (Stage(1.0),)


def test_with_random_weights_all_layers_learn_throughout_whatever_the_preset() -> None:
    params = Params(rois="rois.h5", preset="paper", initialisation="random")
    assert stages(params) == (Stage(1.0),)
    assert params.batch_norm_learns
    assert not Params(rois="rois.h5", preset="paper").batch_norm_learns
    with pytest.raises(ValueError, match=r'stages="heads_first" freezes pretrained weights .*; with "random" nothing'):
        Params(rois="rois.h5", preset="paper", initialisation="random", stages="heads_first")


def test_pretrained_weights_are_of_the_paper_s_network_whatever_the_preset() -> None:
    params = Params(rois="rois.h5", preset="laptop", initialisation="pretrained")
    assert (params.depth, params.pyramid_filters, params.cycles) == (101, 256, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"initialisation": "coco", "cycles": 0}, "cycles=0 keeps the initial weights"),
        ({"initialisation": "random", "batch_norm_learns": False}, 'with "random" it is true'),
    ],
)
def test_params_that_can_give_no_nuclei_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        Params(rois="rois.h5", **given)


@pytest.mark.slow
def test_pretrained_weights_are_kept_as_they_are_without_a_training(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = Architecture(50, 8, 8, 8, 8, scaling="percentile")
    MaskRcnn(architecture).model.save_weights(tmp_path / "mask_rcnn_nuclei.h5")
    params = TINY | {"depth": 50, "initialisation": "pretrained", "cycles": 0}
    monkeypatch.setenv("NUCLEUS_WEIGHTS", str(tmp_path))
    assert TASK.main(arguments(store, params)) == DONE
    (result,) = store.glob("train_mask_rcnn/*/result.json")
    assert load_mask_rcnn(result.parent).architecture == architecture
    kept, pretrained = (read_weights(path) for path in (result.parent / "weights.h5", tmp_path / "mask_rcnn_nuclei.h5"))
    assert "mrcnn_mask/kernel" in pretrained
    for name, values in pretrained.items():
        assert_array_equal(kept[name], values)


@pytest.mark.slow
@pytest.mark.usefixtures("power_may_go")
def test_a_training_learns(store: Path) -> None:
    folder = store / execute(TASK, Params(**TINY), store).outputs["network"]
    history = losses_in(folder)
    assert history[-1][0] < 0.8 * history[0][0]
    assert load_mask_rcnn(folder).architecture.depth == 50


@pytest.mark.long
def test_the_same_training_in_another_process_begins_with_the_same_losses(store: Path, tmp_path: Path) -> None:
    folder = store / execute(TASK, Params(**TINY | {"cycles": 1}), store).outputs["network"]
    again = tmp_path / "again"
    again.mkdir()
    shutil.copyfile(store / "rois.h5", again / "rois.h5")
    command = [sys.executable, "-m", "tasks.methods.mask_rcnn.train", *arguments(again, TINY | {"cycles": 1})]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == DONE, ended.stdout
    (result,) = again.glob("train_mask_rcnn/*/result.json")
    assert losses_in(result.parent) == losses_in(folder)


def losses_in(folder: Path) -> list[tuple[float, float]]:
    """Training and validation loss of each cycle."""
    return [(cycle["loss"], cycle["validation_loss"]) for cycle in json.loads((folder / "history.json").read_text())]


def test_without_the_file_of_weights_it_says_where_to_put_it(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from_coco = arguments(store, TINY | {"initialisation": "coco"})
    monkeypatch.delenv("NUCLEUS_WEIGHTS", raising=False)
    assert TASK.main(from_coco) == BAD_INPUT
    assert "needs the file mask_rcnn_coco.h5" in caplog.text
    monkeypatch.setenv("NUCLEUS_WEIGHTS", str(store))
    assert TASK.main(from_coco) == BAD_INPUT
    assert "mask_rcnn_coco.h5 does not exist" in caplog.text
