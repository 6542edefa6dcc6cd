"""The page in a server, and in a browser that is logged in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Page

from tests.browser import chromium_browser, complaints_of
from tests.dags.page.site import Site, make_database, serving


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's database with the DAGs: the first of the processes that test makes it for all."""
    of_process = tmp_path_factory.getbasetemp()
    shared = of_process.parent if "PYTEST_XDIST_WORKER" in os.environ else of_process
    with FileLock(shared / "airflow.lock"):
        made = shared / "airflow.db"
        if not made.exists():
            make_database(tmp_path_factory.mktemp("database")).rename(made)
    return made


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("page"), database) as site:
        yield site


@pytest.fixture
def site(server: Site) -> Site:
    """The server with nothing in its store and inbox, and without runs."""
    server.empty()
    return server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for the tests of a file: while it is open, nothing else of this process can use asyncio."""
    with chromium_browser() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser, site: Site) -> Iterator[Page]:
    """A tab of a browser that is logged in, at the address of Airflow. What the console complains of fails the test."""
    context = chromium.new_context(base_url=site.address, viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": "_token", "value": site.token(), "url": site.address}])
    tab = context.new_page()
    complaints = complaints_of(tab)
    yield tab
    context.close()
    assert complaints == []
