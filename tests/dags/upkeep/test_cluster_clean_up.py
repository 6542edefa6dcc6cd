"""What cleaning up asks of a cluster, by a kubectl that keeps what it is asked and given."""

import base64
import json
from pathlib import Path

import pytest

from nucleus_dags.upkeep.clean_up import DELETED_RUNS_DAYS, REMOVABLE_RUNS, clean_up
from nucleus_dags.upkeep.errors import UpkeepError
from nucleus_dags.upkeep.programs import OfCluster
from tests.dags.upkeep.own_kubectl import answer_by

ANSWERS = """
case "$*" in
  *"get pods"*) echo '{"items": []}' ;;
  *"get secret mlflow-login"*) cat secret ;;
  *"FROM runs"*) printf 'a,mlflow-artifacts:/1/a/artifacts\nb,"mlflow-artifacts:/1,2/b/artifacts"\n' ;;
  *"mlflow.cli"*) cat >given ;;
esac
"""
PASSWORD = "only the tasks know it"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what kubectl was asked and given."""
    answer_by(ANSWERS, tmp_path, monkeypatch)
    login = {"MLFLOW_TRACKING_PASSWORD": base64.b64encode(PASSWORD.encode()).decode()}
    (tmp_path / "secret").write_text(json.dumps({"data": login}))
    return tmp_path


def test_runs_are_found_by_what_postgresql_answers(cluster: Path) -> None:
    found = OfCluster(cluster).ask_mlflow(REMOVABLE_RUNS.format(before_ms=DELETED_RUNS_DAYS))
    assert found == [["a", "mlflow-artifacts:/1/a/artifacts"], ["b", "mlflow-artifacts:/1,2/b/artifacts"]]


def test_mlflow_gets_the_login_by_which_it_removes_artefacts_but_not_among_arguments(cluster: Path) -> None:
    OfCluster(cluster).remove_runs(["a", "b"])
    assert json.loads((cluster / "given").read_text()) == {"MLFLOW_TRACKING_PASSWORD": PASSWORD}
    asked = (cluster / "asked").read_text()
    assert "--run-ids=a,b" in asked
    assert PASSWORD not in asked


def test_without_airflow_nothing_is_cleaned_up(cluster: Path) -> None:
    with pytest.raises(UpkeepError, match="kubectl -n nucleus get pods"):
        clean_up(OfCluster(cluster), really=True)
