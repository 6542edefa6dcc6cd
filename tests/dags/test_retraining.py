"""From the plates and results of a store to the settings of a retraining's tasks."""

import json
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags import candidates, retraining
from nucleus_dags.form import PRESETS, retrain_champion_form
from nucleus_dags.plan import FormError
from nucleus_dags.plate_store import newest_plates, superseding_plate
from nucleus_dags.retraining import NothingNew
from tasks.methods.external.train import Params as TrainExternalParams
from tasks.methods.fpn2_ws.train import Params as TrainFpnParams
from tasks.methods.jacobkie.train import Params as TrainJacobkieParams
from tasks.methods.mask_rcnn.train import Params as TrainMaskRcnnParams
from tasks.nuclei.judgement import Gate
from tasks.steps.augment import Params as AugmentParams
from tasks.steps.judge import Params as JudgeParams
from tests.stored_results import store_result

NONE: dict[str, Any] = {"outputs": {}, "counts": {}}
CHAMPION = {"outputs": {"model": "register_model/1111111111111111"}, "counts": {"version": 4}}
NETWORK = "train_fpn/2222222222222222"


def add_plate(store: Path, name: str, role: str, digest: str = "0" * 12, day: int = 1, cell_line: str = "U2OS") -> str:
    path = f"ingest/{name}@{digest}"
    (store / path).mkdir(parents=True)
    (store / path / "plate.json").write_text(json.dumps({"name": name, "role": role, "cell_line": cell_line}))
    (store / path / "report.json").write_text(json.dumps({"frozen_at": f"2026-11-{day:02}T00:00:00"}))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two training plates and a test plate; the champion was trained on the first."""
    first, _, _ = (add_plate(tmp_path, name, role) for name, role in (("a", "train"), ("b", "train"), ("t", "test")))
    store_result(tmp_path, "augment/3333333333333333", AugmentParams(plates=[first], rois=500, zoom=2).model_dump())
    training = TrainFpnParams(rois="augment/3333333333333333/rois.h5", target="both", preset="laptop", batch_size=4)
    store_result(tmp_path, NETWORK, training.model_dump())
    thresholds = {"marker_threshold": 0.5, "foreground_threshold": 0.1, "test_time_augmentation": True}
    store_result(tmp_path, "register_model/1111111111111111", {"networks": [NETWORK]} | thresholds)
    return tmp_path


def plan(store: Path, champion: dict[str, Any] = CHAMPION, **changes: Any) -> dict[str, Any]:
    form = {name: param.value for name, param in retrain_champion_form().items()} | changes
    return retraining.plan(form, retraining.read_gate(), PRESETS, store, champion, "manual__2026-11-23T04:18:05")


def test_the_challenger_is_trained_as_the_champion_was_from_its_weights_on_all_plates(store: Path) -> None:
    planned = plan(store)
    (candidate,) = planned["candidates"]
    (training,) = candidate["trainings"]
    assert training["initialisation"] == NETWORK
    assert (training["batch_size"], training["encoder"]) == (4, "mobilenetv2")
    assert training.pop("task") == "train_fpn"
    TrainFpnParams(rois="augment/1/rois.h5", **training)
    augment = AugmentParams(**planned["augment"])
    assert augment.plates == ["ingest/a@000000000000", "ingest/b@000000000000"]
    assert (augment.new_plates, augment.rois, augment.zoom) == (["ingest/b@000000000000"], 500, 2)
    assert planned["test_plates"] == ["ingest/t@000000000000"]
    assert planned["segmentation"] == {"test_time_augmentation": True}


def test_a_champion_that_began_from_coco_is_retrained_from_random_weights_as_these_need_it(store: Path) -> None:
    network = "train_mask_rcnn/4444444444444444"
    rois = "augment/3333333333333333/rois.h5"
    store_result(store, network, TrainMaskRcnnParams(rois=rois, mask_filters=32).model_dump())
    store_result(store, "register_model/1111111111111111", {"networks": [network], "test_time_augmentation": False})
    planned = plan(store, first_weights=["champion", "random"])["candidates"]
    settings = [{**candidate["trainings"][0], "rois": rois} for candidate in planned]
    assert [settings[number].pop("task") for number in (0, 1)] == ["train_mask_rcnn"] * 2
    again, anew = (TrainMaskRcnnParams(**of_candidate) for of_candidate in settings)
    assert (again.stages, again.batch_norm_learns, again.mask_filters) == ("heads_first", False, 32)
    assert (anew.stages, anew.batch_norm_learns, anew.mask_filters) == ("all", True, 32)


def test_other_first_weights_give_further_candidates(store: Path) -> None:
    planned = plan(store, first_weights=["champion", "random"])["candidates"]
    assert [candidate["name"] for candidate in planned] == ["from the champion", "from random weights"]
    assert [candidate["trainings"][0]["initialisation"] for candidate in planned] == [NETWORK, "random"]


def test_a_champion_of_another_method_is_trained_on_by_its_own_task(store: Path) -> None:
    network = "train_mask_rcnn/4444444444444444"
    trained = TrainMaskRcnnParams(rois="augment/3333333333333333/rois.h5", preset="laptop", proposals=32)
    store_result(store, network, trained.model_dump())
    store_result(store, "register_model/1111111111111111", {"networks": [network], "test_time_augmentation": False})
    (candidate,) = plan(store)["candidates"]
    (training,) = candidate["trainings"]
    assert (training.pop("task"), training["initialisation"], training["proposals"]) == ("train_mask_rcnn", network, 32)
    TrainMaskRcnnParams(rois="augment/1/rois.h5", **training)
    with pytest.raises(FormError, match="imagenet is for FPN2-WS, which the champion isn't"):
        plan(store, first_weights=["imagenet"])


def make_champion(store: Path, network: str, params: Any) -> None:
    store_result(store, network, params.model_dump(mode="json"))
    store_result(store, "register_model/1111111111111111", {"networks": [network], "test_time_augmentation": False})


def test_a_champion_that_was_never_trained_here_needs_the_cycles_to_train_it_for(store: Path) -> None:
    published = TrainJacobkieParams(rois="augment/3333333333333333/rois.h5")
    make_champion(store, "train_jacobkie/4444444444444444", published)
    with pytest.raises(FormError, match="published weights and wasn't trained here; give the cycles"):
        plan(store)
    (training,) = plan(store, cycles=3)["candidates"][0]["trainings"]
    assert (training["task"], training["cycles"], training["depth"]) == ("train_jacobkie", 3, 101)


def test_a_program_goes_on_from_its_model_for_as_long_as_its_command_says(store: Path) -> None:
    network = "train_external/4444444444444444"
    params = TrainExternalParams(
        rois="augment/3333333333333333/rois.h5", program="mine", segment=("find",), train=("learn", "{initial}")
    )
    make_champion(store, network, params)
    (training,) = plan(store, cycles=3)["candidates"][0]["trainings"]
    assert training.pop("task") == "train_external"
    assert TrainExternalParams(rois="augment/1/rois.h5", **training).initialisation == network


def test_replicates_are_candidates_that_differ_in_their_random_seed_only(store: Path) -> None:
    planned = plan(store, first_weights=["champion", "random"], replicates=2, random_seed=7)["candidates"]
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
    planned = plan(store, NONE, cycles=2)
    (candidate,) = planned["candidates"]
    training = {"task": "train_fpn", "target": "both", "preset": "laptop", "cycles": 2, "random_seed": 0}
    assert candidate["trainings"] == [training]
    assert (planned["augment"]["rois"], planned["augment"]["new_plates"]) == (5000, [])
    assert planned["champion"] == {"version": 0, "model": None}


def test_corrected_labels_are_new_and_take_the_place_of_the_old_ones(store: Path) -> None:
    corrected = add_plate(store, "a", "train", "1" * 12, day=2)
    planned = plan(store)
    assert planned["augment"]["plates"] == [corrected, "ingest/b@000000000000"]
    assert planned["augment"]["new_plates"] == [corrected, "ingest/b@000000000000"]
    assert superseding_plate(store, corrected) is None
    assert f"{corrected}, frozen at 2026-11-02" in (superseding_plate(store, "ingest/a@000000000000") or "")


def test_a_plate_that_is_being_frozen_does_not_count_yet(store: Path) -> None:
    (store / "ingest" / "b@000000000000").rename(store / "ingest" / ".b@000000000000.partial")
    assert [plate.name for plate in newest_plates(store, "train")] == ["a"]


def test_without_a_new_plate_there_is_nothing_to_do_unless_asked_for(store: Path) -> None:
    (store / "ingest" / "b@000000000000").rename(store / "elsewhere")
    with pytest.raises(NothingNew, match="trained on every training plate"):
        plan(store)
    assert plan(store, also_without_news=True)["augment"]["new_plates"] == []


def test_what_was_judged_already_is_not_done_again_until_something_comes(store: Path) -> None:
    retraining.record(store, plan(store)["digest"], "scheduled__1", "No candidate passed the gate.")
    with pytest.raises(NothingNew, match=r"DAG run scheduled__1, which did the same: No candidate passed"):
        plan(store)
    add_plate(store, "another test", "test")
    assert len(plan(store)["test_plates"]) == 2


def test_a_store_without_a_plate_of_a_role_is_refused_with_what_to_do(store: Path) -> None:
    (store / "ingest" / "t@000000000000").rename(store / "elsewhere")
    with pytest.raises(FormError, match=r"No test plate is in the store; put one into the inbox"):
        plan(store)


def in_run(number: int, **outputs: str) -> dict[str, Any]:
    return {"mlflow_run_id": f"run {number}", "outputs": outputs, "metrics": {}}


def test_settings_and_results_of_two_candidates_stay_together(store: Path) -> None:
    planned = plan(store, first_weights=["champion", "random"])
    children = [in_run(1), in_run(2)]
    trainings = candidates.trainings(planned, children, "train_fpn")
    assert [training["mlflow_run_id"] for training in trainings] == ["run 1", "run 2"]
    results = {"train_fpn": [in_run(1, network="n1"), in_run(2, network="n2")], "train_mask_rcnn": None}
    networks = candidates.trained(planned, children, results)
    calibrated = [{"metrics": {"marker_threshold": t, "foreground_threshold": t}} for t in (0.4, 0.6)]
    models = candidates.models(planned, networks, calibrated)
    assert [(m["networks"], m["marker_threshold"], m["mlflow_run_id"]) for m in models] == [
        (["n1"], 0.4, "run 1"),
        (["n2"], 0.6, "run 2"),
    ]
    segmentations = candidates.segmentations(
        retraining.models_to_judge(planned, models, "parent"), planned["test_plates"]
    )
    assert [(s["networks"], s["mlflow_run_id"]) for s in segmentations] == [
        ([NETWORK], "parent"),
        (["n1"], "run 1"),
        (["n2"], "run 2"),
    ]
    segmented = [in_run(i, segmentation=f"s{i}") for i in range(3)]
    scorings = candidates.scorings(segmentations, segmented)
    assert [scoring["segmentations"] for scoring in scorings] == [["s0"], ["s1"], ["s2"]]
    judgements = retraining.judgements(planned, [in_run(i, scores=f"score{i}") for i in range(3)])
    assert [(j["champion"], j["challenger"]) for j in judgements] == [("score0", "score1"), ("score0", "score2")]
    reports = retraining.reports(planned, [in_run(i, scores=f"score{i}") for i in range(3)])
    assert [(report["scores"], report["mlflow_run_id"]) for report in reports] == [
        ({"from the champion": "score1"}, "run 1"),
        ({"from random weights": "score2"}, "run 2"),
    ]
    JudgeParams(**{name: value for name, value in judgements[0].items() if name != "mlflow_run_id"})


def judged(store: Path, number: int, passed: bool, mean_gain: float) -> dict[str, Any]:
    path = f"judgement{number}.json"
    (store / path).write_text(
        json.dumps({"passed": passed, "mean_gain": mean_gain, "failures": ["too bad"], "rules": []})
    )
    return {"outputs": {"judgement": path}, "counts": {"won": 5, "lost": 3}}


def test_the_challenger_is_the_one_that_gains_most_of_those_that_passed(store: Path) -> None:
    results = [judged(store, 0, False, 0.5), judged(store, 1, True, 0.1), judged(store, 2, True, 0.2)]
    assert retraining.choose_challenger(store, plan(store, replicates=3), results, []) == 2
    assert retraining.choose_challenger(store, plan(store), results[:1], []) is None


def test_without_its_judgement_no_candidate_becomes_champion(store: Path) -> None:
    scores = [{"metrics": {"f1_area/all": 0.9}}]
    with pytest.raises(ValueError, match="There are 1 candidates, but 0 were judged"):
        retraining.choose_challenger(store, plan(store), [], scores)


def test_of_several_first_models_the_one_with_the_highest_f1_is_taken(store: Path) -> None:
    scores = [{"metrics": {"f1_area/all": area}} for area in (0.4, 0.6)]
    assert retraining.choose_challenger(store, plan(store, NONE, replicates=2), [], scores) == 1


def test_the_verdict_names_what_failed(store: Path) -> None:
    lines = retraining.verdict(store, plan(store), [judged(store, 0, False, 0.5)], ["http://page"])
    assert lines[0] == (
        "**from the champion** failed at the gate: 5 nuclei won, 3 lost against version 4: "
        "[report and panels](http://page), under Artifacts."
    )
    assert "- too bad" in lines


def test_the_gate_of_the_yaml_file_is_what_judge_takes() -> None:
    read = retraining.read_gate()
    assert Gate(**read["gate"]) == Gate()
    assert read["approval"] == "automatic"


def test_a_gate_with_an_unknown_approval_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tmp_path / "gate.yaml"
    gate.write_text("approval: perhaps\n")
    monkeypatch.setattr(retraining, "GATE", gate)
    with pytest.raises(FormError, match=r"gate\.yaml: approval is 'perhaps'; it may be automatic or by_person"):
        retraining.read_gate()
