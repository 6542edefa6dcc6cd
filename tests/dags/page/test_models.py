"""Models on the page: which versions there are, which is champion and why, two compared, and promotion."""

import re
import time
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Page

from nucleus_dags.manifest import manifest
from nucleus_dags.page.registered import KEPT_S
from tests.dags.page.registered_models import (
    Mlflow,
    add_judgement,
    add_model,
    add_scores,
    add_test_plates,
    forget_all,
    key_of,
    mlflow_of,
    promoted,
    register,
    result,
)
from tests.dags.page.server_time import seconds_of_servers_for
from tests.dags.page.site import Site
from tests.dags.stored_plates import add_plate

REASON = "passed the gate against version 1, approved by anna: outlines of <b>HCT116</b> are better"


@pytest.fixture(scope="module")
def mlflow_server(server: Site) -> Iterator[Mlflow]:
    with mlflow_of(server) as started:
        yield started


@pytest.fixture
def mlflow(mlflow_server: Mlflow, site: Site) -> MlflowClient:
    """MLflow without a model, beside an empty store."""
    forget_all(mlflow_server.client)
    time.sleep(KEPT_S)
    return mlflow_server.client


@pytest.fixture
def three(mlflow: MlflowClient, site: Site) -> MlflowClient:
    """The base model, one that misses too much, and the champion, which was judged against the first."""
    store = site.home.store
    trained = [add_plate(store, name, "train") for name in ("p1", "p2")]
    tests = add_test_plates(store, {"t1": "U2OS", "t2": "HCT116"})
    for number, plates in ((1, []), (2, trained[:1]), (3, trained)):
        add_model(store, number, plates, begun_from=1 if number > 1 else None)
    add_scores(store, 1, tests, (0.81, 0.61))
    add_scores(store, 2, tests[:1], (0.52, 0.32), missed=0.45)
    add_scores(store, 3, tests, (0.93, 0.73))
    add_judgement(store, 1, 3)
    register(mlflow, 1, **promoted("2026-11-01 10:00:00", "champion in place of none: it came with the pipeline"))
    register(mlflow, 2, trained[:1])
    text = f"champion in place of version 1: {REASON} (DAG run manual__7)"
    register(mlflow, 3, trained, ["champion"], **promoted("2026-11-20 11:12:13", text))
    return mlflow


def rows_of(tab: Page) -> list[list[str]]:
    # Only the beginning of a page may be there after a click.
    tab.wait_for_load_state("domcontentloaded")
    return [row.locator("td").all_inner_texts() for row in tab.locator("tbody tr").all()]


def test_without_a_model_it_is_said_what_to_do_first(mlflow: MlflowClient, site: Site) -> None:
    status, text = site.get("/models")
    assert (status, "There is no model yet" in text) == (200, True)
    assert "train_models" in text


def test_versions_are_listed_with_f1_of_the_store_and_what_they_were_trained_on(
    three: MlflowClient, browser: Page
) -> None:
    browser.goto("/nuclei/models")
    assert [[cell.split("\n")[0] for cell in row[:6]] for row in rows_of(browser)] == [
        ["3 champion", "0.930", "0.730", "0.930 / 0.730", "0.930 / 0.730", "p1, p2"],
        ["2", "0.520 *", "0.320 *", "- / -", "0.520 / 0.320", "p1"],
        ["1", "0.810", "0.610", "0.810 / 0.610", "0.810 / 0.610", "none here"],
    ]


def test_a_model_that_misses_too_much_says_so_in_red_where_its_f1_stands(three: MlflowClient, browser: Page) -> None:
    browser.goto("/nuclei/models")
    marked = browser.locator("tbody td.bad")
    assert marked.first.inner_text().split("\n")[1] == "misses 45 %"
    assert marked.count() == len(manifest()["shown_iou_thresholds"])


def test_versions_are_sorted_by_f1_on_a_test_plate_and_those_without_it_come_last(
    three: MlflowClient, browser: Page
) -> None:
    browser.goto("/nuclei/models")
    browser.get_by_label("F1 on").select_option("Test plate t2")
    browser.get_by_role("button", name="Show").click()
    browser.get_by_role("link", name="F1 at 0.7").click()
    assert [row[:2] for row in rows_of(browser)] == [["3 champion", "0.930"], ["1", "0.810"], ["2", "-\nmisses 45 %"]]
    browser.get_by_role("link", name="F1 at 0.7").click()
    assert [row[0] for row in rows_of(browser)] == ["1", "3 champion", "2"]
    assert browser.locator("th[aria-sort=ascending]").inner_text() == "F1 at 0.7 ↑"


@pytest.fixture
def flattered(mlflow: MlflowClient, site: Site) -> MlflowClient:
    """Version 2 proposed some of the labels of the test plate t1 itself, and was judged against version 1."""
    store = site.home.store
    tests = add_test_plates(store, {"t1": "U2OS", "t2": "HCT116"})
    for number, f1, own in ((1, (0.81, 0.61), 0), (2, (0.93, 0.73), 3)):
        add_model(store, number)
        add_scores(store, number, tests, f1, own=own)
        register(mlflow, number)
    add_judgement(store, 1, 2, remarks=["3 of the true labels were proposed by the challenger: <b>F1</b> favours it"])
    return mlflow


OWN = manifest()["own_proposals"]
MARK = f'<abbr title="{OWN["meaning"].capitalize()}">{OWN["mark"]}</abbr>'
EXPLAINED = f'<span class="bad">{OWN["mark"]}</span> {OWN["meaning"]}.'


def marked(text: str) -> list[str]:
    """Give what stands before each mark, from the beginning of its cell."""
    cells = re.findall(r"<td[^>]*>(.*?)</td>", text, re.DOTALL)
    return [" ".join(cell.partition(f"&nbsp;{MARK}")[0].split()) for cell in cells if MARK in cell]


def test_f1_against_labels_that_a_version_proposed_itself_is_marked_wherever_it_stands_among_models(
    flattered: MlflowClient, site: Site
) -> None:
    # Over all plates at both thresholds, and of the cell line of the plate.
    for address, cells in (
        ("/models", ["0.930", "0.730", "0.930 / 0.730"]),
        ("/models?of=plate:t1", ["0.930", "0.730", "0.930 / 0.730"]),
        ("/models?of=plate:t2", ["0.930 / 0.730"]),
        # All, the cell line, and the plate.
        ("/models/2", ["0.930", "0.730"] * 3),
        ("/models/1", []),
        ("/models/compare?a=1&b=2", ["0.930", "0.730"] * 3),
        ("/models/compare?a=2&b=1", ["0.930", "0.730"] * 3),
        ("/models/compare?a=1&b=1", []),
        ("/results", ["0.930", "0.730"]),
    ):
        status, text = site.get(address)
        assert (status, marked(text)) == (200, cells), address
        assert text.count(EXPLAINED) == bool(cells), address


def test_what_the_gate_remarked_stands_below_its_rules_with_who_was_the_champion(
    flattered: MlflowClient, site: Site
) -> None:
    remark = "3 of the true labels were proposed by the challenger: &lt;b&gt;F1&lt;/b&gt; favours it."
    for address in ("/models/2", "/models/compare?a=1&b=2", "/models/compare?a=2&b=1"):
        assert site.get(address)[1].count(remark) == 1, address
    text = site.get("/models/compare?a=2&b=1")[1]
    assert "Version 1 was judged as the champion, version 2 as the challenger." in text


def test_a_version_whose_scores_the_store_has_lost_is_marked_by_its_tags(mlflow: MlflowClient, site: Site) -> None:
    f1 = {"f1_at_0.7/all": "0.9300", "f1_at_0.9/all": "0.7300"}
    register(mlflow, 1, **f1, own_proposals="3")
    register(mlflow, 2, **f1)
    register(mlflow, 3, **f1, own_proposals="many")
    text = site.get("/models")[1]
    assert marked(text) == ["0.930", "0.730"]
    assert text.count(EXPLAINED) == 1


def test_versions_are_filtered_by_a_plate_that_they_were_trained_on(three: MlflowClient, site: Site) -> None:
    shown = site.get("/models?trained_on=p2")[1].partition("<tbody>")[2]
    assert [f'/models/{number}"' in shown for number in (1, 2, 3)] == [False, False, True]


def test_it_is_said_why_the_champion_is_it_and_who_approved_it(three: MlflowClient, site: Site) -> None:
    for address in ("/models", "/models/3"):
        text = site.get(address)[1]
        assert "2026-11-20 11:12 UTC" in text
        # What people write isn't HTML.
        assert REASON.replace("<b>", "&lt;b&gt;").replace("</b>", "&lt;/b&gt;") in text
        assert "<b>HCT116" not in text


def test_the_page_of_a_version_has_its_scores_its_gate_and_its_whole_lineage(
    three: MlflowClient, browser: Page
) -> None:
    browser.goto("/nuclei/models/3")
    scores, gate = browser.locator("table").all()
    assert scores.locator("tbody tr").first.inner_text().split("\t")[:5] == [
        *("HCT116", "0.930", "0.910-0.950", "0.730", "0.710-0.750"),
    ]
    assert gate.locator("tbody tr").last.inner_text().endswith("broken: allowed is a rise to 0.15")
    lineage = browser.locator("ol li").all_inner_texts()
    assert [line.partition(":")[0] for line in lineage] == [
        "This version",
        "Version 1, from whose weights the one above began",
    ]
    assert "the base model" in lineage[1]


def test_a_version_leads_to_its_outlines_on_test_plates_or_to_the_form_that_makes_them(
    three: MlflowClient, site: Site
) -> None:
    model = {"version": 3, "key": key_of(3)}
    for name, params in (("segment", {"plate": f"ingest/t1@{'0' * 12}"}), ("assemble_plate", {"model": model})):
        result(site.home.store, f"{name}/{key_of(9)}", {"segmentations": [f"segment/{key_of(9)}"], **params})
    _, text = site.get("/models/3")
    assert '<a href="/nuclei/results/t1/v3">beside the labels</a>' in text
    assert '<a href="/nuclei/runs/start/segment_plate?plate=t2&amp;model=3">segment it</a>' in text


def test_two_versions_are_compared_with_intervals_and_gained_and_lost_nuclei(
    three: MlflowClient, browser: Page
) -> None:
    browser.goto("/nuclei/models")
    browser.get_by_label("Compare version").select_option("1")
    browser.get_by_label("with version").select_option("3, champion")
    browser.get_by_role("button", name="Compare", exact=True).click()
    differences = {row[0]: row[1:5] for row in rows_of(browser)[:5]}
    assert differences["U2OS cell line"] == ["0.810", "0.930", "+0.120", "+0.050 to +0.150"]
    assert differences["t2 plate"] == ["0.810", "0.930", "+0.120", ""]
    assert ["t1", "U2OS", "1\u202f200", "31", "12"] in rows_of(browser)
    for picture in browser.locator("img").all():
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1


def test_a_judgement_that_was_made_the_other_way_round_counts_with_the_other_sign(
    three: MlflowClient, browser: Page
) -> None:
    browser.goto("/nuclei/models/compare?a=3&b=1")
    assert rows_of(browser)[2][:5] == ["U2OS cell line", "0.930", "0.810", "-0.120", "-0.150 to -0.050"]
    assert ["t1", "U2OS", "1\u202f200", "12", "31"] in rows_of(browser)


def test_for_a_pair_that_was_not_judged_compare_models_is_started_with_it(three: MlflowClient, browser: Page) -> None:
    browser.goto("/nuclei/models/compare?a=2&b=3")
    # Only the plate that both were scored on is compared.
    assert [row[0] for row in rows_of(browser)] == ["t1 plate"]
    with browser.expect_request("**/dags/compare_models/dagRuns") as asked:
        browser.get_by_role("button", name="Start compare_models").click()
    sent = asked.value.post_data_json
    assert sent is not None
    assert sent["conf"] == {"before": 2, "after": 3}
    browser.wait_for_url("**/nuclei/runs/compare_models/**")


def test_a_version_is_promoted_with_a_reason_by_the_keyboard_alone(
    three: MlflowClient, browser: Page, site: Site
) -> None:
    browser.goto("/nuclei/models/1")
    browser.get_by_label("Reason").focus()
    browser.keyboard.type("U2OS of last week")
    browser.keyboard.press("Tab")
    browser.keyboard.press("Enter")
    browser.wait_for_url("**/nuclei/runs/promote_model/**")
    [run] = site.api.call("GET", "dags/promote_model/dagRuns")["dag_runs"]
    assert run["conf"] == {"version": 1, "reason": "U2OS of last week"}


def test_without_a_reason_nothing_is_started(three: MlflowClient, browser: Page) -> None:
    browser.goto("/nuclei/models/2")
    browser.get_by_role("button", name="Promote version 2").click()
    assert browser.get_by_label("Reason").evaluate("field => field.validity.valueMissing")
    assert browser.url.endswith("/models/2")


def test_while_mlflow_is_away_the_page_says_so_and_shows_what_the_store_knows(
    mlflow_server: Mlflow, mlflow: MlflowClient, site: Site, browser: Page
) -> None:
    store = site.home.store
    add_model(store, 11, [add_plate(store, "p1", "train")])
    add_scores(store, 11, add_test_plates(store, {"t1": "U2OS"}), (0.88, 0.66))
    values = {"model": {"key": f"{11:016x}", "version": 4}}
    result(store, "find_model/" + "a" * 16, {"model": "champion"}, values=values)
    reason = {"alias": "champion", "version": 4, "reason": "the first model", "dag_run_id": "manual__1"}
    result(store, "promote_model/" + "b" * 16, reason, counts={"version": 4, "version_before": 0})
    with mlflow_server.away():
        browser.goto("/nuclei/models")
        browser.get_by_role("alert").filter(has_text="doesn't answer").wait_for()
        assert rows_of(browser)[0][:3] == ["4 champion", "0.880", "0.660"]
        assert "the first model" in browser.locator("main").inner_text()


def test_a_version_that_there_is_not_is_told_of_in_words(three: MlflowClient, site: Site) -> None:
    status, text = site.get("/models/99")
    assert (status, "There is no version 99" in text) == (404, True)
    assert site.get("/models/compare?a=1&b=99")[0] == 404


@pytest.mark.parametrize(
    "address", ["/models/judged/..%2f..%2fregister_model/gained.png", "/models/judged/x/rules.png"]
)
def test_only_pictures_of_judgements_are_sent(site: Site, address: str) -> None:
    assert site.get(address)[0] == 404


def test_200_versions_take_the_servers_less_than_a_second(mlflow: MlflowClient, site: Site) -> None:
    store = site.home.store
    trained = [add_plate(store, f"p{number:03}", "train") for number in range(500)]
    tests = add_test_plates(store, {f"t{number}": ("U2OS", "HCT116")[number % 2] for number in range(6)})
    for number in range(1, 201):
        add_model(store, number, trained[:number], begun_from=number - 1 if number > 1 else None)
        add_scores(store, number, tests)
        register(mlflow, number, trained[:number:20])
    of_models = ("/models", "/models?of=plate:t3&sort=-f1_at_0.9", "/models/200", "/models/compare?a=1&b=200")
    for address in (*of_models, "/results", "/results?plate=t3"):
        site.get(address)  # What is in the store is read once.
        assert seconds_of_servers_for(site, address) < 1, address
