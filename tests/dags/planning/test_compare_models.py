"""From the registered versions and the plates of a store to the settings of a comparison's tasks."""

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from nucleus_dags.assets import ANNOTATED_PLATES, REGISTERED_MODELS
from nucleus_dags.errors import FormError
from nucleus_dags.manifest import manifest
from nucleus_dags.planning import compare_models
from nucleus_dags.planning.compare_models import NothingToCompare
from nucleus_dags.planning.types import ListedVersion
from tasks.steps import forgetting, judge, learning_curves
from tasks.steps.segment import Params as SegmentParams
from tests.dags.stored_plates import add_plate
from tests.repository import REPOSITORY

DAGS = REPOSITORY / "dags"


def listed(version: int, in_store: bool = True, *aliases: str) -> ListedVersion:
    """Give what `list_models` says of a version; of the third, that it segments with other settings."""
    model: Any = {
        "method": "fpn2_ws",
        "networks": ["train_fpn2_ws/1"],
        "settings": {"marker_threshold": version / 10},
    }
    return {"version": version, "aliases": list(aliases), "model": model if in_store else None}


VERSIONS = [listed(1), listed(2, False), listed(3, True, "champion")]
RESULT: Any = {"values": {"versions": VERSIONS}}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two test plates and one for training."""
    for name, role in (("a", "test"), ("b", "test"), ("other", "train")):
        add_plate(tmp_path, name, role)
    return tmp_path


def test_every_version_that_the_store_holds_segments_every_test_plate_as_it_was_registered(store: Path) -> None:
    models: list[Any] = [*compare_models.usable_models(RESULT, {})]
    plates = compare_models.plan(store, VERSIONS)
    params = [SegmentParams(**model, **plate) for model in models for plate in plates]
    assert [(of_one.settings.model_dump()["marker_threshold"], of_one.plate) for of_one in params] == [
        (0.1, "ingest/a@000000000000"),
        (0.1, "ingest/b@000000000000"),
        (0.3, "ingest/a@000000000000"),
        (0.3, "ingest/b@000000000000"),
    ]
    assert {(of_one.fovs, of_one.made_by) for of_one in params} == {(None, None)}


def test_with_all_segmented_before_no_pod_is_started_for_it_and_versions_are_scored_all_the_same() -> None:
    dag = DagBag(str(DAGS / "compare_models.py")).dags["compare_models"]
    assert dag.get_task("segment").upstream_task_ids >= {"find_stored"}
    assert dag.get_task("score").trigger_rule == "none_failed"


def test_of_a_test_plate_the_newest_version_counts(store: Path) -> None:
    corrected = add_plate(store, "a", "test", "1" * 12, day=2)
    assert compare_models.plan(store, VERSIONS) == [{"plate": corrected}, {"plate": "ingest/b@000000000000"}]


def test_scores_come_back_to_their_versions_and_a_version_without_a_model_has_none() -> None:
    scored = [{"outputs": {"scores": f"score/{number}"}} for number in range(3)]
    params = forgetting.Params(**compare_models.matrix_of({}, {"versions": {"versions": VERSIONS}, "scored": scored}))
    assert [(of_one.version, of_one.aliases, of_one.scores) for of_one in params.versions] == [
        (1, [], "score/0"),
        (2, [], None),
        (3, ["champion"], "score/1"),
    ]
    assert params.baseline == {manifest()["baseline"]["name"]: "score/2"}


def test_the_baseline_is_scored_after_the_versions() -> None:
    dag = DagBag(str(DAGS / "compare_models.py")).dags["compare_models"]
    assert dag.get_task("score").upstream_task_ids >= {"list_models", "baseline"}


def test_every_version_that_was_scored_is_a_round_of_annotation_and_one_scored_twice_is_one() -> None:
    scored = [{"outputs": {"scores": f"score/{number}"}} for number in (0, 1, 0, 2)]
    params = learning_curves.Params(**compare_models.rounds_of({"annotated": ["ingest/a"]}, {"scored": scored}))
    assert (params.scores, params.annotated) == (["score/0", "score/1"], ["ingest/a"])


def test_the_advice_says_what_random_patches_say_or_that_there_are_none() -> None:
    known = {"advice": "stop", "why": "It brings nothing."}
    result: Any = {"values": {"U2OS": known | {"at_random": ""}, "RPE1": known | {"at_random": "F1 at 0.7: 0.9"}}}
    assert compare_models.advice_lines(result) == [
        "- annotating U2OS: stop. It brings nothing. No patch of it that was drawn at random has come back yet.",
        "- annotating RPE1: stop. It brings nothing. F1 at 0.7: 0.9.",
    ]


def test_plates_with_chosen_patches_are_found_whatever_their_role_the_last_one_last(store: Path) -> None:
    assert compare_models.annotated_patches(store) == []
    for name, frozen_at in (("a", "2026-02"), ("b", "2026-01")):
        path = store / "ingest" / f"{name}@000000000000" / "report.json"
        known = json.loads(path.read_text()) | {"frozen_at": frozen_at, "chosen_patches": {"random": 1}}
        path.write_text(json.dumps(known))
    assert compare_models.annotated_patches(store) == ["ingest/b@000000000000", "ingest/a@000000000000"]


def test_without_a_test_plate_or_a_model_there_is_nothing_to_do(store: Path) -> None:
    with pytest.raises(NothingToCompare, match="no registered model that the store holds"):
        compare_models.plan(store, [listed(2, False)])
    for name in "ab":
        (store / "ingest" / f"{name}@000000000000").rename(store / name)
    with pytest.raises(NothingToCompare, match="No test plate is in the store; put one into the inbox"):
        compare_models.plan(store, [listed(1)])


MATRIX = """version,plate,cell_line,f1_at_0.7,f1_at_0.9,own_proposals,forgotten_at_0.7,forgotten_at_0.9
1,a,U2OS,0.9,0.5,0.0,,
1,b,HeLa,0.8,0.4,7.0,,
2,a,U2OS,,,,,
2,b,HeLa,,,,,
3,a,U2OS,0.75,0.5,0.0,0.15,0.0
3,b,HeLa,0.81,0.4,0.0,0.0,0.0
"""


@pytest.fixture
def matrix(tmp_path: Path) -> list[dict[str, str]]:
    (tmp_path / "matrix.csv").write_text(MATRIX)
    return compare_models.read_table(tmp_path / "matrix.csv")


def test_the_table_has_the_newest_version_on_top_and_says_what_is_unknown(matrix: list[dict[str, str]]) -> None:
    of_classical = {"f1_at_0.7": "0.6", "f1_at_0.9": "0.1", "own_proposals": "0", "name": "classical"}
    rows = [of_classical | {"plate": plate} for plate in "ab"]
    versions = [listed(1), listed(2, False), listed(3, True, "champion")]
    assert compare_models.matrix_table(matrix, rows, versions) == [
        "| version | a, U2OS | b, HeLa |",
        "|---|---|---|",
        "| classical | 0.600 / 0.100 | 0.600 / 0.100 |",
        "| 3 (champion) | 0.750 / 0.500 | 0.810 / 0.400 |",
        "| 2 | ? / ? | ? / ? |",
        "| 1 | 0.900 / 0.500 | 0.800 / 0.400 † |",
        "",
        "† against labels that the model itself, or one that it began from, proposed: too good",
    ]


def test_what_was_forgotten_is_named_and_a_gain_is_not(matrix: list[dict[str, str]]) -> None:
    assert compare_models.forgotten_lines(matrix) == [
        "- version 3 on a: F1 at 0.7 0.750, 0.150 below the best earlier version"
    ]


def test_the_dags_and_the_task_mean_the_same_by_forgotten() -> None:
    assert compare_models.NOTICEABLE_DROP == forgetting.NOTICEABLE_DROP


def test_a_comparison_starts_when_plates_have_come_or_versions_have_changed() -> None:
    dags = DagBag(str(DAGS)).dags
    assert dags["compare_models"].schedule == ANNOTATED_PLATES | REGISTERED_MODELS
    announcing = {dag_id for dag_id, dag in dags.items() for task in dag.tasks if REGISTERED_MODELS in task.outlets}
    assert announcing == {"train_models", "retrain_champion", "promote_model"}


def test_the_end_of_a_comparison_runs_after_a_failure_and_does_not_hide_it() -> None:
    dag = DagBag(str(DAGS / "compare_models.py")).dags["compare_models"]
    assert {task.task_id for task in dag.teardowns} == {"summary", "close_run"}
    assert dag.get_task("summary").on_failure_fail_dagrun


def test_two_versions_that_a_person_names_are_judged_by_their_scores_and_the_gate() -> None:
    scored = [{"outputs": {"scores": f"score/{number}"}} for number in range(3)]
    pair = compare_models.pair_of(3, 1, VERSIONS)
    known = {
        "pair": {"versions": pair, "gate": {"most_loss": 0.1}},
        "versions": {"versions": VERSIONS},
        "scored": scored,
    }
    params = judge.Params(**compare_models.judgement_of({}, known))
    assert (params.champion, params.challenger, params.gate.most_loss) == ("score/1", "score/0", 0.1)


def test_a_comparison_by_itself_judges_no_two_versions() -> None:
    assert compare_models.pair_of(None, None, VERSIONS) == []
    assert compare_models.pair_lines([], None) == []


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (1, None, "give two different versions, or none"),
        (1, 1, "give two different versions, or none"),
        (1, 2, "2 can't be used. Versions that the store holds are 1, 3"),
        (9, 3, "9 can't be used"),
    ],
)
def test_a_pair_that_cannot_be_compared_is_refused_with_what_can(
    before: int | None, after: int | None, why: str
) -> None:
    with pytest.raises(FormError, match=why):
        compare_models.pair_of(before, after, VERSIONS)


def test_the_note_says_what_the_second_of_two_versions_gains_and_loses() -> None:
    judged: Any = {"counts": {"gained": 31, "lost": 12}}
    [line] = compare_models.pair_lines([1, 3], judged)
    assert line.startswith("Version 3 against version 1: 31 nuclei gained, 12 lost.")
