"""The folder in which one machine keeps everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nucleus_dags.local import servers
from nucleus_dags.local.environment import environment
from nucleus_dags.local.home import Home, Servers, home_in, home_of_environment
from tests.repository import REPOSITORY


def test_a_new_installation_has_a_folder_that_people_see(tmp_path: Path) -> None:
    assert home_in(tmp_path) == tmp_path / "nucleus-data"


def test_an_installation_in_the_hidden_folder_of_earlier_versions_goes_on_there(tmp_path: Path) -> None:
    Home(tmp_path / ".nucleus").make_folders()
    assert home_in(tmp_path) == tmp_path / ".nucleus"
    # As when somebody copies a plate to where the README says.
    (tmp_path / "nucleus-data/inbox/plate").mkdir(parents=True)
    assert home_in(tmp_path) == tmp_path / ".nucleus"


def test_a_hidden_folder_without_results_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / ".nucleus/sbom").mkdir(parents=True)
    assert home_in(tmp_path) == tmp_path / "nucleus-data"


def test_what_was_moved_to_the_visible_folder_is_found_there(tmp_path: Path) -> None:
    Home(tmp_path / ".nucleus").make_folders()
    (tmp_path / ".nucleus").rename(tmp_path / "nucleus-data")
    assert home_in(tmp_path) == tmp_path / "nucleus-data"


def test_the_environment_names_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_HOME", str(tmp_path / "elsewhere"))
    assert home_of_environment().folder == tmp_path / "elsewhere"


def test_the_makefile_asks_for_the_folder_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_HOME", str(tmp_path / "else where"))
    text = (REPOSITORY / "Makefile").read_text()
    assert "nucleus-data" not in text
    assert ".nucleus" not in text
    command = [sys.executable, "-m", "nucleus_dags.local.home"]
    printed = subprocess.run(command, cwd=REPOSITORY / "dags", capture_output=True, text=True, check=True).stdout
    assert printed == f"{tmp_path / 'else where'}\n"
    dry = ["make", "--dry-run", "check-store", f"RUN=PYTHONPATH=dags {sys.executable} -m"]
    recipe = subprocess.run(dry, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert f"home='{tmp_path / 'else where'}'" in recipe


def test_others_may_look_at_plates_and_results_but_not_at_logs_databases_and_the_password(home: Home) -> None:
    home.login()
    modes = {path.name: path.stat().st_mode & 0o077 for path in home.folder.iterdir()}
    assert {name for name, mode in modes.items() if mode == 0} == {"airflow", "mlflow", "logs", "login.json"}
    assert {"inbox", "results", "store"} <= modes.keys()


def test_logs_are_written_to_the_home_wherever_it_was_when_airflow_started_first(home: Home) -> None:
    (home.folder / "airflow/airflow.cfg").write_text("[logging]\nbase_log_folder = /nowhere/logs\n")
    env = environment(home, Servers("http://127.0.0.1:1", "http://127.0.0.1:2"))
    code = "from airflow.configuration import conf; print(conf.get('logging', 'base_log_folder'))"
    printed = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == str(home.folder / "airflow/logs")


@pytest.mark.parametrize(("name", "hint"), [("nucleus-data", False), (".nucleus", True)])
def test_the_servers_say_where_the_data_are_and_how_a_hidden_folder_becomes_visible(
    tmp_path: Path, name: str, hint: bool
) -> None:
    home = Home(tmp_path / name)
    home.make_folders()
    said = servers.where_to_go(home, Servers("http://a:1", "http://m:2")).splitlines()
    [data] = [line for line in said if line.startswith("Data ")]
    assert data.startswith(f"Data    {home.folder}")
    assert ("`mv .nucleus nucleus-data`" in data) is hint
