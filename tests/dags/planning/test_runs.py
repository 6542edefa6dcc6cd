"""DAG runs and their MLflow runs."""

from pathlib import Path

import pytest

from nucleus_dags.planning.runs import plates_in_words, run_name, run_to_open, runs_to_close, training_to_open
from nucleus_dags.plates.plate_json import PlateFolder
from tasks.steps.close_run import Params as CloseRunParams
from tasks.steps.open_run import Params as OpenRunParams


@pytest.mark.parametrize(
    ("dag_run_id", "name"),
    [
        ("manual__2026-11-23T04:18:05.123456+00:00", "2026-11-23 04:18:05"),
        ("scheduled__2026-11-23T04:18:05", "2026-11-23 04:18:05"),
        ("arrived__plate__0123456789ab", "arrived__plate__0123456789ab"),
    ],
)
def test_a_run_is_called_by_date_and_time_or_by_its_id(dag_run_id: str, name: str) -> None:
    assert run_name(dag_run_id) == name


def test_a_run_is_opened_with_one_below_it_for_each_part() -> None:
    params = OpenRunParams(**run_to_open("plates", "manual__2026-11-23T04:18:05", "a, ", ["drift of a"]))
    assert (params.experiment, params.run_name) == ("plates", "a, 2026-11-23 04:18:05")
    assert params.children == ["drift of a"]


def test_the_run_of_a_dag_run_is_closed_with_those_of_its_parts_each_once() -> None:
    parts = [{"mlflow_run_id": run_id} for run_id in ("1", "2", "above")]
    params = CloseRunParams(**runs_to_close("above", parts, succeeded=False))
    assert (params.mlflow_run_ids, params.succeeded) == (["above", "1", "2"], False)
    assert runs_to_close("above", None, succeeded=True)["mlflow_run_ids"] == ["above"]


def test_the_name_of_a_training_says_what_was_trained_on_what() -> None:
    plates = [PlateFolder(name, "train", "U2OS", Path(name)) for name in "ab"]
    opened = training_to_open("e", "manual__2026-11-23T04:18:05+00:00", ["fpn2_ws"], plates, ["x"])
    params = OpenRunParams(**opened)
    assert params.run_name == "fpn2_ws on a + b · 2026-11-23 04:18:05"
    assert params.name_of_children == "on a + b · 2026-11-23 04:18:05"


def test_many_plates_are_counted_with_their_cell_lines_and_long_names_cut() -> None:
    plates = [PlateFolder(f"p{number}", "train", ("U2OS", "HCT116")[number % 2], Path("p")) for number in range(5)]
    assert plates_in_words(plates) == "5 plates of HCT116 + U2OS"
    assert len(plates_in_words([PlateFolder("p" * 300, "train", "", Path("p"))])) == 70
