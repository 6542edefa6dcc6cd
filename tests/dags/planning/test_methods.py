"""From a filled form to candidates, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.forms.train_models import train_models_form
from nucleus_dags.manifest import manifest, settings_params, training_params
from nucleus_dags.planning.methods import candidates_of, settings_of
from nucleus_dags.planning.types import Candidate, Params
from tasks.methods.external.train import Params as TrainExternalParams
from tasks.methods.fpn2_ws.train import Params as TrainFpnParams
from tasks.methods.jacobkie.train import Params as TrainJacobkieParams
from tasks.methods.mask_rcnn.train import Params as TrainMaskRcnnParams
from tests.dags.forms.filled import SPOTS, add_method, filled

PARAMS: dict[str, Any] = {
    "fpn2_ws": TrainFpnParams,
    "mask_rcnn": TrainMaskRcnnParams,
    "jacobkie": TrainJacobkieParams,
    "external": TrainExternalParams,
}


BASE: Any = manifest()["methods"]["fpn2_ws"]["initial_weights"]["base"]


def form(**changes: Any) -> dict[str, Any]:
    return filled(train_models_form(), **changes)


def all_candidates(**changes: Any) -> list[Candidate]:
    return candidates_of(form(**changes))


def candidates(**changes: Any) -> list[Candidate]:
    """Give the candidates that are trained."""
    return [candidate for candidate in all_candidates(**changes) if "settings" not in candidate]


def trainings(**changes: Any) -> list[Params]:
    return [training for candidate in candidates(**changes) for training in candidate["trainings"]]


def settings(**changes: Any) -> dict[str, Params]:
    given = form(**changes)
    return settings_of(given, given["methods"])


def test_an_empty_field_is_not_sent_so_that_the_preset_holds() -> None:
    assert candidates() == [
        {
            "name": "fpn2_ws",
            "method": "fpn2_ws",
            "trainings": [{"target": "all", "preset": "laptop", "random_seed": 0}],
        }
    ]
    assert settings() == {"fpn2_ws": {}}


def test_a_filled_field_is_sent_and_a_switch_if_it_was_switched() -> None:
    chosen = {"encoder": "resnet34", "initialisation": "random", "cycles": 3, "batch_size": 2, "learning_rate": 0.5}
    assert trainings(**chosen, random_seed=7) == [{"target": "all", "preset": "laptop", "random_seed": 7, **chosen}]
    assert settings(marker_threshold=0.5) == {"fpn2_ws": {"marker_threshold": 0.5}}
    assert settings(test_time_augmentation=True) == {"fpn2_ws": {"test_time_augmentation": True}}


@pytest.mark.parametrize("preset", manifest()["presets"])
@pytest.mark.parametrize("method", PARAMS)
def test_the_trainings_of_a_form_are_what_the_task_of_the_method_takes(method: str, preset: str) -> None:
    own: dict[str, Any] = {"tool": ["stardist"]} if method == "external" else {"cycles": 3}
    found = trainings(methods=[method], preset=preset, initialisation="random", **own)
    for training in found:
        assert PARAMS[method](rois="augment/1/rois.h5", **training).initialisation == "random"


def test_two_networks_are_one_for_each_target() -> None:
    assert [training["target"] for training in trainings(networks="foreground")] == ["all"]
    assert [training["target"] for training in trainings(networks="shared", initialisation="random")] == ["both"]
    two = trainings(networks="two", initialisation="random")
    assert [training["target"] for training in two] == ["distance_map", "blurred_border"]


def test_the_preset_chooses_one_network_or_two() -> None:
    assert len(trainings(preset="laptop")) == 1
    assert len(trainings(preset="paper")) == 2
    assert len(trainings(preset="paper", networks="shared")) == 1


def test_the_choice_of_networks_is_left_out_for_methods_that_have_none() -> None:
    both = candidates(methods=["fpn2_ws", "jacobkie"], networks="two", initialisation="random")
    assert [len(candidate["trainings"]) for candidate in both] == [2, 1]


def test_every_method_is_a_candidate_with_the_settings_that_are_its_own() -> None:
    chosen = {"encoder": BASE["network"]["encoder"], "cycles": 3, "initialisation": "coco"}
    found = candidates(methods=["mask_rcnn", "fpn2_ws"], **chosen)
    assert [candidate["name"] for candidate in found] == ["mask_rcnn", "fpn2_ws"]
    shared = {"preset": "laptop", "cycles": 3, "random_seed": 0}
    assert [candidate["trainings"] for candidate in found] == [
        [{"initialisation": "coco"} | shared],
        [{"encoder": BASE["network"]["encoder"], "target": "all"} | shared],
    ]


@pytest.mark.parametrize(
    ("initial_weights", "fit"),
    [
        ("random", ["mask_rcnn", "fpn2_ws", "jacobkie"]),
        ("imagenet", ["fpn2_ws"]),
        ("coco", ["mask_rcnn", "jacobkie"]),
        ("pretrained", ["mask_rcnn", "jacobkie"]),
        ("train_fpn2_ws/0123456789abcdef", ["fpn2_ws"]),
        ("train_fpn/0123456789abcdef", ["fpn2_ws"]),
        ("train_mask_rcnn/0123456789abcdef", ["mask_rcnn"]),
    ],
)
def test_initial_weights_go_to_the_methods_that_can_take_them(initial_weights: str, fit: list[str]) -> None:
    found = candidates(methods=["mask_rcnn", "fpn2_ws", "jacobkie"], initialisation=initial_weights)
    taken = [c["name"] for c in found if c["trainings"][0].get("initialisation") == initial_weights]
    assert taken == fit


def test_initial_weights_that_no_method_can_take_are_refused_with_those_that_there_are() -> None:
    message = "Initial weights imagenet are of none of the methods mask_rcnn; .* coco, pretrained, random, train_mask"
    with pytest.raises(FormError, match=message):
        candidates(methods=["mask_rcnn"], initialisation="imagenet")


def test_every_third_party_tool_is_a_candidate_of_its_name() -> None:
    found = candidates(
        methods=["fpn2_ws", "external"], tool=["stardist", " cellpose", ""], cycles=3, initialisation="random"
    )
    assert [candidate["name"] for candidate in found] == ["fpn2_ws", "stardist", "cellpose"]
    assert [candidate["trainings"] for candidate in found[1:]] == [
        [{"tool": tool, "initialisation": "random", "random_seed": 0}] for tool in ("stardist", "cellpose")
    ]


def test_third_party_tools_without_their_method_and_the_method_without_a_tool_are_refused() -> None:
    with pytest.raises(FormError, match="Third-party tools: choose at least one; there are stardist, cellpose"):
        candidates(methods=["external"])
    with pytest.raises(FormError, match=r"Third-party tools: the methods chosen \(FPN2-WS\) don't have this"):
        candidates(tool=["stardist"])


def test_a_field_of_empty_lines_is_empty() -> None:
    assert candidates(tool=["", " "]) == candidates()


def test_a_tool_of_the_laboratorys_own_is_taken_and_an_unknown_one_is_refused_with_the_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path))
    with pytest.raises(
        FormError, match=r"there is no mine, neither .* nor in .*/tools\.yaml; there are stardist, cell"
    ):
        candidates(methods=["external"], tool=["stardist", "mine"])
    (tmp_path / "tools.yaml").write_text("mine:\n  segment: [find]\n")
    assert [candidate["name"] for candidate in candidates(methods=["external"], tool=["mine"])] == ["mine"]
    with pytest.raises(FormError, match=r"there is no yours, .*; there are stardist, cellpose, mine"):
        candidates(methods=["external"], tool=["yours"])


@pytest.mark.parametrize("content", ["mine: [", "- mine", "mine"])
def test_a_file_of_tools_that_can_not_be_read_is_refused_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path))
    (tmp_path / "tools.yaml").write_text(content)
    with pytest.raises(FormError, match=rf"{tmp_path}/tools\.yaml .*; correct it"):
        candidates(methods=["external"], tool=["stardist"])


def test_a_tool_with_the_name_of_a_method_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path))
    (tmp_path / "tools.yaml").write_text("mask_rcnn:\n  segment: [find]\n")
    with pytest.raises(FormError, match="Two candidates are called mask_rcnn; give the third-party tool another name"):
        candidates(methods=["mask_rcnn", "external"], tool=["mask_rcnn"])


@pytest.mark.parametrize(
    ("methods", "field", "value", "title"),
    [
        (["external"], "cycles", 3, "Epochs"),
        (["external"], "cycles", 0, "Epochs"),
        (["external"], "networks", "two", "Networks"),
        (["external"], "padding", "zero", "Padding"),
        (["mask_rcnn"], "marker_threshold", 0.5, "Marker threshold"),
        (["mask_rcnn"], "encoder", "resnet34", "Encoder"),
        (["mask_rcnn", "jacobkie"], "test_time_augmentation", True, "Test-time augmentation"),
        (["mask_rcnn"], "max_tile_px", 512, "Maximum tile size"),
        (["fpn2_ws"], "min_score", 0.5, "Minimum score"),
        (["fpn2_ws", "mask_rcnn"], "core_depth", 0.5, "Core depth"),
    ],
)
def test_a_filled_field_that_none_of_the_chosen_methods_has_is_refused_with_its_title(
    methods: list[str], field: str, value: object, title: str
) -> None:
    tool = {"tool": ["stardist"]} if "external" in methods else {}
    with pytest.raises(FormError, match=rf"^{title}: the methods chosen \(.*\) don't have this; leave it empty\.$"):
        candidates(methods=methods, **tool, **{field: value})


def test_several_fields_without_effect_are_refused_at_once() -> None:
    with pytest.raises(FormError, match=r"^Encoder, Marker threshold: the methods chosen \(Jacobkie, Mask R-CNN\)"):
        candidates(methods=["jacobkie", "mask_rcnn"], encoder="resnet34", marker_threshold=0.5)


def test_a_field_is_taken_if_one_of_the_chosen_methods_has_it() -> None:
    assert settings(methods=["external", "mask_rcnn"], tool=["stardist"], min_score=0.5) == {
        "external": {},
        "mask_rcnn": {"min_score": 0.5},
    }


def test_limits_of_area_and_tiles_reach_every_method_that_has_them() -> None:
    chosen = {"min_area_px": 30, "max_area_px": 900, "padding": "zero", "max_tile_px": 512, "halo_px": 32}
    of_area = {"min_area_px": 30, "max_area_px": 900}
    assert settings(methods=["fpn2_ws", "mask_rcnn"], **chosen) == {"fpn2_ws": chosen, "mask_rcnn": of_area}


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            {"max_tile_px": 512, "halo_px": 256},
            "FPN2-WS: Tile margin: 256 is not less than half of Maximum tile size, 512",
        ),
        ({"halo_px": 768}, "FPN2-WS: Tile margin: 768 is not less than half of Maximum tile size, 1536"),
        ({"max_tile_px": 128}, "FPN2-WS: Tile margin: 64 is not less than half of Maximum tile size, 128"),
    ],
)
def test_tiles_that_are_all_margin_are_refused_before_anything_is_trained(chosen: dict[str, int], message: str) -> None:
    with pytest.raises(FormError, match=f"^{message}[.]$"):
        settings(methods=["fpn2_ws"], **chosen)
    assert settings(methods=["mask_rcnn", "fpn2_ws"], max_tile_px=160)["fpn2_ws"] == {"max_tile_px": 160}


def test_epochs_that_one_of_the_methods_does_not_allow_are_refused_by_its_name() -> None:
    message = "FPN2-WS: Epochs: 0 keep the initial weights as they are, which is for base, not for imagenet; give at"
    with pytest.raises(FormError, match=message):
        all_candidates(initialisation="imagenet", cycles=0)
    with pytest.raises(FormError, match=r"Jacobkie: Epochs: 0 keep .*, which is for pretrained, not for random"):
        all_candidates(methods=["fpn2_ws", "jacobkie"], cycles=0)
    for method, weights in (("jacobkie", "pretrained"), ("fpn2_ws", "base")):
        (candidate,) = all_candidates(methods=[method], initialisation=weights, cycles=0)
        assert candidate["trainings"][0]["cycles"] == 0


@pytest.mark.parametrize("weights", [None, "base"])
def test_the_base_model_is_compared_as_it_came_with_what_becomes_of_it(weights: str | None) -> None:
    trained, as_it_came = all_candidates(initialisation=weights, cycles=3, marker_threshold=0.5)
    assert trained["trainings"][0]["cycles"] == 3
    assert as_it_came == {
        "name": "base, not trained further",
        "method": "fpn2_ws",
        "trainings": [{"rois": None, "preset": "laptop", "initialisation": "base", "cycles": 0}],
        "settings": BASE["as_it_is"]["settings"],
    }
    params = TrainFpnParams(**as_it_came["trainings"][0])
    assert (params.rois, params.cycles, params.encoder) == (None, 0, BASE["network"]["encoder"])


@pytest.mark.parametrize(
    "changes",
    [
        {"initialisation": "random"},
        {"initialisation": "train_fpn2_ws/0123456789abcdef"},
        {"preset": "paper"},
        {"methods": ["mask_rcnn"]},
    ],
)
def test_without_a_start_from_the_base_model_nothing_is_compared_with_it(changes: dict[str, Any]) -> None:
    assert all_candidates(**changes) == candidates(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder": "resnet34"}, 'encoder "resnet34", not "'),
        ({"networks": "two"}, 'target "distance_map", not "all"'),
    ],
)
def test_another_network_than_that_of_the_base_model_is_refused_unless_it_begins_from_other_weights(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(FormError, match=f"initial weights base are of another network than is asked for: {said}"):
        candidates(**changes)
    assert candidates(**changes, initialisation="random")


def number(**bounds: Any) -> dict[str, Any]:
    return {"type": "number", "title": "Any", **bounds}


def test_values_out_of_a_methods_own_bounds_are_refused_by_its_name_several_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = {"cycles": number(minimum=5, maximum=10), "batch_size": number(maximum=2)}
    add_method(monkeypatch, {"min_area_px": number(minimum=100)}, shared)
    chosen: dict[str, Any] = {"methods": ["fpn2_ws", SPOTS], "cycles": 3, "batch_size": 4, "min_area_px": 50}
    with pytest.raises(FormError, match=r"^Spots: Epochs: 3 is less than the minimum of 5; Batch size: 4 is greater"):
        candidates(**chosen)
    with pytest.raises(FormError, match=r"^Spots: Minimum area: 50 is less than the minimum of 100"):
        settings(**chosen)
    chosen |= {"cycles": 7, "batch_size": 2, "min_area_px": 100}
    assert [training["cycles"] for training in trainings(**chosen)] == [7, 7]
    assert settings(**chosen) == {"fpn2_ws": {"min_area_px": 100}, SPOTS: {"min_area_px": 100}}


def test_a_method_without_presets_networks_or_epochs_of_its_own_is_trained_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_method(monkeypatch, {"level": number()}, {"rois": {"type": "string"}, "random_seed": {"type": "integer"}})
    assert trainings(methods=[SPOTS], random_seed=3) == [{"random_seed": 3}]
    assert settings(methods=[SPOTS], level=0.5) == {SPOTS: {"level": 0.5}}


def test_every_method_has_the_limits_of_area() -> None:
    for method in manifest()["methods"]:
        assert {"min_area_px", "max_area_px"} <= set(settings_params(method))
        assert {"rois", "random_seed", "initialisation"} <= set(training_params(method))


def test_where_the_folder_of_tools_is_not_known_only_the_task_can_refuse_a_tool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NUCLEUS_TOOLS", raising=False)
    (candidate,) = candidates_of(form(methods=["external"], tool=["ours"]))
    assert candidate["name"] == "ours"
