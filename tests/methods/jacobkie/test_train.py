"""Jacobkie trained on tiny ROIs, and taken pretrained."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydantic
import pytest

from tasks.contract import BAD_INPUT, DONE, execute
from tasks.methods.jacobkie.network import Architecture, Jacobkie, load_jacobkie
from tasks.methods.jacobkie.train import TASK, Params, positioned_batch
from tasks.nuclei.roi_file import RoiReader
from tests.rois import make_roi_file

TINY: dict[str, Any] = {
    "rois": "rois.h5",
    "preset": "laptop",
    "filters": 8,
    "precision": "float32",
    "magnification": 1,
    "cycles": 3,
    "batch_size": 2,
}


def train(store: Path, params: dict[str, Any]) -> int:
    return TASK.main(["--params", json.dumps(params), "--store", str(store)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_roi_file(tmp_path / "rois.h5")
    return tmp_path


def test_a_batch_has_positions_in_nuclei_only(store: Path) -> None:
    images, positions = positioned_batch(RoiReader(store / "rois.h5"), [0, 5])
    assert (images.shape, positions.shape) == ((2, 64, 64), (2, 64, 64, 8))
    assert positions.dtype == np.float32
    assert (np.isnan(positions).all(axis=-1) == (images < 100)).all()
    assert (np.nanmin(positions), np.nanmax(positions)) == (-1, 1)


def test_of_a_batch_in_part_neither_ignored_pixels_count_nor_nuclei_that_are_cut(tmp_path: Path) -> None:
    path = make_roi_file(tmp_path / "rois.h5", ignored_columns=12)
    reader = RoiReader(path, leaves_out_ignored=True)
    images, _, annotated = positioned_batch(reader, [0, 5])
    assert not annotated[:, :, :15].any()
    # The first square begins in columns 4 to 7 and is cut, the second one is whole.
    for image, counts in zip(images, annotated, strict=True):
        assert not counts[:, :24][image[:, :24] > 100].any()
        assert counts[:, 36:].all()
        assert counts[:, 15:][image[:, 15:] < 100].all()


def test_pretrained_weights_are_of_the_paper_s_network_whatever_the_preset() -> None:
    params = Params(rois="rois.h5", preset="laptop", initialisation="pretrained")
    assert (params.depth, params.filters, params.magnification, params.cycles) == (101, 256, 4, 0)
    assert params.zooms == (0.25, 0.5, 1, 2)
    assert Params(rois="rois.h5") == Params(rois="rois.h5", initialisation="pretrained", cycles=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"initialisation": "random"}, "cycles=0 keeps the initial weights"),
        ({"initialisation": "train_jacobkie/0123456789abcdef"}, "cycles=0 keeps the initial weights"),
        ({"initialisation": "random", "cycles": 1, "batch_norm_learns": False}, 'with "random" it is true'),
        ({"zooms": [1, 16]}, "16.0: a zoom is between 0.125 and 8"),
        ({"magnification": 3}, "magnification"),
    ],
)
def test_params_that_can_give_no_nuclei_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        Params(rois="rois.h5", **given)


@pytest.mark.slow
@pytest.mark.usefixtures("power_may_go")
def test_a_training_learns_and_is_on_the_disk_before_it_counts(store: Path) -> None:
    folder = store / execute(TASK, Params(**TINY), store).outputs["network"]
    history = json.loads((folder / "history.json").read_text())
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert load_jacobkie(folder).architecture == Architecture(50, 8, 1, "float32", (1.0,), scaling="percentile")


@pytest.mark.slow
def test_pretrained_weights_are_kept_as_they_are_without_a_training(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained = Jacobkie(Architecture(scaling="robust"))
    pretrained.model.save_weights(tmp_path / "jacobkie_2018dsb.h5")
    monkeypatch.setenv("NUCLEUS_WEIGHTS", str(tmp_path))
    assert train(store, {"rois": "rois.h5", "precision": "float32"}) == DONE
    (result,) = store.glob("train_jacobkie/*/result.json")
    with h5py.File(result.parent / "weights.h5") as kept, h5py.File(tmp_path / "jacobkie_2018dsb.h5") as file:
        name = "output_ldr_conv/output_ldr_conv/kernel:0"
        np.testing.assert_array_equal(kept[name], file[name])
    assert json.loads(result.read_text())["counts"]["weights"] == pretrained.model.count_params()


def test_without_the_pretrained_file_it_says_where_to_put_it(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NUCLEUS_WEIGHTS", raising=False)
    assert train(store, {"rois": "rois.h5"}) == BAD_INPUT
    assert "needs the file jacobkie_2018dsb.h5 of the project jacobkie/2018DSB" in caplog.text
