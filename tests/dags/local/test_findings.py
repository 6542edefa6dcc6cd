"""The plates of the findings, which are made and imported once."""

from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.local.findings import (
    FIELDS,
    REAL,
    SYNTHETIC,
    import_synthetic_plates,
    kept_experiments,
    synthetic_plates,
)
from nucleus_dags.planning.experiments import read_matrix
from tests.dags.stored_plates import add_plate
from tests.plates import make_plate


class Tasks:
    """Stands for `synthesize` and `ingest`."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.imported: list[str] = []

    def __call__(self, task: str, params: dict[str, Any]) -> Any:
        if task == "synthesize":
            make_plate(self.store / "synthesize" / params["name"], {}, {}, cell_line=params["cell_line"])
            return {"outputs": {"plate": f"synthesize/{params['name']}"}}
        self.imported.append(Path(params["folder"]).name)
        return {}


def test_there_is_a_training_and_a_test_plate_of_each_cell_line_with_seeds_of_their_own() -> None:
    plates = list(synthetic_plates())
    assert len({(plate["cell_line"], plate["role"]) for plate in plates}) == 8
    assert len({plate["random_seed"] for plate in plates}) == 8


def test_plates_that_are_in_the_store_are_not_made_again(tmp_path: Path) -> None:
    add_plate(tmp_path / "store", "U2OS-train", "train", cell_line="U2OS")
    tasks = Tasks(tmp_path / "store")
    import_synthetic_plates(tmp_path, tasks)
    assert len(tasks.imported) == 7
    assert "U2OS-train" not in tasks.imported


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """What earlier runs found of two experiments."""
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "costs.csv").write_text("experiment,key\na,12\nb,3\n")
    (folder / "scores.csv").write_text("role,experiment,f1\nTesting,a,0.5\nTesting,b,0.6\nTraining,b,0.7\n")
    (folder / "plates.csv").write_text("plate,cell_line\np,U2OS\n")
    return folder


def planned(**keys: str) -> Any:
    return [{"name": name, "key": key} for name, key in keys.items()]


def test_what_is_kept_of_an_experiment_counts_while_its_key_is_that_of_the_plan(kept: Path) -> None:
    before = {path.name: path.read_text() for path in kept.iterdir()}
    assert kept_experiments(kept, True, planned(a="12", b="3", c="4")) == {"a", "b"}
    assert kept_experiments(kept, False, planned(a="12", b="9")) == {"a"}
    assert {path.name: path.read_text() for path in kept.iterdir()} == before


def test_what_is_kept_with_another_key_or_of_no_experiment_of_the_matrix_is_forgotten(kept: Path) -> None:
    assert kept_experiments(kept, True, planned(b="3")) == {"b"}
    assert (kept / "costs.csv").read_text() == "experiment,key\nb,3\n"
    assert (kept / "scores.csv").read_text() == "role,experiment,f1\nTesting,b,0.6\nTraining,b,0.7\n"
    assert (kept / "plates.csv").read_text() == "plate,cell_line\np,U2OS\n"


def test_where_nothing_of_it_counts_all_that_is_kept_of_a_matrix_is_forgotten(kept: Path) -> None:
    assert kept_experiments(kept, True, planned(a="1", b="2")) == set()
    assert not kept.exists()


def test_before_the_first_run_nothing_is_kept(tmp_path: Path) -> None:
    assert kept_experiments(tmp_path / "none", True, planned(a="1")) == set()


@pytest.mark.parametrize("name", [SYNTHETIC, REAL])
def test_all_replicates_of_a_comparison_are_trained_and_most_statements_have_both_of_its_sides(name: str) -> None:
    matrix = read_matrix(name)
    run = {row.key[:-1] for row in matrix.rows()}
    tried = [one for one in matrix.findings() if {tuple(one["of"]), tuple(one["against"])} <= run]
    assert len(tried) >= len(matrix.findings()) / 2
    assert all(row.key[:-1] + ("2",) in {other.key for other in matrix.rows()} for row in matrix.rows())


def test_the_matrix_of_the_findings_tests_on_the_plates_that_are_made() -> None:
    assert read_matrix(SYNTHETIC).content["test"] == {"cell_lines": list(FIELDS)}
