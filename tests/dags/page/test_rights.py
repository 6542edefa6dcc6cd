"""What people see whose role doesn't allow something, in an Airflow with the accounts of a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from nucleus_dags.airflow_api import AirflowApi
from nucleus_dags.local.home import Home
from tests.browser import complaints_of
from tests.dags.page.segmented import Segmented
from tests.dags.page.site import Site, serving
from tests.dags.page.whole_site import fill

PEOPLE = {"looker": "look", "annotator": "annotate", "approver": "approve"}
"""Roles by name; everybody has the password <name>'s."""
CAN_BE_CHANGED = """() => [...document.querySelectorAll(
  "form:not([method=get]) :is(button, input, select, textarea), [data-unpause], [data-upload]"
)].filter((one) => !one.matches(":disabled")).map((one) => one.outerHTML)"""
LACKS = "Your account may not start {dag}: its role is look, and the role {role} is needed. Ask an administrator."
SAID = {
    "/plates": ("ingest_plates", "annotate"),
    "/plates/p": ("retire_plate", "approve"),
    "/runs/start/segment_plate": ("segment_plate", "annotate"),
    "/runs/start/train_models": ("train_models", "train"),
    "/models": ("compare_models", "train"),
    "/models/2": ("promote_model", "approve"),
    "/annotate": ("send_to_annotation", "annotate"),
    "/settings": ("change_gate", "approve"),
}
"""What each page that changes something says to who may only look: the DAG, and the role that is needed."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[Site]:
    """A server with accounts, of whom only others than the approver may approve, and with something of every kind."""
    folder = tmp_path_factory.mktemp("cluster")
    home = Home(folder)
    home.make_folders()
    name, password = home.login()
    passwords = {name: password} | {person: f"{person}'s" for person in PEOPLE}
    roles = {name: "administrate", **PEOPLE}
    accounts = {
        person: {"role": roles[person], "sha256": sha256(secret.encode()).hexdigest()}
        for person, secret in passwords.items()
    }
    (folder / "accounts.json").write_text(json.dumps(accounts))
    settings = {
        "AIRFLOW__CORE__AUTH_MANAGER": "nucleus_dags.access.auth_manager.AccountsAuthManager",
        "NUCLEUS_ACCOUNTS": str(folder / "accounts.json"),
        "NUCLEUS_APPROVERS": "somebody-else",
    }
    # The DAGs in the database name no approvers; pages ask the environment.
    with serving(folder, database, **settings) as site:
        yield site


@pytest.fixture(scope="module")
def addresses(cluster: Site, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return fill(cluster, Segmented(tmp_path_factory.mktemp("segmented")))


def token_of(site: Site, name: str) -> str:
    return AirflowApi(site.address, (name, f"{name}'s"))._token


@pytest.fixture
def looker(chromium: Browser, cluster: Site) -> Iterator[Page]:
    """A tab of who may only look. What the console complains of, but that a page is refused, fails the test."""
    context = chromium.new_context(base_url=f"{cluster.address}", viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": "_token", "value": token_of(cluster, "looker"), "url": cluster.address}])
    tab = context.new_page()
    complaints = complaints_of(tab)
    yield tab
    context.close()
    assert [words for words in complaints if "403 (Forbidden)" not in words] == []


def test_who_may_only_look_can_change_nothing_on_any_page(cluster: Site, addresses: list[str], looker: Page) -> None:
    token = token_of(cluster, "looker")
    pages = [one for one in (*addresses, *SAID) if cluster.get(one, token)[1].startswith("<!doctype html>")]
    assert set(SAID) <= set(pages)
    wrong = {}
    for address in pages:
        looker.goto(f"/nuclei{address}")
        if found := looker.evaluate(CAN_BE_CHANGED):
            wrong[address] = found
    assert wrong == {}


@pytest.mark.parametrize(("address", "lacking"), SAID.items())
def test_a_page_says_which_role_it_takes_to_change_something(
    cluster: Site, addresses: list[str], looker: Page, address: str, lacking: tuple[str, str]
) -> None:
    dag, role = lacking
    looker.goto(f"/nuclei{address}")
    assert looker.get_by_text(LACKS.format(dag=dag, role=role)).is_visible()
    assert looker.locator("main button:disabled").count() > 0


def test_a_page_that_is_refused_says_which_role_it_takes(looker: Page) -> None:
    looker.goto("/nuclei/plates/-/add")
    assert looker.get_by_role("heading", name="This isn't possible").is_visible()
    assert looker.get_by_role("alert").inner_text() == LACKS.format(dag="ingest_plates", role="annotate")


def test_a_run_that_waits_says_who_may_unpause_it(cluster: Site, looker: Page) -> None:
    run = cluster.api.trigger("retrain_champion", {})
    looker.goto(f"/nuclei/runs/retrain_champion/{run}")
    assert looker.get_by_role("button", name="Unpause it").is_disabled()
    assert looker.get_by_text(LACKS.format(dag="retrain_champion", role="approve")).is_visible()


def test_a_role_opens_what_it_allows_and_no_more(cluster: Site, addresses: list[str]) -> None:
    token = token_of(cluster, "annotator")
    assert cluster.get("/plates/-/add", token)[0] == 200
    assert "may not" not in cluster.get("/runs/start/segment_plate", token)[1]
    assert "its role is annotate, and the role approve is needed" in cluster.get("/models/2", token)[1]


def test_where_approvers_are_named_others_with_their_role_are_told(cluster: Site) -> None:
    _, text = cluster.get("/settings", token_of(cluster, "approver"))
    assert "Your account may not start change_gate: only people whom NUCLEUS_APPROVERS names may." in text
