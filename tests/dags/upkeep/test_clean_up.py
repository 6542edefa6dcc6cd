import os
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nucleus_dags.local.home import Home
from nucleus_dags.plates.uploads import new_upload
from nucleus_dags.upkeep import clean_up as module
from nucleus_dags.upkeep.clean_up import DAY_S, clean_up, old_logs, removable_runs, remove_uploads
from nucleus_dags.upkeep.errors import UpkeepError
from nucleus_dags.upkeep.programs import OfHome
from tests.tracked import track_in

LONG_AFTER = time.time() + 40 * DAY_S


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path / "home")
    home.make_folders()
    track_in(home.folder / "mlflow", monkeypatch)
    return home


def deleted_run(tags: dict[str, str] | None = None) -> str:
    run_id = MlflowClient().create_run("0", tags=tags).info.run_id
    MlflowClient().delete_run(run_id)
    return run_id


def test_a_run_that_was_deleted_long_ago_goes_and_one_that_was_not_deleted_stays(home: Home) -> None:
    deleted = deleted_run()
    MlflowClient().create_run("0")
    assert set(removable_runs(OfHome(home), LONG_AFTER)) == {deleted}
    assert removable_runs(OfHome(home), time.time()) == {}


def test_a_deleted_run_of_a_registered_model_and_the_run_above_it_stay(home: Home) -> None:
    above = MlflowClient().create_run("0").info.run_id
    run_id = MlflowClient().create_run("0", tags={"mlflow.parentRunId": above}).info.run_id
    MlflowClient().create_registered_model("nucleus-segmenter")
    MlflowClient().create_model_version("nucleus-segmenter", f"runs:/{run_id}/model", run_id)
    for deleted in (above, run_id):
        MlflowClient().delete_run(deleted)
    assert removable_runs(OfHome(home), LONG_AFTER) == {}
    MlflowClient().delete_model_version("nucleus-segmenter", "1")
    assert set(removable_runs(OfHome(home), LONG_AFTER)) == {above, run_id}


def test_of_a_plates_segmentations_the_newest_stays_though_it_was_deleted(home: Home) -> None:
    older = deleted_run({"plate": "plate", "model": "version 1"})
    time.sleep(0.01)
    deleted_run({"plate": "plate", "model": "version 2"})
    assert set(removable_runs(OfHome(home), LONG_AFTER)) == {older}


def test_logs_that_nothing_was_written_to_for_long_are_old(home: Home) -> None:
    for name in ("old", "new"):
        log = home.folder / f"airflow/logs/dag_id=a/run_id={name}/task_id=b/attempt=1.log"
        log.parent.mkdir(parents=True)
        log.write_text("")
        if name == "old":
            for path in (log, *log.parents[:2]):
                os.utime(path, (0, 0))
    assert [path.name for path in old_logs(OfHome(home), time.time())] == ["run_id=old"]


def test_without_servers_nothing_is_cleaned_up(home: Home) -> None:
    with pytest.raises(UpkeepError, match="make up"):
        clean_up(OfHome(home), really=True)


def test_old_uploads_are_listed_and_removed_when_it_is_asked_for(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upload = new_upload(home.inbox, "p")
    (upload.folder / "a.tif").write_bytes(bytes(10**6))
    assert remove_uploads(home.inbox, really=True) == 0
    monkeypatch.setattr(module, "UPLOADS_DAYS", -1)
    assert remove_uploads(home.inbox, really=False) == 10**6
    assert upload.folder.exists()
    assert f"1.0 MB  inbox/.uploads/{upload.id}" in capsys.readouterr().out
    remove_uploads(home.inbox, really=True)
    assert not upload.folder.exists()
