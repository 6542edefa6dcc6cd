"""The page in a server, and in a browser that is logged in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import chromium_browser, complaints_of
from tests.dags.page.site import Site, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("page")) as site:
        yield site


@pytest.fixture
def site(server: Site) -> Site:
    """The server with nothing in its store and inbox."""
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
