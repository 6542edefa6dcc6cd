"""From the plates of a store, the champion and a filled form to what `retrain_champion` does."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.forms.retrain_champion import retrain_champion_form
from nucleus_dags.manifest import manifest
from nucleus_dags.planning import retire_plate, retrain_champion, retrainings
from nucleus_dags.planning.candidates import calibration_of, opened_candidates, trainings_on
from nucleus_dags.planning.gate import change_gate, gate_in_force
from nucleus_dags.planning.retire_plate import RETIRE
from nucleus_dags.planning.retrain_champion import NothingNew
from nucleus_dags.planning.types import FoundModel, RetrainingPlan
from nucleus_dags.plates.stored import newest_plates
from tasks.contract import TaskParams
from tasks.methods.external.train import Params as TrainExternalParams
from tasks.methods.fpn2_ws.train import Params as TrainFpnParams
from tasks.methods.jacobkie.train import Params as TrainJacobkieParams
from tasks.methods.mask_rcnn.train import Params as TrainMaskRcnnParams
from tasks.nuclei.judgement import Gate
from tasks.steps.augment import Params as AugmentParams
from tasks.steps.calibrate import Params as CalibrateParams
from tasks.steps.judge import Params as JudgeParams
from tests.dags.forms.filled import filled
from tests.dags.stored_plates import add_plate

ROIS = "augment/3333333333333333/rois.h5"
NETWORK = "train_fpn2_ws/2222222222222222"
BASE: Any = manifest()["methods"]["fpn2_ws"]["initial_weights"]["base"]


NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def champion_of(method: str, *trainings: TaskParams, **settings: Any) -> FoundModel:
    """Give what `find_model` says of a champion; its networks are numbered."""
    return {
        "version": 4,
        "key": "1111111111111111",
        "method": method,
        "networks": [f"train_{method}/{'2' * 15}{number + 2}" for number in range(len(trainings))],
        "settings": settings,
        "trainings": [training.model_dump(mode="json") for training in trainings],
        "augmentation": AugmentParams(plates=["ingest/a@000000000000"], rois=500, zoom=2).model_dump(mode="json"),
    }


def fpn_champion() -> FoundModel:
    training = TrainFpnParams(rois=ROIS, target="all", preset="laptop", batch_size=4)
    thresholds = {"marker_threshold": 0.5, "foreground_threshold": 0.1}
    return champion_of("fpn2_ws", training, **thresholds, test_time_augmentation=True, min_area_px=50)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two training plates and a test plate; the champion was trained on the first."""
    for name, role in (("a", "train"), ("b", "train"), ("t", "test")):
        add_plate(tmp_path, name, role)
    return tmp_path


def plan_with(store: Path, champion: FoundModel | None, **changes: Any) -> RetrainingPlan:
    form = filled(retrain_champion_form(), **changes)
    return retrain_champion.plan(form, gate_in_force(store), store, champion, "manual__2026-11-23T04:18:05")


def plan(store: Path, **changes: Any) -> RetrainingPlan:
    return plan_with(store, fpn_champion(), **changes)


def test_the_challenger_is_trained_as_the_champion_was_from_its_weights_on_all_plates(store: Path) -> None:
    planned = plan(store)
    (candidate,) = planned["candidates"]
    (training,) = candidate["trainings"]
    assert candidate["method"] == "fpn2_ws"
    params = TrainFpnParams(rois=ROIS, **training)
    assert (params.initialisation, params.batch_size, params.encoder) == (NETWORK, 4, "mobilenetv2")
    augment = AugmentParams(**planned["augment"])
    assert augment.plates == ["ingest/a@000000000000", "ingest/b@000000000000"]
    assert (augment.new_plates, augment.rois, augment.zoom) == (["ingest/b@000000000000"], 500, 2)
    assert planned["test_plates"] == [{"plate": "ingest/t@000000000000"}]
    assert planned["champion_version"] == 4


@pytest.mark.parametrize("scaling", ["percentile", "robust", "minmax"])
def test_the_challenger_sees_intensities_as_the_champion_does(store: Path, scaling: str) -> None:
    champion = fpn_champion()
    assert champion["augmentation"] is not None
    planned = plan_with(store, {**champion, "augmentation": champion["augmentation"] | {"scaling": scaling}})
    assert AugmentParams(**planned["augment"]).scaling == scaling


def test_a_champion_whose_rois_the_store_has_no_more_is_refused(store: Path) -> None:
    with pytest.raises(FormError, match="no longer the ROIs of the champion, version 4"):
        plan_with(store, {**fpn_champion(), "augmentation": None})


def test_the_champions_settings_are_kept_but_for_those_that_are_calibrated_for_every_network(store: Path) -> None:
    assert plan(store)["settings"] == {"fpn2_ws": {"test_time_augmentation": True, "min_area_px": 50}}


def test_every_network_of_the_champion_is_trained_on_from_its_own_weights(store: Path) -> None:
    targets = ("distance_map", "blurred_border")
    champion = champion_of("fpn2_ws", *(TrainFpnParams(rois=ROIS, target=target) for target in targets))
    (candidate,) = plan_with(store, champion)["candidates"]
    trainings = [TrainFpnParams(rois=ROIS, **training) for training in candidate["trainings"]]
    assert [training.target for training in trainings] == list(targets)
    assert [training.initialisation for training in trainings] == champion["networks"]


def test_a_champion_that_began_from_coco_is_retrained_from_random_weights_as_these_need_it(store: Path) -> None:
    champion = champion_of("mask_rcnn", TrainMaskRcnnParams(rois=ROIS, mask_filters=32))
    planned = plan_with(store, champion, initial_weights=["champion", "random"])["candidates"]
    again, anew = (TrainMaskRcnnParams(rois=ROIS, **candidate["trainings"][0]) for candidate in planned)
    assert (again.stages, again.batch_norm_learns, again.mask_filters) == ("heads_first", False, 32)
    assert (anew.stages, anew.batch_norm_learns, anew.mask_filters) == ("all", True, 32)


def test_all_parts_of_a_champion_are_retrained_from_random_weights_without_what_its_own_needed(store: Path) -> None:
    parts = [TrainFpnParams(rois=ROIS, target=target, warmup_cycles=5) for target in ("distance_map", "blurred_border")]
    champion = champion_of("fpn2_ws", *parts)
    again, anew = plan_with(store, champion, initial_weights=["champion", "random"])["candidates"]
    for training in again["trainings"]:
        assert TrainFpnParams(rois=ROIS, **training).warmup_cycles == 5
    for training in anew["trainings"]:
        assert "warmup_cycles" not in training
        assert TrainFpnParams(rois=ROIS, **training).warmup_cycles == 0


def test_other_initial_weights_give_further_candidates(store: Path) -> None:
    planned = plan(store, initial_weights=["champion", "random"])["candidates"]
    assert [candidate["name"] for candidate in planned] == ["from the champion", "from random weights"]
    assert [candidate["trainings"][0]["initialisation"] for candidate in planned] == [NETWORK, "random"]


def test_a_champion_of_another_method_is_trained_on_with_its_own_params(store: Path) -> None:
    champion = champion_of("mask_rcnn", TrainMaskRcnnParams(rois=ROIS, preset="laptop", proposals=32))
    (candidate,) = plan_with(store, champion)["candidates"]
    (training,) = candidate["trainings"]
    assert (candidate["method"], training["proposals"]) == ("mask_rcnn", 32)
    assert TrainMaskRcnnParams(rois=ROIS, **training).initialisation == "train_mask_rcnn/2222222222222222"
    with pytest.raises(FormError, match="the champion is of Mask R-CNN; choose of champion, coco, pretrained, random"):
        plan_with(store, champion, initial_weights=["imagenet"])


def test_a_champion_that_was_never_trained_here_needs_the_epochs_to_train_it_for(store: Path) -> None:
    champion = champion_of("jacobkie", TrainJacobkieParams(rois=ROIS))
    with pytest.raises(FormError, match="pretrained weights and wasn't trained here; give the epochs"):
        plan_with(store, champion)
    (training,) = plan_with(store, champion, cycles=3)["candidates"][0]["trainings"]
    params = TrainJacobkieParams(rois=ROIS, **training)
    assert (params.cycles, params.depth, params.initialisation) == (3, 101, "train_jacobkie/2222222222222222")


def test_epochs_that_the_method_of_the_champion_does_not_allow_are_refused_by_its_name(store: Path) -> None:
    with pytest.raises(FormError, match=r"FPN2-WS: Epochs: 0 keep the initial weights .* for base, not for train_fpn"):
        plan(store, cycles=0)
    with pytest.raises(FormError, match=r"FPN2-WS: Epochs: 0 keep the initial weights .* for base, not for imagenet"):
        plan_with(store, None, cycles=0, preset="paper")


def base_champion() -> FoundModel:
    """Give what `find_model` says of the model that came with the pipeline."""
    model = BASE["as_it_is"]
    champion = champion_of("fpn2_ws", TrainFpnParams(**model["training"]), **model["settings"])
    return {**champion, "version": 1, "augmentation": {"zoom": 1.5, "scaling": "minmax", "nucleus_px": None}}


def test_the_base_model_is_retrained_on_all_plates_of_the_store_as_it_sees_them(store: Path) -> None:
    planned = plan_with(store, base_champion())
    (training,) = planned["candidates"][0]["trainings"]
    params = TrainFpnParams(rois=ROIS, **training)
    assert (params.initialisation, params.encoder) == (NETWORK, BASE["network"]["encoder"])
    assert (params.cycles, params.learning_rate) == (BASE["params"]["cycles"], BASE["params"]["learning_rate"])
    augment = AugmentParams(**planned["augment"])
    assert augment.plates == augment.new_plates == ["ingest/a@000000000000", "ingest/b@000000000000"]
    assert (augment.zoom, augment.nucleus_px, augment.scaling, augment.rois) == (1.5, None, "minmax", 5000)
    assert planned["champion_version"] == 1


def test_beside_the_base_model_others_begin_as_their_weights_need_it(store: Path) -> None:
    planned = plan_with(store, base_champion(), initial_weights=["champion", "random", "imagenet"])["candidates"]
    base, *others = (TrainFpnParams(rois=ROIS, **candidate["trainings"][0]) for candidate in planned)
    for params in others:
        usual = TrainFpnParams(rois=ROIS, target="all", preset="laptop", initialisation=params.initialisation)
        assert params == usual
        assert params.learning_rate > base.learning_rate


def test_a_champion_is_retrained_from_the_base_model_as_that_needs_it_if_it_is_of_its_network(store: Path) -> None:
    (candidate,) = plan(store, initial_weights=["base"])["candidates"]
    assert candidate["name"] == "from base weights"
    params = TrainFpnParams(rois=ROIS, **candidate["trainings"][0])
    assert (params.cycles, params.learning_rate) == (BASE["params"]["cycles"], BASE["params"]["learning_rate"])
    other = champion_of(
        "fpn2_ws", TrainFpnParams(rois=ROIS, target="all", preset="laptop", initialisation="random", encoder="resnet34")
    )
    with pytest.raises(
        FormError, match=r'weights base are of another network .*: encoder "resnet34", not "mobilenetv2"'
    ):
        plan_with(store, other, initial_weights=["base"])


def test_a_third_party_tool_resumes_from_its_model_and_is_not_asked_to_train_for_epochs(store: Path) -> None:
    champion = champion_of("external", TrainExternalParams(rois=ROIS, tool="stardist"))
    (training,) = plan_with(store, champion)["candidates"][0]["trainings"]
    assert TrainExternalParams(rois=ROIS, **training).initialisation == "train_external/2222222222222222"
    with pytest.raises(FormError, match="Epochs: the method Third-party tools isn't trained in epochs; leave it empty"):
        plan_with(store, champion, cycles=3)


def test_replicates_are_candidates_that_differ_in_their_random_seed_only(store: Path) -> None:
    planned = plan(store, initial_weights=["champion", "random"], replicates=2, random_seed=7)["candidates"]
    assert [candidate["name"] for candidate in planned] == [
        "from the champion, 1 of 2",
        "from the champion, 2 of 2",
        "from random weights, 1 of 2",
        "from random weights, 2 of 2",
    ]
    first, second = (candidate["trainings"][0] for candidate in planned[:2])
    assert (first["random_seed"], second["random_seed"]) == (7, 8)
    assert first | {"random_seed": 8} == second


def test_without_a_champion_the_first_model_is_trained_by_a_preset(store: Path) -> None:
    planned = plan_with(store, None, cycles=2)
    (candidate,) = planned["candidates"]
    assert candidate["method"] == "fpn2_ws"
    assert candidate["trainings"] == [{"target": "all", "preset": "laptop", "cycles": 2, "random_seed": 0}]
    assert (planned["augment"]["rois"], planned["augment"]["new_plates"]) == (5000, [])
    assert (planned["champion_version"], planned["settings"]) == (0, {})


def test_a_first_model_is_of_the_method_and_from_the_weights_that_a_person_chose(store: Path) -> None:
    (candidate,) = plan_with(store, None, method="jacobkie", initialisation="coco", cycles=2)["candidates"]
    assert candidate["method"] == "jacobkie"
    assert TrainJacobkieParams(rois=ROIS, **candidate["trainings"][0]).initialisation == "coco"
    with pytest.raises(FormError, match="Initial weights imagenet aren't of Mask R-CNN; it has coco, pretrained, rand"):
        plan_with(store, None, method="mask_rcnn", initialisation="imagenet")
    with pytest.raises(FormError, match="can't be one of Third-party tools; train it with train_models"):
        plan_with(store, None, method="external")


def test_corrected_labels_are_new_and_take_the_place_of_the_old_ones(store: Path) -> None:
    corrected = add_plate(store, "a", "train", "1" * 12, day=2)
    planned = plan(store)
    assert planned["augment"]["plates"] == [corrected, "ingest/b@000000000000"]
    assert planned["augment"]["new_plates"] == [corrected, "ingest/b@000000000000"]


def test_without_a_new_plate_there_is_nothing_to_do_unless_asked_for(store: Path) -> None:
    (store / "ingest" / "b@000000000000").rename(store / "elsewhere")
    assert [plate.name for plate in newest_plates(store, "train")] == ["a"]
    with pytest.raises(NothingNew, match="trained on every training plate"):
        plan(store)
    assert plan(store, also_without_news=True)["augment"]["new_plates"] == []


def test_what_was_judged_already_is_not_done_again_until_something_comes(store: Path) -> None:
    retrainings.record(store, plan(store)["digest"], "scheduled__1", "No candidate passed the gate.")
    with pytest.raises(NothingNew, match=r"DAG run scheduled__1, which did the same: No candidate passed"):
        plan(store)
    add_plate(store, "another-test", "test")
    assert len(plan(store)["test_plates"]) == 2


def test_a_damaged_record_of_a_retraining_counts_as_none(store: Path) -> None:
    digest = plan(store)["digest"]
    retrainings.record(store, digest, "scheduled__1", "No candidate passed the gate.")
    (store / "retrainings" / f"{digest}.json").write_text("")
    assert plan(store)["digest"] == digest


def test_a_store_without_a_plate_of_a_role_is_refused_with_what_to_do(store: Path) -> None:
    (store / "ingest" / "t@000000000000").rename(store / "elsewhere")
    with pytest.raises(FormError, match=r"No test plate is in the store; put one into the inbox"):
        plan(store)


DOUBTS = ["labels/1.tif: the labels seem to be transposed"]


def test_a_training_plate_with_doubtful_labels_is_left_out_until_they_are_confirmed(store: Path) -> None:
    undisturbed = plan(store)
    add_plate(store, "c", "train", doubts=DOUBTS)
    planned = plan(store)
    assert planned["augment"]["plates"] == ["ingest/a@000000000000", "ingest/b@000000000000"]
    assert planned["digest"] == undisturbed["digest"]
    assert planned["remarks"] == [
        "- **c**: 1 doubt about its labels or images; no training uses the plate until they are corrected, or "
        'confirmed by `"labels_confirmed": true` in plate.json:',
        "  - labels/1.tif: the labels seem to be transposed",
    ]
    confirmed = add_plate(store, "c", "train", "1" * 12, day=2, confirmed_doubts=DOUBTS)
    planned = plan(store)
    assert confirmed in planned["augment"]["new_plates"]
    assert planned["remarks"] == undisturbed["remarks"] == []


def test_a_doubtful_version_takes_the_place_of_the_earlier_one_which_is_not_trained_on_either(store: Path) -> None:
    add_plate(store, "b", "train", "1" * 12, day=2, doubts=DOUBTS)
    with pytest.raises(
        NothingNew, match=r"that may be used; nothing new has come\.\n- \*\*b\*\*: 1 doubt about"
    ) as raised:
        plan(store)
    assert DOUBTS[0] in str(raised.value)


def test_a_store_whose_training_plates_are_all_doubtful_is_refused_with_the_doubts(store: Path) -> None:
    for name in ("a", "b"):
        add_plate(store, name, "train", "1" * 12, day=2, doubts=DOUBTS)
    with pytest.raises(FormError, match=r"every training plate in the store are doubtful\.\n- \*\*a\*\*: 1 doubt"):
        plan(store)


def retire(store: Path, plate: str) -> None:
    form = {"plate": plate, "change": RETIRE, "reason": "Out of focus."}
    retire_plate.change(store, form, "anna", NOON, f"manual__{plate}")


def test_a_retired_plate_is_neither_trained_nor_judged_on_and_told_of(store: Path) -> None:
    add_plate(store, "u", "test")
    add_plate(store, "c", "train")
    for plate in ("b", "u"):
        retire(store, plate)
    planned = plan(store)
    assert planned["augment"]["plates"] == ["ingest/a@000000000000", "ingest/c@000000000000"]
    assert planned["test_plates"] == [{"plate": "ingest/t@000000000000"}]
    assert planned["remarks"] == [
        f"- {plate} isn't used; it was retired by anna on 2026-11-27 12:00 UTC: Out of focus." for plate in ("b", "u")
    ]


def test_a_store_whose_test_plates_are_all_retired_is_refused_with_why(store: Path) -> None:
    retire(store, "t")
    with pytest.raises(FormError, match=r"No test plate is in the store; .*\n- t isn't used; it was retired by anna"):
        plan(store)


def test_a_test_plate_with_doubtful_labels_is_used_and_told_of(store: Path) -> None:
    doubtful = add_plate(store, "u", "test", doubts=DOUBTS)
    planned = plan(store)
    assert {"plate": doubtful} in planned["test_plates"]
    assert planned["remarks"][0].startswith(
        "- **u**: 1 doubt about its labels or images; scores on the plate may be wrong"
    )


def in_run(run: str, **outputs: str) -> Any:
    return {"mlflow_run_id": run, "outputs": outputs, "metrics": {}}


def test_settings_and_results_of_two_candidates_stay_together(store: Path) -> None:
    planned = plan(store, initial_weights=["champion", "random"])
    opening: Any = {"values": {"children": ["run 1", "run 2"]}, "mlflow_run_id": "above"}
    opened = opened_candidates(opening, {"candidates": planned["candidates"]})
    assert planned["open_run"]["children"] == [candidate["name"] for candidate in opened]
    trainings = trainings_on(in_run("above", rois=ROIS), {"candidates": opened})
    assert [(t["task"], t["mlflow_run_id"]) for t in trainings] == [("train_fpn2_ws", f"run {n}") for n in (1, 2)]

    known: dict[str, Any] = {
        "trained": [in_run("run 2", network="n2"), in_run("run 1", network="n1")],
        "settings": planned["settings"],
    }
    calibrations = [calibration_of(candidate, known) for candidate in opened]
    assert [(c["networks"], c.pop("mlflow_run_id")) for c in calibrations] == [(["n1"], "run 1"), (["n2"], "run 2")]
    assert CalibrateParams(**calibrations[0]).search == [
        "marker_threshold",
        "foreground_threshold",
        "mask_threshold",
        "min_confidence",
    ]

    runs = ("run 2", "above", "run 1")
    scored = {"scored": [in_run(run, scores=f"score {run}") for run in runs]}
    reports = [retrain_champion.report_of(candidate, scored) for candidate in opened]
    assert [(report["scores"], report["mlflow_run_id"]) for report in reports] == [
        ({"from the champion": "score run 1"}, "run 1"),
        ({"from random weights": "score run 2"}, "run 2"),
    ]
    known = scored | {"gate": planned["gate"], "champion_version": 4, "mlflow_run_id": "above"}
    judgements = [retrain_champion.judgement_of(candidate, known) for candidate in opened]
    pairs = [(judgement["champion"], judgement["challenger"]) for judgement in judgements if judgement]
    assert pairs == [("score above", "score run 1"), ("score above", "score run 2")]
    assert all(judgement["candidates"] == 2 for judgement in judgements if judgement)
    JudgeParams(**{name: value for name, value in (judgements[0] or {}).items() if name != "mlflow_run_id"})


def test_without_a_champion_there_is_none_to_be_judged_against() -> None:
    assert retrain_champion.champions_of(found(None), {}) == []
    assert retrain_champion.judgement_of({"mlflow_run_id": "run 1"}, {"champion_version": 0}) is None


def found(champion: FoundModel | None) -> Any:
    return {"values": {"model": champion}}


def test_a_changed_gate_judges_the_next_retraining_which_says_so(store: Path) -> None:
    assert plan(store)["gate_in_words"] == "Judged by the default gate."
    wanted = {"most_loss": 0.02, "approval": "by_person"}
    change_gate(store, wanted, "A stricter screen.", "anna", datetime(2026, 11, 27, 17, 5, tzinfo=UTC), "manual__1")
    planned = plan(store)
    assert Gate(**planned["gate"]) == Gate(most_loss=0.02)
    assert planned["approval"] == "by_person"
    in_words = "Judged by the gate as anna changed it on 2026-11-27 17:05 UTC: A stricter screen."
    assert planned["gate_in_words"] == in_words


def test_what_the_form_says_of_the_approval_goes_before_the_gate(store: Path) -> None:
    assert plan(store, approval="by_person")["approval"] == "by_person"
