"""The page in a real API server of Airflow, which knows the DAGs; no scheduler runs beside, so a started run waits."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nucleus_dags.airflow_api import AirflowApi
from nucleus_dags.local.environment import environment
from nucleus_dags.local.home import Home, Servers
from tests.ports import free_port
from tests.repository import REPOSITORY

MOST_WAIT_S = 180


@dataclass(frozen=True)
class Site:
    """A server with an empty store and inbox, which tests fill."""

    home: Home
    address: str
    """Of Airflow."""
    env: dict[str, str]

    @cached_property
    def api(self) -> AirflowApi:
        return AirflowApi(self.address, self.home.login())

    @property
    def login(self) -> tuple[str, str]:
        return self.home.login()

    def token(self) -> str:
        return self.api._token

    def get(self, path: str, token: str | None = None) -> tuple[int, str]:
        """Ask for a page below /nuclei as a browser does that is logged in; gives status and text."""
        return self._ask(urllib.request.Request(f"{self.address}/nuclei{path}"), token)

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Send bytes, or other things as JSON, as a page does by its scripts; gives status and text."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/octet-stream" if data is body else "application/json"}
        return self._ask(urllib.request.Request(f"{self.address}/nuclei{path}", data, headers, method=method))

    def _ask(self, request: urllib.request.Request, token: str | None = None) -> tuple[int, str]:
        request.add_header("Cookie", f"_token={token or self.token()}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def empty(self) -> None:
        """Remove what a test put into store and inbox, and its runs, which the next test would take for its own."""
        with closing(sqlite3.connect(self.home.database("airflow"), timeout=30)) as database, database:
            database.execute("pragma foreign_keys = on")
            database.execute("delete from dag_run")
        for folder in (self.home.store, self.home.inbox):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()


def make_database(folder: Path) -> Path:
    """Make a database in which Airflow knows the DAGs; gives its file."""
    home, env = _home(folder, Servers("http://127.0.0.1:1", "http://127.0.0.1:2"))
    for command in (["db", "migrate"], ["dags", "reserialize"]):
        _airflow(command, env)
    return home.database("airflow")


@contextmanager
def serving(folder: Path, database: Path, **settings: str) -> Iterator[Site]:
    """Start a server in a folder, with a copy of a database and settings of its environment; stop it afterwards."""
    servers = Servers(f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}")
    home, env = _home(folder, servers)
    env |= settings
    shutil.copy(database, home.database("airflow"))
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "api-server"], env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_for(f"{servers.airflow_url}/api/v2/version", process, folder / "server.log")
        yield Site(home, servers.airflow_url, env)
    finally:
        process.terminate()
        process.wait(60)


def _home(folder: Path, servers: Servers) -> tuple[Home, dict[str, str]]:
    """Make the folders of a home; gives it with the environment of its servers."""
    home = Home(folder)
    home.make_folders()
    shutil.copy(REPOSITORY / "dags/nucleus_dags/manifest.json", home.manifest)
    return home, environment(home, servers)


def _airflow(arguments: list[str], env: dict[str, str]) -> None:
    ended = subprocess.run([sys.executable, "-m", "airflow", *arguments], env=env, capture_output=True, text=True)
    assert ended.returncode == 0, f"airflow {' '.join(arguments)}: {ended.stdout}{ended.stderr}"


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + MOST_WAIT_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
