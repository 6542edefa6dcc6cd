"""Where results come from, also those that earlier versions of the pipeline wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.contract import Workspace
from tasks.methods.fpn2_ws.method import Settings
from tasks.methods.registry import method_named
from tasks.nuclei.errors import InputError
from tasks.store import provenance
from tasks.store.provenance import Generation, Model
from tests.stored_results import add_model, add_plate, add_segmentation, store_result

FIRST, SECOND = "ingest/first@0123456789ab", "ingest/second@0123456789ab"
ONE, TWO = "1" * 16, "2" * 16
FLAT: dict[str, Any] = {
    "marker_threshold": 0.5,
    "foreground_threshold": 0.1,
    "min_score": 0.7,
    "core_depth": 0.25,
    "mask_threshold": 0.5,
    "min_area_px": 20,
    "max_area_px": None,
    "padding": "reflect",
    "test_time_augmentation": False,
    "max_tile_px": 1536,
    "halo_px": 64,
}
"""The settings of all methods, as they stood among the params once."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two plates, a model of the first one, and another that resumed from it on both."""
    for name in ("first", "second"):
        add_plate(tmp_path, name, "U2OS", {"a": [1, 1, 0], "b": [0, 2, 2]})
    add_model(tmp_path, ONE, [FIRST], "imagenet")
    add_model(tmp_path, TWO, [FIRST, SECOND], f"train_fpn2_ws/{ONE}")
    return tmp_path


def add_network(store: Path, path: str, content: dict[str, Any], **params: Any) -> str:
    """Make what an earlier version of the pipeline left of a training."""
    store_result(store, path, {"rois": f"augment/{ONE}/rois.h5", "initialisation": "random", **params})
    (store / path / "network.json").write_text(json.dumps(content))
    return path


def model(method: str, networks: list[str], **settings: Any) -> Model:
    return Model(method_named(method), networks, method_named(method).settings.model_validate(settings))


def test_a_result_is_found_by_any_path_in_it(store: Path) -> None:
    for path in (f"augment/{ONE}", f"augment/{ONE}/rois.h5", f"augment/{ONE}/a/b"):
        assert provenance.result_of(path, store).key == ONE


def test_a_result_of_another_task_is_refused_with_those_that_are_allowed(store: Path) -> None:
    assert provenance.result_of(f"augment/{ONE}", store, "augment", "score").task == "augment"
    with pytest.raises(InputError, match=f"augment/{ONE} is an output of augment; give one of segment or score"):
        provenance.result_of(f"augment/{ONE}", store, "segment", "score")


QUESTIONS: list[Callable[[str, Path], object]] = [
    provenance.result_of,
    provenance.model_at,
    provenance.networks_of_model,
    lambda path, store: provenance.trainings_of_networks([path], store),
    lambda path, store: provenance.rois_of_networks([path], store),
    provenance.augmentation_of_rois,
    provenance.fovs_of_rois,
    lambda path, store: provenance.plates_of_networks([path], store),
    lambda path, store: list(provenance.generations([path], store)),
    provenance.segmentations_of_scores,
    provenance.plate_of_segmentation,
    provenance.plate_at,
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_the_store_lacks_gives_the_same_error_everywhere(store: Path, question: Callable[..., object]) -> None:
    with pytest.raises(InputError) as of_question:
        question("segment/gone", store)
    with pytest.raises(InputError) as of_task:
        Workspace(store, "key", store, store).input("segment/gone")
    assert str(of_question.value) == str(of_task.value)
    assert str(of_task.value) == f"segment/gone is not in the store {store}; run the task that makes it first."


@pytest.mark.parametrize("question", [question for question in QUESTIONS[1:] if question is not provenance.plate_at])
def test_an_output_of_another_task_gives_the_same_error_everywhere(
    store: Path, question: Callable[..., object]
) -> None:
    with pytest.raises(InputError, match=rf"^{FIRST} is an output of ingest; give one of [\w ]+\.$"):
        question(FIRST, store)


def test_a_model_is_its_method_networks_and_settings(store: Path) -> None:
    assert provenance.model_at(f"register_model/{ONE}", store) == model("fpn2_ws", [f"train_fpn2_ws/{ONE}"])
    given = {"method": "mask_rcnn", "networks": ["network"], "settings": {"min_score": 0.5}, "plate": FIRST}
    assert provenance.model_of(given, store) == model("mask_rcnn", ["network"], min_score=0.5)


def test_settings_that_the_method_has_no_more_are_named(store: Path) -> None:
    given = {"method": "mask_rcnn", "networks": ["network"], "settings": {"brightness": 0.5}}
    message = r"settings are of another version of mask_rcnn: brightness: unknown param; allowed are min_area_px, .*\."
    with pytest.raises(InputError, match=message):
        provenance.model_of(given, store)


@pytest.mark.parametrize("content", [{"encoder": "mobilenetv2"}, {"encoder": "mobilenetv2", "method": "fpn2_ws"}])
def test_a_model_of_before_there_were_settings_per_method_is_read(store: Path, content: dict[str, Any]) -> None:
    network = add_network(store, f"train_fpn/{TWO}", content)
    params = FLAT | {"networks": [network]}
    store_result(store, "register_model/old", params)
    expected = model("fpn2_ws", [network], marker_threshold=0.5, foreground_threshold=0.1)
    assert provenance.model_at("register_model/old", store) == expected
    assert provenance.model_of(params | {"plate": FIRST, "fovs": None, "model": None}, store) == expected
    assert provenance.holds_model("register_model/old", store)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("mask_rcnn", {"min_score": 0.7}),
        ("jacobkie", {"core_depth": 0.25, "mask_threshold": 0.5, "halo_px": 64}),
        ("external", {"min_area_px": 20}),
    ],
)
def test_a_model_of_any_method_of_before_has_that_methods_settings_alone(
    store: Path, method: str, settings: dict[str, Any]
) -> None:
    network = add_network(store, f"train_{method}/old", {"method": method, "program": "mine", "segment": ["run"]})
    store_result(store, "register_model/old", FLAT | {"networks": [network]})
    found = provenance.model_at("register_model/old", store)
    assert found == model(method, [network], **settings)
    assert set(found.settings.model_dump()) == set(method_named(method).settings.model_fields)


def test_settings_of_before_that_are_out_of_the_bounds_of_today_are_read(store: Path) -> None:
    params = FLAT | {"max_tile_px": 16_384, "networks": [f"train_fpn2_ws/{ONE}"]}
    settings = provenance.model_of(params, store).settings
    assert isinstance(settings, Settings)
    assert settings.max_tile_px == 16_384


def test_a_model_of_before_without_its_network_is_refused_by_the_name_of_that(store: Path) -> None:
    store_result(store, "register_model/old", FLAT | {"networks": ["train_fpn/gone"]})
    with pytest.raises(InputError, match="train_fpn/gone is not in the store"):
        provenance.model_at("register_model/old", store)
    assert not provenance.holds_model("register_model/old", store)


def test_the_store_holds_a_model_if_it_has_the_model_and_all_networks(store: Path) -> None:
    path = f"register_model/{ONE}"
    assert provenance.networks_of_model(path, store) == [f"train_fpn2_ws/{ONE}"]
    assert provenance.holds_model(path, store)
    (store / f"train_fpn2_ws/{ONE}/network.json").unlink()
    assert not provenance.holds_model(path, store)
    assert not provenance.holds_model("register_model/none", store)


def test_trainings_are_told_in_the_words_of_today(store: Path) -> None:
    old = add_network(store, f"train_mask_rcnn/{TWO}", {"method": "mask_rcnn"}, initialisation="published", cycles=0)
    tool = add_network(store, f"train_external/{TWO}", {}, program="mine", segment=["run"], train=None)
    rois = f"augment/{ONE}/rois.h5"
    assert provenance.trainings_of_networks([f"train_fpn2_ws/{ONE}", old, tool], store) == [
        {"rois": rois, "initialisation": "imagenet"},
        {"rois": rois, "initialisation": "pretrained", "cycles": 0},
        {"rois": rois, "initialisation": "random", "tool": "mine"},
    ]


def test_networks_lead_to_their_rois_and_these_to_their_plates_and_fields(store: Path) -> None:
    network, rois = f"train_fpn2_ws/{TWO}", f"augment/{TWO}/rois.h5"
    assert provenance.rois_of_networks([network, network], store) == rois
    assert provenance.augmentation_of_rois(rois, store) == {
        "plates": [FIRST, SECOND],
        "scaling": "minmax",
        "nucleus_px": None,
    }
    assert provenance.plates_of_networks([network, f"train_fpn2_ws/{ONE}"], store) == [FIRST, SECOND]
    fovs = provenance.fovs_of_rois(rois, store)
    assert sorted(fovs) == [("first", "a"), ("first", "b"), ("second", "a"), ("second", "b")]
    assert fovs["second", "b"].image_path == store / SECOND / "images" / "b.tif"


def test_rois_from_before_there_was_a_choice_are_by_minmax_and_others_as_they_say(store: Path) -> None:
    assert provenance.augmentation_of_rois(f"augment/{ONE}/rois.h5", store)["scaling"] == "minmax"
    store_result(store, "augment/new", {"plates": [FIRST], "scaling": "robust"})
    assert provenance.augmentation_of_rois("augment/new/rois.h5", store)["scaling"] == "robust"


def test_networks_of_different_rois_are_refused(store: Path) -> None:
    message = rf"trained on different ROIs: augment/{ONE}/rois\.h5, augment/{TWO}/rois\.h5; train all on one"
    with pytest.raises(InputError, match=message):
        provenance.rois_of_networks([f"train_fpn2_ws/{ONE}", f"train_fpn2_ws/{TWO}"], store)


def test_networks_that_came_with_the_pipeline_have_no_rois_and_no_plates(store: Path) -> None:
    network = add_network(store, f"train_fpn2_ws/{'4' * 16}", {}, rois=None, initialisation="base")
    assert provenance.came_with_the_pipeline([network], store)
    assert not provenance.came_with_the_pipeline([f"train_fpn2_ws/{ONE}"], store)
    assert provenance.plates_of_networks([network], store) == []
    with pytest.raises(InputError, match=r"came with the pipeline and have no ROIs here; keep the settings"):
        provenance.rois_of_networks([network], store)
    tuned = add_network(store, f"train_fpn2_ws/{'5' * 16}", {}, initialisation=network)
    assert list(provenance.generations([tuned], store)) == [Generation([tuned], [FIRST]), Generation([network], [])]


def test_generations_go_back_to_the_first_network_also_by_way_of_old_ones(store: Path) -> None:
    old = add_network(store, f"train_fpn/{ONE}", {}, initialisation="imagenet")
    newer = add_network(store, f"train_fpn2_ws/{'3' * 16}", {}, initialisation=old, rois=f"augment/{TWO}/rois.h5")
    found = list(provenance.generations([newer], store))
    assert found == [Generation([newer], [FIRST, SECOND]), Generation([old], [FIRST])]


@pytest.mark.parametrize("initialisation", [None, "random", "train_fpn/0123456789abcdef"])
def test_a_network_whose_initial_weights_are_no_network_of_the_store_is_the_first(
    store: Path, initialisation: str | None
) -> None:
    network = add_network(store, "train_external/first", {}, initialisation=initialisation)
    assert [found.networks for found in provenance.generations([network], store)] == [[network]]


def test_scores_lead_to_segmentations_and_these_to_their_plate(store: Path) -> None:
    segmentation = add_segmentation(store, FIRST, {"a": [1, 1, 0]})
    store_result(store, "score/1", {"segmentations": [segmentation]})
    store_result(store, "assemble_plate/1", {"segmentations": [segmentation]})
    assert provenance.segmentations_of_scores("score/1", store) == [segmentation]
    assert provenance.plate_of_segmentation(segmentation, store) == FIRST
    assert provenance.plate_of_segmentation("assemble_plate/1/labels", store) == FIRST
    assert provenance.plate_at(FIRST, store).info.name == "first"
    with pytest.raises(InputError, match="assemble_plate/1 is an output of assemble_plate; give one of segment"):
        provenance.plate_of_segmentation("assemble_plate/1", store, "segment")


def test_the_history_of_results_has_each_once_the_latest_first(store: Path) -> None:
    params = {"method": "fpn2_ws", "networks": [f"train_fpn2_ws/{TWO}"], "settings": {}, "plate": SECOND}
    store_result(store, f"segment/{ONE}", params)
    store_result(store, f"score/{ONE}", {"segmentations": [f"segment/{ONE}"]})
    history = [f"{result.task}/{result.key}" for result in provenance.history_of([f"score/{ONE}"] * 2, store)]
    networks = [f"train_fpn2_ws/{TWO}", f"train_fpn2_ws/{ONE}"]
    made_from = {*networks, f"augment/{ONE}", f"augment/{TWO}", FIRST, SECOND}
    assert history[:2] == [f"score/{ONE}", f"segment/{ONE}"]
    assert sorted(history[2:]) == sorted(made_from)
