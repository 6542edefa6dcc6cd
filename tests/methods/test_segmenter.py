"""Loading trained networks of any method."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tasks.methods.fpn2_ws.segmenter import Fpn2Ws
from tasks.methods.jacobkie.network import Architecture as JacobkieArchitecture
from tasks.methods.jacobkie.network import Jacobkie
from tasks.methods.jacobkie.segmenter import JacobkieSegmenter
from tasks.methods.mask_rcnn.network import Architecture, MaskRcnn
from tasks.methods.mask_rcnn.segmenter import MaskRcnnSegmenter
from tasks.methods.segmenter import load_saved_segmenter, load_segmenter, save_segmenter
from tasks.nuclei.errors import InputError
from tasks.nuclei.segmentation import SegmentationSettings
from tests.networks import make_network

SETTINGS = SegmentationSettings(marker_threshold=0.5, foreground_threshold=0.5, min_area_px=5)


def make_mask_rcnn(folder: Path) -> Path:
    folder.mkdir(parents=True)
    MaskRcnn(Architecture(50, pyramid_filters=8, rpn_filters=8, head_units=8, mask_filters=8)).save(folder)
    return folder


def make_jacobkie(folder: Path) -> Path:
    folder.mkdir(parents=True)
    Jacobkie(JacobkieArchitecture(50, 8, 2, zooms=(0.5, 1.0))).save(folder)
    return folder


def test_a_network_tells_its_method(tmp_path: Path) -> None:
    assert isinstance(load_segmenter([make_network(tmp_path / "a")], SETTINGS), Fpn2Ws)
    assert isinstance(load_segmenter([make_mask_rcnn(tmp_path / "b")], SETTINGS), MaskRcnnSegmenter)
    assert isinstance(load_segmenter([make_jacobkie(tmp_path / "c")], SETTINGS), JacobkieSegmenter)


def test_a_network_from_before_there_were_several_methods_is_one_of_fpn2_ws(tmp_path: Path) -> None:
    file = make_network(tmp_path / "a") / "network.json"
    content = json.loads(file.read_text())
    del content["method"]
    file.write_text(json.dumps(content))
    assert isinstance(load_segmenter([file.parent], SETTINGS), Fpn2Ws)


def test_networks_of_two_methods_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    one, other = make_network(tmp_path / "a"), make_mask_rcnn(tmp_path / "b")
    with pytest.raises(InputError, match="of the methods fpn2_ws, mask_rcnn; give networks of one"):
        load_segmenter([one, other], SETTINGS)
    with pytest.raises(InputError, match="Mask R-CNN is one network; 2 were given"):
        load_segmenter([other, other], SETTINGS)
    (one / "network.json").write_text('{"method": "u_net"}')
    with pytest.raises(InputError, match="of the method 'u_net', which isn't known"):
        load_segmenter([one], SETTINGS)


@pytest.mark.parametrize("make", [make_network, make_mask_rcnn, make_jacobkie])
def test_a_saved_one_segments_as_before(tmp_path: Path, make) -> None:
    network = make(tmp_path / "network")
    image = np.random.default_rng(0).integers(0, 255, (100, 120)).astype(np.uint8)
    expected = load_segmenter([network], SETTINGS).segment(image)
    save_segmenter([network], SETTINGS, tmp_path / "saved")
    saved = load_saved_segmenter(tmp_path / "saved")
    assert saved.settings == SETTINGS
    assert_array_equal(saved.segment(image), expected)
