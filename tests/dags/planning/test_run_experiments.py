"""From the form, the matrix and the store to what `run_experiments` does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.forms.run_experiments import run_experiments_form
from nucleus_dags.planning import run_experiments
from nucleus_dags.planning.experiments_plan import (
    experiment_lines,
    plan_lines,
    refuse_what_does_not_fit,
    work_of,
)
from nucleus_dags.planning.types import ExperimentsPlan
from tasks.recipes.paper_plates import SETS_OF_TABLE_S1
from tasks.steps.close_run import Params as CloseRunParams
from tasks.steps.find_experiments import Params as FindParams
from tasks.steps.open_run import Params as OpenRunParams
from tasks.steps.tabulate import Params as TabulateParams
from tests.dags.forms.filled import filled
from tests.dags.stored_plates import add_plate

CELL_LINES = ("MCF10A", "HCT116", "U2OS", "Eosinophils")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for cell_line in CELL_LINES:
        for role in ("train", "test"):
            add_plate(tmp_path, f"{cell_line}-{role}", role, cell_line=cell_line)
    return tmp_path


def plan(store: Path, dag_run_id: str = "manual__1", **form: Any) -> ExperimentsPlan:
    return run_experiments.plan(filled(run_experiments_form(), **form), store, dag_run_id)


def names(planned: ExperimentsPlan) -> list[str]:
    return [experiment["name"] for experiment in planned["find"]["experiments"] if experiment["is_chosen"]]


def test_every_experiment_is_asked_for_with_the_plates_of_its_train_set(store: Path) -> None:
    asked = FindParams(**plan(store)["find"])
    assert len(asked.experiments) == 77
    by_name = {experiment.name: experiment for experiment in asked.experiments}
    one_line = by_name["MCF10A · MRCNN · Random · Full"]
    assert one_line.plates == ["ingest/MCF10A-train@000000000000"]
    assert len(by_name["All · FPN2-WS · Pre-initialized · Full · no. 1"].plates) == 4
    assert len(asked.test_plates) == 4
    # Training plates are scored for Table S4 alone.
    overfitting = [name for name, experiment in by_name.items() if experiment.score_training]
    assert overfitting == [
        "All · FPN2-WS · Pre-initialized · Full · no. 1",
        "All · MRCNN · Pre-initialized · None · no. 1",
    ]


def test_the_form_chooses_tables_and_rows(store: Path) -> None:
    assert names(plan(store, tables=["Table 2"])) == [
        "MCF10A · MRCNN · Random · Full",
        "MCF10A · FPN2-WS · Random · Full",
        "MCF10A · MRCNN · Pre-initialized · Full",
        "MCF10A · FPN2-WS · Pre-initialized · Full",
    ]
    chosen = names(plan(store, tables=["Table 4"], rows=["MRCNN, epochs=0.5X", "FPN2-WS, epochs=0.25X"]))
    assert chosen == [
        "All · MRCNN · Pre-initialized · Full · cycles 0.5X",
        "All · FPN2-WS · Pre-initialized · Full · cycles 0.25X",
    ]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"tables": ["Table 22"]}, "There is no table 'Table 22'; did you mean Table 2"),
        ({"rows": ["MRCN"]}, "no column has the word 'MRCN'; did you mean MRCNN?"),
        ({"rows": ["0.5X"]}, "'0.5X' is a word of train_size and epochs"),
        ({"rows": ["epoch=0.5X"]}, "did you mean epochs?"),
        ({"tables": ["Table 2"], "rows": ["Jacobkie"]}, "No experiment is of these tables and has these words"),
        ({"matrix": "papers"}, "There is no matrix 'papers'; did you mean paper?"),
    ],
)
def test_what_the_form_names_and_the_matrix_lacks_is_refused(store: Path, form: dict[str, Any], said: str) -> None:
    with pytest.raises(FormError, match=said.replace("?", r"\?")):
        plan(store, **form)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("published: papers", "published is 'papers'; allowed is paper or nothing"),
        ("prices: {core_hour: -1}", "prices: core_hour is -1; allowed is a number of at least 0 or nothing"),
        ("prices: {core_hour: cheap}", "prices: core_hour is 'cheap'; allowed is a number of at least 0 or nothing"),
        ("prices: {currency: 5}", "prices: currency is 5; allowed is text"),
        ("tables: {T: {title: 5, rows: [{}], by: [model]}}", "tables: T: title is 5; allowed is text"),
        (f"tables: {{{101 * 'T'}: {{kind: plates}}}}", "allowed is text of 1 to 100 characters"),
    ],
)
def test_what_the_tables_would_refuse_after_all_trainings_is_refused_before_any(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    monkeypatch.setenv("NUCLEUS_EXPERIMENTS", str(tmp_path))
    (tmp_path / "own.yaml").write_text(f"based_on: paper\nexperiments: [{{}}]\n{line}\n")
    with pytest.raises(FormError) as refused:
        plan(store, matrix="own")
    assert said in str(refused.value)


def test_all_plates_that_are_not_there_are_named_with_what_to_do_before_anything_is_spent(tmp_path: Path) -> None:
    add_plate(tmp_path, "b", "train", cell_line="MCF-10A")
    with pytest.raises(FormError) as refused:
        plan(tmp_path, tables=["Table 3"])
    said = str(refused.value)
    assert "a train plate of MCF10A (did you mean MCF-10A?); a train plate of HCT116 (there are MCF-10A)" in said
    assert said.count("a train plate of MCF10A ") == 1
    assert "any test plate" in said
    assert "Put them into the inbox and unpause ingest_plates" in said


def test_of_a_cell_line_with_the_paper_s_plates_no_others_are_used(store: Path) -> None:
    add_plate(store, "U2OS_Original", "train", cell_line="U2OS")
    add_plate(store, "U2OS_Technical", "test", cell_line="U2OS")
    planned = plan(store)
    used = {path.partition("@")[0] for path in planned["tabulate"]["plates"]}
    assert {"ingest/U2OS_Original", "ingest/U2OS_Technical"} <= used
    assert not used & {"ingest/U2OS-train", "ingest/U2OS-test"}
    assert "ingest/MCF10A-train" in used


def test_the_plan_and_the_page_say_where_plates_are_not_the_paper_s(store: Path) -> None:
    planned = plan(store)
    assert planned["tabulate"]["title"] == "The paper's experiments, scale 1, on other plates than the published ones"
    assert "MCF10A-test" in planned["remarks"][0]
    assert "are not the plates that the published values are of" in planned["remarks"][0]
    for cell_line, kinds in SETS_OF_TABLE_S1.items():
        for role, kind in zip(("train", "test"), kinds, strict=True):
            add_plate(store, f"{cell_line}_{kind}", role, cell_line=cell_line)
    planned = plan(store)
    assert len(planned["tabulate"]["plates"]) == 8
    assert planned["tabulate"]["title"] == "The paper's experiments, scale 1"
    assert planned["remarks"] == []


def test_a_plate_that_the_matrix_names_is_used_though_the_paper_s_are_there(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUCLEUS_EXPERIMENTS", str(tmp_path))
    (tmp_path / "own.yaml").write_text("based_on: paper\nexperiments: [{}]\ntest: {plates: [U2OS-test]}\n")
    add_plate(store, "U2OS_Technical", "test", cell_line="U2OS")
    assert plan(store, matrix="own")["find"]["test_plates"] == ["ingest/U2OS-test@000000000000"]


def test_rows_that_are_not_chosen_need_no_plates(tmp_path: Path) -> None:
    add_plate(tmp_path, "mcf", "train", cell_line="MCF10A")
    add_plate(tmp_path, "mcf-test", "test", cell_line="MCF10A")
    assert len(names(plan(tmp_path, tables=["Table 1"]))) == 2
    with pytest.raises(FormError, match="a train plate of U2OS"):
        plan(tmp_path, tables=["Table 3"])


def test_training_plates_whose_labels_are_in_doubt_are_refused(tmp_path: Path) -> None:
    add_plate(tmp_path, "a", "test")
    for cell_line in CELL_LINES:
        add_plate(tmp_path, cell_line, "train", cell_line=cell_line, doubts=["f1: two nuclei have one label"])
    with pytest.raises(FormError, match="are in doubt; correct them"):
        plan(tmp_path)


def test_dag_runs_of_one_matrix_share_their_mlflow_runs_but_with_another_scale_or_plate(store: Path) -> None:
    def owner(**form: Any) -> str:
        owner: str = plan(store, **form)["open_run"]["belongs_to"]
        return owner

    whole = owner()
    assert owner(tables=["Table 2"], dag_run_id="manual__2") == whole
    assert owner(scale=0.5) != whole
    add_plate(store, "MCF10A-test", "test", "1" * 12, day=2, cell_line="MCF10A")
    assert owner() != whole


def rois_of(experiment: Mapping[str, Any]) -> dict[str, Any]:
    return {**experiment["variants"][0]["augment"], "plates": experiment["plates"]}


def found(planned: ExperimentsPlan, trainings: Mapping[str, Any] = {}, **rates: Any) -> dict[str, Any]:
    """Give what `find_experiments` says of an empty store, with two cycles of each training."""
    experiments = [
        {
            "name": experiment["name"],
            "is_chosen": experiment["is_chosen"],
            "key": "0123456789abcdef",
            "variant": 0,
            "missing": "",
            "rois": str(rois_of(experiment)),
            "trainings": experiment["variants"][0]["trainings"],
            "training_keys": [f"{t['task']}/{experiment['name']} {t}" for t in experiment["variants"][0]["trainings"]],
            "rates": [trainings.get(t["task"]) for t in experiment["variants"][0]["trainings"]],
            "cycles": [2 for _ in experiment["variants"][0]["trainings"]],
            "trained": [False for _ in experiment["variants"][0]["trainings"]],
            "model": experiment["variants"][0]["model"],
            "plates": {"test": ["ingest/a@0", "ingest/b@0"], "training": []},
            "is_calibrated": False,
            "segmented": 0,
            "scores": None,
            "training_scores": None,
            "is_logged": False,
        }
        for experiment in planned["find"]["experiments"]
    ]
    sets = {
        str(rois_of(e)): {"params": rois_of(e), "amount": 1000, "is_stored": False}
        for e in planned["find"]["experiments"]
    }
    return {"experiments": experiments, "rois": sets, "rates": rates, "free_bytes": 1e9}


def chosen_of(planned: ExperimentsPlan, **rates: Any) -> dict[str, Any]:
    return run_experiments.chosen_of(found(planned, **rates))


RATES: dict[str, Any] = {
    "trainings": {
        "train_fpn2_ws": {"seconds": 1.8, "cpu_seconds": 0.9, "on_gpu": True, "is_of_another": False, "bytes": 1e6},
        "train_mask_rcnn": {"seconds": 3.6, "cpu_seconds": 7.2, "on_gpu": False, "is_of_another": False, "bytes": 1e7},
    },
    "augment": {"seconds_per_roi": 0.36, "cpu_seconds_per_roi": 0.72, "bytes_per_roi": 200_000},
    **{name: {"seconds": 36.0, "cpu_seconds": 72.0, "bytes": 0.0} for name in ("calibrate", "score")},
    "segment": {"seconds": 36.0, "cpu_seconds": 72.0, "bytes": 2e6},
}


def test_hours_are_counted_from_what_stored_results_took_each_roi_set_and_training_once(store: Path) -> None:
    content = chosen_of(plan(store, tables=["Table 2"]), **RATES)
    work = work_of(content["experiments"], content)
    # Two experiments of each: 1000 ROIs, 2 cycles; of FPN2-WS two networks. One ROI set; per experiment four steps.
    assert work.gpu_hours == pytest.approx(4 * 1000 * 2 * 1.8 / 3600)
    assert work.cpu_hours == pytest.approx((360 + 2 * 1000 * 2 * 3.6 + 4 * 4 * 36) / 3600)
    # Two cores work on all but the trainings on GPUs, which keep half a core busy.
    assert work.core_hours == pytest.approx((720 + 2 * 1000 * 2 * 7.2 + 4 * 1000 * 2 * 0.9 + 4 * 4 * 72) / 3600)
    assert not work.unknown


def test_money_is_for_the_hours_of_all_cores_and_of_gpus(store: Path) -> None:
    content = chosen_of(plan(store, tables=["Table 2"]), **RATES)
    work = work_of(content["experiments"], content)
    first = plan_lines(content, {"currency": "CHF", "core_hour": 0.5, "gpu_hour": 2})[0]
    assert first.endswith(f"; about {work.core_hours * 0.5 + work.gpu_hours * 2:.2f} CHF")
    assert f"{work.cpu_hours:.1f} h on CPUs and {work.gpu_hours:.1f} h on GPUs on the clock" in first
    assert f"({work.core_hours:.1f} CPU core hours)" in first


def test_a_pace_that_was_measured_on_another_network_is_called_that(store: Path) -> None:
    other = {"train_mask_rcnn": RATES["trainings"]["train_mask_rcnn"] | {"is_of_another": True}}
    content = chosen_of(plan(store, tables=["Table 2"]), **RATES | {"trainings": RATES["trainings"] | other})
    assert "; train_mask_rcnn: measured on another network" in plan_lines(content, {})[0]


def test_what_was_never_measured_is_said(store: Path) -> None:
    content = chosen_of(plan(store, tables=["Table 2"]))
    first = plan_lines(content, {})[0]
    assert first.startswith("4 of 4 experiments to run, at least 0.0 h on CPUs on the clock, one")
    assert "; nothing is measured yet of augment, calibrate" in first


def test_the_plan_is_a_table_with_money_where_there_is_a_price(store: Path) -> None:
    lines = plan_lines(chosen_of(plan(store, tables=["Table 2"]), **RATES), {"currency": "CHF", "core_hour": 0.5})
    assert lines[0].endswith("; about 5.26 CHF")
    assert "| ROI sets | 1 | 0 | 1 |" in lines
    assert "| trainings | 6 | 0 | 6 |" in lines
    # A ROI set, two networks of 10 MB and four of 1 MB, and label images of two plates from four models.
    assert "| disk | | 1.0 GB free | 240.0 MB |" in lines


def test_the_form_gives_prices_in_place_of_those_of_the_matrix(store: Path) -> None:
    assert plan(store)["prices"] == {"currency": "USD"}
    planned = plan(store, core_hour=0.05, gpu_hour=0)
    assert planned["prices"] == planned["tabulate"]["prices"] == {"currency": "USD", "core_hour": 0.05, "gpu_hour": 0}


def test_roi_sets_of_several_train_sets_are_told_apart_by_their_names(store: Path) -> None:
    planned = plan(store, tables=["Table 3", "Table 6"])
    named = run_experiments.named_rois(planned, chosen_of(planned))
    names_of_rois = [rois["name"] for rois in named]
    assert len(set(names_of_rois)) == len(names_of_rois) == 9
    assert names_of_rois[:2] == ["MCF10A · 35,000 ROIs · Full", "MCF10A_HCT116 · 35,000 ROIs · Full"]
    assert "All · 35,000 ROIs · Min_Blur" in names_of_rois
    plates = [len(run_experiments.params_of_rois(rois, {})["plates"]) for rois in named]
    assert plates == [1, 2, 3, *[4] * 6]


def test_the_plan_has_a_line_for_each_experiment_in_the_log(store: Path) -> None:
    lines = experiment_lines(chosen_of(plan(store, tables=["Table 2"]), **RATES))
    assert lines[2].startswith("| MCF10A · MRCNN · Random · Full | 1,000 | 0 of 1 | 0 of 2 | no | ")


def test_what_does_not_fit_the_disk_is_refused_and_said_in_the_plan(store: Path) -> None:
    content = chosen_of(plan(store, tables=["Table 2"]), **RATES)
    refuse_what_does_not_fit(content)
    assert not any("doesn't fit" in line for line in plan_lines(content, {}))
    # With the networks and label images; the ROIs alone would fit.
    crowded = content | {"free_bytes": 2.3e8}
    with pytest.raises(FormError, match=r"need 264.0 MB, and the store has 230.0 MB free"):
        refuse_what_does_not_fit(crowded)
    assert any(line.startswith("- **It doesn't fit the disk.** ROIs, networks") for line in plan_lines(crowded, {}))


def done(content: dict[str, Any], number: int, **more: Any) -> None:
    one = content["experiments"][number]
    trained = [True for _ in one["trained"]]
    one |= {"trained": trained, "is_calibrated": True, "segmented": 2, "scores": "score/1", "is_logged": True} | more


def test_what_is_in_the_store_and_in_mlflow_is_not_run_again(store: Path) -> None:
    content = chosen_of(plan(store, tables=["Table 2"]), **RATES)
    for number in range(3):
        done(content, number)
    assert [one["name"] for one in run_experiments.to_do(content)] == ["MCF10A · FPN2-WS · Pre-initialized · Full"]
    done(content, 3, is_logged=False)
    assert len(run_experiments.to_do(content)) == 1
    assert run_experiments.rois_to_make(content) == []
    done(content, 3)
    assert plan_lines(content, {})[0].startswith("0 of 4 experiments to run, about 0.0 h")


def test_each_experiment_has_an_mlflow_run_with_a_tag_for_every_column(store: Path) -> None:
    planned = plan(store, tables=["Table 2"], scale=0.5)
    experiments = run_experiments.to_do(chosen_of(planned))
    experiments[2] |= {"variant": 1, "missing": "no mask_rcnn_coco.h5"}
    params = OpenRunParams(**run_experiments.runs_of_experiments(planned, experiments))
    assert params.children == names(planned)
    assert params.tags_of_children[0] == {
        **{"train_set": "MCF10A", "model": "MRCNN", "initialization": "Random", "aug": "Full"},
        **{"train_size": "1X", "epochs": "1X", "replicate": "1", "scale": "0.5", "weights": "random"},
    }
    assert params.tags_of_children[2]["weights"] == "random"
    assert params.tags_of_children[2]["weights_missing"] == "no mask_rcnn_coco.h5"


def opened(store: Path, **more: Any) -> dict[str, Any]:
    (one, *_) = run_experiments.to_do(chosen_of(plan(store, tables=["Table 2"], rows=["FPN2-WS"])))
    return {**one, "mlflow_run_id": "run", **more}


def test_an_experiment_goes_from_its_networks_to_scores_of_test_and_training_plates(store: Path) -> None:
    plates = {"test": ["ingest/a@0"], "training": ["ingest/t@0"]}
    experiment = opened(store, plates=plates)
    trainings = run_experiments.trainings_of_experiment(experiment, {})
    assert [(t["target"], t["mlflow_run_id"]) for t in trainings] == [
        ("distance_map", "run"),
        ("blurred_border", "run"),
    ]
    calibration = run_experiments.calibration_of_experiment(experiment, {"networks": ["n/1", "n/2"]})
    assert calibration == {
        **{"method": "fpn2_ws", "settings": {}, "search": [], "networks": ["n/1", "n/2"], "mlflow_run_id": "run"}
    }
    segmentations = run_experiments.segmentations_of(experiment, {"model": {"method": "fpn2_ws"}})
    assert [s["plate"] for s in segmentations] == ["ingest/a@0", "ingest/t@0"]
    known = {"segmented": {"ingest/a@0": "segment/a", "ingest/t@0": "segment/t"}, "experiment": experiment}
    scorings = run_experiments.scorings_of(experiment, known)
    # F1 on training plates isn't the model's F1 in MLflow.
    assert scorings == [
        {"segmentations": ["segment/a"], "mlflow_run_id": "run"},
        {"segmentations": ["segment/t"], "mlflow_run_id": None},
    ]
    results: list[Any] = [
        {"outputs": {"scores": path}, "metrics": {"f1_at_0.7/all": 1.0}, "counts": {"own_proposals": own}}
        for path, own in (("score/a", 3), ("score/t", 0))
    ]
    scored = run_experiments.scored_experiment(results, known)
    assert (scored["scores"], scored["training_scores"]) == ("score/a", "score/t")
    assert scored["own_proposals"] == 3


def test_the_note_marks_f1_against_labels_that_a_model_proposed_itself() -> None:
    fair, own = (
        {"name": name, "missing": "", "metrics": {"f1_at_0.7/all": f1, "f1_at_0.9/all": 0.5}, "own_proposals": number}
        for name, f1, number in (("one", 0.8, 0), ("other", 0.9, 3))
    )
    assert run_experiments.score_lines([fair, own])[2:] == [
        "| other | 0.900 † | 0.500 † |",
        "| one | 0.800 | 0.500 |",
        "",
        "† against labels that the model itself, or one that it began from, proposed: too good",
    ]
    assert run_experiments.score_lines([fair])[2:] == ["| one | 0.800 | 0.500 |"]


def test_the_note_marks_experiments_without_their_pretrained_weights() -> None:
    one = {"name": "one", "missing": "no file", "metrics": {"f1_at_0.7/all": 0.8, "f1_at_0.9/all": 0.5}}
    assert run_experiments.score_lines([one | {"own_proposals": 0}])[2:] == [
        "| one ‡ | 0.800 | 0.500 |",
        "",
        "‡ ran without the pretrained weights that it asks for",
    ]


def test_the_page_of_a_matrix_shows_all_experiments_that_have_scores_whichever_are_run(store: Path) -> None:
    planned = plan(store, tables=["Table 2"])
    everything = found(planned)
    assert len(FindParams(**planned["find"]).experiments) == 77
    chosen = run_experiments.chosen_of(everything)
    assert [one["name"] for one in chosen["experiments"]] == names(planned)
    assert len(chosen["rois"]) == 1
    other = next(
        one for one in everything["experiments"] if one["name"] == "Eosinophils · MRCNN · Pre-initialized · Full"
    )
    other |= {"scores": "score/earlier"}
    scored = [{"name": names(planned)[0], "scores": "score/now", "training_scores": None}]
    params = TabulateParams(**run_experiments.tables_of(planned["tabulate"], everything, scored))
    assert {e.scores for e in params.experiments} == {"score/earlier", "score/now"}


def test_tables_show_what_was_in_the_store_and_what_was_scored_now(store: Path) -> None:
    planned = plan(store, tables=["Table 2"])
    content = chosen_of(planned)
    done(content, 0)
    scored = [{"name": names(planned)[2], "scores": "score/2", "training_scores": None}]
    content["experiments"][2]["missing"] = "no mask_rcnn_coco.h5"
    params = TabulateParams(**run_experiments.tables_of(planned["tabulate"], content, scored))
    assert [(e.name, e.scores) for e in params.experiments] == [
        (names(planned)[0], "score/1"),
        (names(planned)[2], "score/2"),
    ]
    assert params.experiments[1].missing_weights == "no mask_rcnn_coco.h5"
    assert len(params.tables) == 11
    assert params.tables[0].rows == [
        ["MCF10A", "MRCNN", "Random", "Full", "1X", "1X", "1"],
        ["MCF10A", "FPN2-WS", "Random", "Full", "1X", "1X", "1"],
    ]


def test_runs_of_experiments_without_scores_end_as_failed_and_so_does_that_of_the_matrix() -> None:
    experiments = [{"name": name, "mlflow_run_id": f"run-{name}"} for name in "ab"]
    ends = CloseRunParams(**run_experiments.runs_of_matrix("parent", experiments, [{"name": "a"}], True))
    assert (ends.mlflow_run_ids, ends.failed) == (["parent", "run-a", "run-b"], ["run-b", "parent"])
    ends = CloseRunParams(**run_experiments.runs_of_matrix("parent", experiments, [{"name": n} for n in "ab"], True))
    assert ends.failed == []
