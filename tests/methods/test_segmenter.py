"""Loading trained networks of any method."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tasks.methods.fpn2_ws.network import load_map_network
from tasks.methods.fpn2_ws.segmenter import Fpn2Ws
from tasks.methods.jacobkie.network import load_jacobkie
from tasks.methods.jacobkie.segmenter import JacobkieSegmenter
from tasks.methods.mask_rcnn.network import load_mask_rcnn
from tasks.methods.mask_rcnn.segmenter import MaskRcnnSegmenter
from tasks.methods.method import Method
from tasks.methods.registry import load_segmenter, method_named, method_of_networks
from tasks.methods.saved_model import load_model, save_model
from tasks.methods.segmenter import Segmenter
from tasks.methods.shared.kept_network import KeptNetwork
from tasks.nuclei.errors import InputError
from tasks.nuclei.intensity import SCALINGS, Scaling, grey_levels, least_span
from tests.networks import make_jacobkie, make_mask_rcnn, make_network

FPN2_WS, MASK_RCNN, JACOBKIE = map(method_named, ("fpn2_ws", "mask_rcnn", "jacobkie"))


def load(method: Method, *network_dirs: Path) -> Segmenter:
    return load_segmenter(method, network_dirs, method.settings())


def test_a_network_tells_its_method(tmp_path: Path) -> None:
    made: list[tuple[Method, Path, type[Segmenter]]] = [
        (FPN2_WS, make_network(tmp_path / "a"), Fpn2Ws),
        (MASK_RCNN, make_mask_rcnn(tmp_path / "b"), MaskRcnnSegmenter),
        (JACOBKIE, make_jacobkie(tmp_path / "c"), JacobkieSegmenter),
    ]
    for method, network, segmenter in made:
        assert method_of_networks([network]) == method
        assert isinstance(load(method, network), segmenter)


def test_a_network_from_before_there_were_several_methods_is_one_of_fpn2_ws(tmp_path: Path) -> None:
    file = make_network(tmp_path / "a") / "network.json"
    content = json.loads(file.read_text())
    del content["method"]
    file.write_text(json.dumps(content))
    assert method_of_networks([file.parent]) == FPN2_WS
    assert isinstance(load(FPN2_WS, file.parent), Fpn2Ws)


@pytest.mark.parametrize(
    ("make", "load_network"),
    [(make_network, load_map_network), (make_mask_rcnn, load_mask_rcnn), (make_jacobkie, load_jacobkie)],
)
def test_a_network_from_before_there_was_a_choice_sees_fields_from_minimum_to_maximum_and_with_its_zoom(
    make: Callable[[Path], Path], load_network: Callable[[Path], KeptNetwork], tmp_path: Path
) -> None:
    file = make(tmp_path / "a") / "network.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"scaling": "robust"}))
    assert load_network(file.parent).architecture.scaling == "robust"
    del content["scaling"], content["nucleus_px"]
    file.write_text(json.dumps(content | {"zoom": 2.0}))
    earlier = load_network(file.parent).architecture
    assert (earlier.scaling, earlier.zoom, earlier.nucleus_px) == ("minmax", 2, None)
    file.write_text(json.dumps(content | {"scaling": "clahe"}))
    with pytest.raises(
        InputError, match="The intensity scaling is 'clahe', and this program knows percentile, minmax, robust"
    ):
        load_network(file.parent)


@pytest.mark.parametrize(
    ("method", "make"), [(FPN2_WS, make_network), (MASK_RCNN, make_mask_rcnn), (JACOBKIE, make_jacobkie)]
)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_segmenter_scales_fields_as_its_network_saw_its_rois_and_at_the_level_of_their_plate(
    method: Method, make: Callable[[Path], Path], scaling: Scaling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make(tmp_path / "a") / "network.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"scaling": scaling}))
    image: np.ndarray = np.random.default_rng(0).integers(0, 999, (64, 64)).astype(np.float32)
    segmenter = load(method, file.parent).at_the_level_of([image])
    asked = []

    def noted(image: np.ndarray, scaling: Scaling, least_span: float) -> np.ndarray:
        asked.append((scaling, least_span))
        return grey_levels(image, scaling, least_span)

    for module in ("fpn2_ws.nuclei", "mask_rcnn.segmenter", "jacobkie.segmenter"):
        monkeypatch.setattr(f"tasks.methods.{module}.grey_levels", noted)
    segmenter.look_at(image)
    assert asked == [(scaling, least_span([image]))]
    assert segmenter.least_span > 400


def test_networks_of_two_methods_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    one, other = make_network(tmp_path / "a"), make_mask_rcnn(tmp_path / "b")
    with pytest.raises(InputError, match="of the methods fpn2_ws, mask_rcnn; give networks of one"):
        load(FPN2_WS, one, other)
    with pytest.raises(InputError, match="The networks are of the method fpn2_ws, not of mask_rcnn"):
        load(MASK_RCNN, one)
    with pytest.raises(InputError, match="Mask R-CNN is one network; 2 were given"):
        load(MASK_RCNN, other, other)
    (one / "network.json").write_text('{"method": "u_net"}')
    with pytest.raises(InputError, match=r"no method 'u_net'; there are fpn2_ws, .* Is its package installed"):
        load(FPN2_WS, one)


@pytest.mark.parametrize(
    ("method", "make", "thresholds"),
    [
        (FPN2_WS, make_network, {"marker_threshold": 0.5, "foreground_threshold": 0.5}),
        (MASK_RCNN, make_mask_rcnn, {"min_score": 0.5}),
        (JACOBKIE, make_jacobkie, {"core_depth": 0.3}),
    ],
)
def test_a_saved_one_segments_as_before(
    tmp_path: Path, method: Method, make: Callable[[Path], Path], thresholds: dict[str, float]
) -> None:
    network = make(tmp_path / "network")
    settings = method.settings.model_validate({"min_area_px": 5, **thresholds})
    image = np.random.default_rng(0).integers(0, 255, (100, 120)).astype(np.uint8)
    expected = load_segmenter(method, [network], settings).segment(image)
    save_model(method, [network], settings, tmp_path / "saved")
    saved = load_model(tmp_path / "saved")
    assert saved.settings == settings
    assert_array_equal(saved.segment(image), expected)
