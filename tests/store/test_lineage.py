"""From a model to the labels that made it and the plates that it segmented, and back."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.store.lineage import lineage_of_model, lineage_of_plate, main
from tests.plates import INFO
from tests.stored_results import add_model
from tests.stored_results import register as register_stored
from tests.tracked import track_in

FIRST, SECOND, SCREEN = "ingest/first@000000000000", "ingest/second@111111111111", "ingest/screen@222222222222"


def add_plate(store: Path, path: str, role: str) -> None:
    folder = store / path
    folder.mkdir(parents=True)
    name = folder.name.partition("@")[0]
    (folder / "plate.json").write_text(json.dumps(INFO | {"name": name, "role": role}))
    (folder / "report.json").write_text(json.dumps({"counts": {"fovs": 2, "nuclei": 7}, "fovs": []}))


def register(store: Path, number: str, initialisation: str, plates: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Store and register a model whose keys are this digit 16 times."""
    model = add_model(store, number * 16, plates, initialisation)
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("retraining", f"retraining {number}", "name"))
    register_stored(store, model, {"commit": "abc"})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Version 2 began with version 1; version 1, which segmented a plate, is the champion."""
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    for path, role in ((FIRST, "train"), (SECOND, "train"), (SCREEN, "screen")):
        add_plate(tmp_path, path, role)
    register(tmp_path, "1", "random", [FIRST], monkeypatch)
    register(tmp_path, "2", "train_fpn2_ws/1111111111111111", [SECOND], monkeypatch)
    tracking.set_alias("champion", 1, {"promotion/2026-11-24 10:00:00": "champion in place of none: the first model"})
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run(tracking.PLATES_EXPERIMENT, "arrived 1", "name"))
    model = "nucleus-segmenter version 1, 1111111111111111"
    tracking.Run().set_tags({"plate": "screen", "plate_digest": "222222222222", "model": model})
    return tmp_path


def test_a_model_names_its_plates_and_those_of_the_models_that_it_began_with(store: Path) -> None:
    lines = lineage_of_model("2", store)
    assert lines[0] == "nucleus-segmenter version 2, register_model/2222222222222222"
    assert lines[1] == "  made by DAG run retraining 2, commit abc"
    assert lines[2:6] == [
        "  trained as train_fpn2_ws/2222222222222222, on",
        f"    {SECOND}: U2OS, train, 7 labelled nuclei in 2 fields",
        "  which began as train_fpn2_ws/1111111111111111, on",
        f"    {FIRST}: U2OS, train, 7 labelled nuclei in 2 fields",
    ]
    assert lines[6] == "  segmented no plate"


def test_the_first_networks_name_their_initial_weights_unless_these_were_random(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store, "3", "base", [FIRST], monkeypatch)
    lines = lineage_of_model("3", store)
    assert lines[2] == "  trained as train_fpn2_ws/3333333333333333, on"
    assert lines[4:] == ["  which began from the initial weights base", "  segmented no plate"]


def test_the_champion_names_why_it_is_and_what_it_segmented(store: Path) -> None:
    lines = lineage_of_model("champion", store)
    assert lines[0].endswith("(champion)")
    assert "  2026-11-24 10:00:00 UTC: champion in place of none: the first model" in lines
    assert lines[-2:] == ["  segmented", "    screen@222222222222 in DAG run arrived 1"]


def test_a_plate_names_the_models_that_it_went_into_also_by_way_of_others(store: Path) -> None:
    assert lineage_of_plate("first", store)[1] == "  made version 1, version 2"
    assert lineage_of_plate("second", store)[1] == "  made version 2"
    assert lineage_of_plate("screen", store)[1:] == [
        "  made no model",
        "  segmented by nucleus-segmenter version 1, 1111111111111111 in DAG run arrived 1",
    ]


def test_the_lineage_of_a_model_whose_method_is_not_installed_is_told(store: Path) -> None:
    result = store / "register_model" / ("2" * 16) / "result.json"
    result.write_text(result.read_text().replace('"fpn2_ws"', '"u_net"'))
    assert lineage_of_model("2", store)[2] == "  trained as train_fpn2_ws/2222222222222222, on"
    assert lineage_of_plate("second", store)[1] == "  made version 2"


def test_a_plate_that_a_run_of_before_segmented_is_known_by_the_name_of_its_model(store: Path) -> None:
    """The number of the version has a tag of its own since."""
    client = MlflowClient()
    run_id = tracking.open_run(tracking.PLATES_EXPERIMENT, "arrived 2", "name")
    tags = {"plate": "screen", "plate_digest": "222222222222", "model": "other words", "model_version": "2"}
    for name, value in tags.items():
        client.set_tag(run_id, name, value)
    assert [found.version for found in tracking.segmented_plates()] == [1, 2]


def test_a_plate_that_the_store_lost_is_named(store: Path) -> None:
    (store / FIRST / "report.json").unlink()
    assert f"    {FIRST}, which the store lacks" in lineage_of_model("1", store)


def test_the_command_prints_them_and_refuses_what_there_is_not(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", str(store), "--model", "champion"]) == 0
    assert capsys.readouterr().out.startswith("nucleus-segmenter version 1")
    assert main(["--store", str(store), "--model", "9"]) == 2
    assert "has no 9; there are the versions 1, 2." in capsys.readouterr().err
    assert main(["--store", str(store), "--plate", "nowhere"]) == 2
    assert "has no plate named nowhere" in capsys.readouterr().err
