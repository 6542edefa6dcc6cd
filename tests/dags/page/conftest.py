"""The page in a server, and in a browser that is logged in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.dags.page.site import Site, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("page")) as site:
        yield site


@pytest.fixture
def site(server: Site) -> Site:
    """The server with nothing in its store and inbox."""
    server.empty()
    return server


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium isn't installed here; Debian's package is called chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium: Browser, site: Site, tmp_path: Path) -> Iterator[Page]:
    """A tab of a browser that is logged in, at the address of Airflow. What the console complains of fails the test."""
    context = chromium.new_context(base_url=site.address, viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": "_token", "value": site.token(), "url": site.address}])
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    context.close()
    assert complaints == []
