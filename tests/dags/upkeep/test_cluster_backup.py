"""Databases of a cluster, by a kubectl that keeps what it is asked."""

from pathlib import Path

import pytest

from nucleus_dags.upkeep import backup
from nucleus_dags.upkeep.archive import Archive
from nucleus_dags.upkeep.errors import UpkeepError
from nucleus_dags.upkeep.installation import of_volume
from nucleus_dags.upkeep.restore import restore
from tests.dags.upkeep.own_kubectl import answer_by

ANSWERS = """
case "$7" in
  pg_dump) echo "dump for $*" ;;
  psql) cat tables ;;
  pg_restore) cat >>restored ;;
esac
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the volume `data`, and what kubectl was asked and given."""
    answer_by(ANSWERS, tmp_path, monkeypatch)
    (tmp_path / "tables").write_text("0")
    (tmp_path / "data/store").mkdir(parents=True)
    (tmp_path / "data/inbox").mkdir()
    (tmp_path / "data/mlflow/1").mkdir(parents=True)
    (tmp_path / "data/mlflow/1/report.html").write_text("a report")
    (tmp_path / "data/folders/microscope").mkdir(parents=True)
    (tmp_path / "data/folders/microscope/a.tif").write_text("of a share")
    return tmp_path


def test_the_databases_of_a_cluster_are_dumped_and_put_back(cluster: Path) -> None:
    made = backup.save(of_volume(cluster / "data"), cluster / "to")
    assert [file.path for file in made.files] == [
        "databases/airflow.dump",
        "databases/mlflow.dump",
        "mlflow/1/report.html",
    ]
    restore(Archive(cluster / "to"), of_volume(cluster / "new"), None, False)
    assert [path.name for path in (cluster / "new").rglob("*") if path.is_file()] == ["report.html"]
    restored = (cluster / "restored").read_text().splitlines()
    assert [line.rpartition("=")[2] for line in restored] == ["airflow", "mlflow"]


def test_databases_that_hold_something_are_not_overwritten(cluster: Path) -> None:
    backup.save(of_volume(cluster / "data"), cluster / "to")
    (cluster / "tables").write_text("57")
    with pytest.raises(UpkeepError, match="database airflow holds 57 tables; restore before MLflow and Airflow"):
        restore(Archive(cluster / "to"), of_volume(cluster / "new"), None, False)
    assert not (cluster / "new").exists()
