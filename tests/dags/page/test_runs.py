"""Runs and settings on the page, and what a person starts and changes there."""

from __future__ import annotations

import json
import re
import time
from html import unescape
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from playwright.sync_api import Page, Route, expect

from nucleus_dags.airflow_api import request_json
from nucleus_dags.page.task_words import TASK_STATES, WORDS
from nucleus_dags.page.trainings import training_in_log
from nucleus_dags.planning.gate import change_gate, changes
from tests.dags.page.recorded_runs import RecordedRun
from tests.dags.page.site import Site
from tests.dags.planning.test_gate import NOON
from tests.dags.stored_plates import add_plate
from tests.repository import REPOSITORY

EPOCH = "12:00:00 cycle {0} of 10: loss {1:.5f}, validation loss {2:.5f}, 30 s, 12.5 ROIs/s"


def text_of(site: Site, path: str) -> str:
    """Give the words of a page, without its tags."""
    status, html = site.get(path)
    assert status == 200, html
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))


def check(site: Site, dag_id: str, **filled: Any) -> dict[str, Any]:
    """Let the page check a form."""
    address, login = f"{site.address}/nuclei/runs/start/{dag_id}", {"Cookie": f"_token={site.token()}"}
    answer: dict[str, Any] = request_json("POST", address, filled, login)
    return answer


def test_every_task_of_every_dag_has_words(site: Site) -> None:
    bag = DagBag(str(REPOSITORY / "dags"))
    assert {task.task_id for dag in bag.dags.values() for task in dag.tasks} == set(WORDS)
    assert all(words and not words[0].isupper() for words in [*WORDS.values(), *TASK_STATES.values()])


def test_an_empty_installation_says_what_to_do_first(site: Site) -> None:
    words = text_of(site, "/runs")
    assert "0 runs" in words
    assert "Nothing has run yet. Add a plate under Plates" in words


def test_runs_are_listed_with_what_they_do_or_what_came_of_them(site: Site) -> None:
    ended = RecordedRun(site, "segment_plate", plate="HeLa-3", begun_s_ago=900)
    ended.note("🔴 **1234** nuclei in 12 fields\n\nand more")
    ended.end("success", 300)
    goes_on = RecordedRun(site, "train_models", begun_s_ago=120)
    goes_on.task("plan", "success")
    goes_on.task("train", "running", name="one network", map_index=0)
    words = text_of(site, "/runs")
    assert "HeLa-3" in words
    assert "ended well" in words
    assert "5 min" in words
    assert "🔴 1234 nuclei in 12 fields" in words
    assert "and more" not in words
    assert "trains networks: one network" in words
    assert words.index("trains networks: one network") < words.index("HeLa-3")
    assert 'value="0.059"' in site.get("/runs")[1], "of 17 tasks, 1 is done"


def test_runs_are_chosen_by_dag_and_state(site: Site) -> None:
    RecordedRun(site, "segment_plate", plate="HeLa-3").end("success")
    RecordedRun(site, "segment_plate", plate="U2OS-1").end("failed")
    RecordedRun(site, "train_models").end("failed")
    assert "1 run " in text_of(site, "/runs?dag=segment_plate&state=failed")
    assert "2 runs" in text_of(site, "/runs?dag=segment_plate")
    assert "3 runs" in text_of(site, "/runs?dag=no_such_dag&state=no_such_state")
    assert "There is no run of this kind" in text_of(site, "/runs?dag=promote_model")


def test_fifty_runs_are_on_a_page_which_is_quick_also_with_five_hundred(site: Site) -> None:
    run = RecordedRun(site, "segment_plate", plate="HeLa-3")
    run.end("success")
    run.copy(499)
    site.get("/runs")
    begun = time.monotonic()
    first, last = text_of(site, "/runs"), text_of(site, "/runs?number=10")
    assert time.monotonic() - begun < 2
    assert "500 runs" in first
    assert "Page 1 of 10 · Older" in first
    assert (first.count("HeLa-3"), last.count("HeLa-3")) == (50, 50)
    assert "Newer · Page 10 of 10" in last


def test_a_run_that_waits_for_an_approval_is_on_top_with_the_way_to_airflows_question(site: Site) -> None:
    waits = RecordedRun(site, "retrain_champion")
    waits.ask("approve", "Shall version 7 become champion?")
    RecordedRun(site, "segment_plate", plate="HeLa-3")
    words, html = text_of(site, "/runs"), site.get("/runs")[1]
    assert words.index("Shall version 7 become champion?") < words.index("HeLa-3")
    assert re.search(r'data-leave href="/dags/retrain_champion/runs/[^"]+/required_actions"', html)
    assert "Approve or reject it in Airflow, with a reason" in text_of(site, waits.path)


def test_a_failed_run_says_in_words_what_failed_and_why_and_leads_to_the_log(site: Site) -> None:
    run = RecordedRun(site, "train_models")
    run.task("plan", "success")
    run.task("ingest_train", "failed", name="HeLa-3", map_index=0)
    run.leave_reason("ingest_train", "images/A01.tif is RGB <b>; save it in grey.", 0)
    run.end("failed")
    html = site.get(run.path)[1]
    words = text_of(site, run.path)
    assert "Checks and imports training plates: HeLa-3: failed. images/A01.tif is RGB <b>; save it in grey." in words
    assert "<b>" not in html
    assert re.search(r'href="/dags/train_models/runs/[^"]+/tasks/ingest_train/mapped/0\?try_number=1"', html)
    assert "not reached, since a step before failed" in words


def test_what_is_html_or_a_script_in_a_note_is_shown_as_text(site: Site) -> None:
    run = RecordedRun(site, "promote_model", version="1", reason="It is better.")
    run.note("**bold** <script>alert(1)</script> [x](javascript:alert(1))\n\n| a | b |\n|---|---|\n| 1 | <img src=x> |")
    html = site.get(run.path)[1]
    assert "<strong>bold</strong> &lt;script&gt;" in html
    assert 'href="javascript' not in html
    assert "<td>&lt;img src=x&gt;</td>" in html


def test_a_training_that_goes_on_shows_its_epoch_its_loss_and_what_is_left(site: Site) -> None:
    run = RecordedRun(site, "train_models")
    run.task("train", "running", 120, "one network", 0)
    epochs = [EPOCH.format(number, 0.3 / number, 0.4 / number) for number in (1, 2, 3, 4)]
    run.log("train", [*epochs, "12:00:10 cycle 5 of 10: 250 of 500 ROIs, loss 0.07000"], 0)
    words = text_of(site, run.path)
    assert "one network: epoch 5 of 10, loss 0.075, on the fields kept back 0.1" in words
    assert "About 3 min left of the training; how long the rest takes isn't known yet" in words
    html = site.get(run.path)[1]
    assert html.count("<polyline") == 2
    points = re.findall(r'<polyline class="of-training" points="([^"]+)"', html)[0].split()
    assert len(points) == 4
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights), "The loss falls."


def test_the_loss_of_a_training_that_is_done_is_that_of_its_result_also_if_it_was_there_already(site: Site) -> None:
    run = RecordedRun(site, "train_models")
    network = site.home.store / "train_fpn2_ws/0123456789abcdef"
    network.mkdir(parents=True)
    cycles = [{"cycle": number, "loss": 0.2, "validation_loss": 0.3, "seconds": 5} for number in (1, 2)]
    (network / "history.json").write_text(json.dumps(cycles))
    run.receipt("train", 0, task="train_fpn2_ws", outputs={"network": "train_fpn2_ws/0123456789abcdef"}, reused=True)
    run.end("success")
    assert "Loss of 2 of 2 epochs: 0.2, on the fields kept back 0.3; lowest there 0.3, after epoch 1." in text_of(
        site, run.path
    )


def test_of_a_resumed_training_every_epoch_counts_once() -> None:
    lines = [EPOCH.format(1, 0.3, 0.4), "12:00:05 cycle 2 of 10: 400 of 500 ROIs, loss 0.2", EPOCH.format(1, 0.3, 0.4)]
    training = training_in_log("one", lines)
    assert [cycle.number for cycle in training.cycles] == [1]
    assert (training.current, training.total, training.share) == (2, 10, 0.18)
    assert training.seconds_left(elapsed=60) == pytest.approx(8.2 * 30)


def test_in_the_first_epoch_the_rest_is_estimated_by_the_time_since_the_start() -> None:
    training = training_in_log("one", ["12:00:05 cycle 1 of 4: 250 of 500 ROIs, loss 0.2"])
    assert training.seconds_left(elapsed=60) == pytest.approx(3.5 * 60 / 0.5)
    assert training_in_log("one", []).seconds_left(elapsed=60) is None


def test_before_the_start_the_time_is_estimated_by_earlier_runs_and_goes_with_the_work(site: Site) -> None:
    add_plate(site.home.store, "small", "screen", fovs=[{}] * 10)
    add_plate(site.home.store, "large", "screen", fovs=[{}] * 40)
    assert check(site, "segment_plate", plate="small")["estimate"].startswith("No measurement yet")
    run = RecordedRun(site, "segment_plate", plate="small", begun_s_ago=3600)
    run.task("find_model", "success", 60)
    run.task("segment", "success", 20)
    # It was there already, which takes no time; the computation did.
    run.receipt("segment", task="segment", seconds=600)
    run.end("success")
    assert check(site, "segment_plate", plate="small")["estimate"] == (
        "About 11 min, by an earlier run on this installation."
    )
    assert check(site, "segment_plate", plate="large")["estimate"].startswith("About 41 min")


def test_what_is_left_of_a_run_is_what_its_steps_took_before(site: Site) -> None:
    earlier = RecordedRun(site, "segment_plate", plate="small", begun_s_ago=3600)
    earlier.task("find_model", "success", 100)
    earlier.task("segment", "success", 300)
    earlier.end("success")
    run = RecordedRun(site, "segment_plate", plate="small", begun_s_ago=220)
    run.task("find_model", "success", 100)
    run.task("segment", "running", 120)
    words = text_of(site, run.path)
    assert "25 % · finds nuclei" in words
    assert "About 3 min left" in words


def test_a_form_names_all_that_is_wrong_by_field_and_starts_nothing(site: Site) -> None:
    add_plate(site.home.store, "HeLa-3", "screen")
    answer = check(site, "segment_plate", plate="HeLa-4", nuclear_diameter_px="1,5", fovs_per_part="0", model="best")
    assert set(answer["problems"]) == {"nuclear_diameter_px", "fovs_per_part", "model"}
    assert answer["problems"]["nuclear_diameter_px"] == ["'1,5' isn't a number; write 1.5."]
    assert answer["problems"]["fovs_per_part"] == ["0 is too small; at least 1 is allowed."]
    unknown = check(site, "segment_plate", plate="HeLa-4")["problems"]
    assert unknown["plate"][0].startswith("There is no plate named HeLa-4")
    assert check(site, "segment_plate", plate="HeLa-3")["problems"] == {}
    assert "0 runs" in text_of(site, "/runs")


@pytest.mark.parametrize(
    "path",
    [
        "/runs/segment_plate/no_such_run",
        "/runs/no_such_dag/manual__1",
        "/runs/start/ingest_plates",
        "/runs/start/..%2f..",
    ],
)
def test_what_there_is_not_is_told_of_with_status_404(site: Site, path: str) -> None:
    status, text = site.get(path)
    assert status == 404
    assert "This isn't possible" in text


@pytest.mark.parametrize(
    "dag_id",
    [
        "segment_plate",
        "train_models",
        "retrain_champion",
        "compare_models",
        "try_models",
        "promote_model",
        "send_to_annotation",
    ],
)
def test_every_main_dag_has_a_page_to_start_it_with_all_fields_of_its_form(site: Site, dag_id: str) -> None:
    html = site.get(f"/runs/start/{dag_id}")[1]
    params = site.api.call("GET", f"dags/{dag_id}/details")["params"]
    assert set(re.findall(r'data-field="(\w+)"', html)) == set(params)


def test_the_settings_show_the_gate_who_changed_it_and_what_can_not_be_read(site: Site) -> None:
    words = text_of(site, "/settings")
    assert "It is the default gate; nobody has changed it." in words
    assert "Largest loss of a cell line" in words
    assert "administrate" in words
    assert str(site.home.store) in words
    change_gate(site.home.store, {"most_loss": 0.02}, "A <strict> screen.", "anna", NOON, "manual__1")
    words = text_of(site, "/settings")
    assert "As anna changed it on 2026-11-27 12:00 UTC: A <strict> screen." in words
    assert "Largest loss of a cell line: 0.05 -> 0.02" in words
    (site.home.store / "gates/000002.json").write_text("{")
    words = text_of(site, "/settings")
    assert "The last change of the gate can't be read, so nothing is judged. gates/000002.json" in words
    assert "gates/000002.json is damaged, or was changed by hand" in words


def test_a_change_of_the_gate_that_changes_nothing_is_refused_before_it_starts(site: Site) -> None:
    assert check(site, "change_gate", most_loss="0.05", reason="As it is.")["problems"] == {
        "reason": ["All values of the gate are as they are; change one."]
    }
    assert check(site, "change_gate", most_loss="0.04", reason="A stricter screen.")["problems"] == {}
    assert set(check(site, "change_gate", most_loss="2", reason="no")["problems"]) == {"most_loss", "reason"}
    assert changes(site.home.store) == []


def test_a_plate_is_segmented_from_the_form_with_the_keyboard_alone(browser: Page, site: Site) -> None:
    add_plate(site.home.store, "HeLa-3", "screen")
    browser.goto("/nuclei/runs")
    browser.get_by_role("link", name="Find the nuclei of a plate").first.focus()
    browser.keyboard.press("Enter")
    browser.get_by_label("Plate", exact=True).fill("HeLa-4")
    browser.keyboard.press("Enter")
    expect(browser.get_by_text("There is no plate named HeLa-4")).to_be_visible()
    expect(browser.get_by_role("alert")).to_have_text("Correct 1 field; nothing was started.")
    expect(browser.get_by_label("Plate", exact=True)).to_be_focused()
    browser.keyboard.press("Control+a")
    browser.keyboard.type("HeLa-3")
    browser.keyboard.press("Enter")
    browser.wait_for_url("**/nuclei/runs/segment_plate/manual__*")
    expect(browser.get_by_role("heading", level=1)).to_have_text("Find the nuclei of a plate: HeLa-3")
    expect(browser.get_by_role("status")).to_contain_text("waits to start")


def test_a_form_that_is_submitted_before_its_script_is_there_waits_for_it(browser: Page, site: Site) -> None:
    def once_submitted(script: Route) -> None:
        browser.wait_for_function("document.querySelector('form[data-submitted]')")
        script.continue_()

    browser.route("**/static/start.js", once_submitted)
    browser.goto("/nuclei/runs/start/segment_plate", wait_until="commit")
    browser.get_by_label("Plate", exact=True).fill("HeLa-4")
    browser.keyboard.press("Enter")
    expect(browser.get_by_text("There is no plate named HeLa-4")).to_be_visible()
    expect(browser.get_by_label("Plate", exact=True)).to_have_value("HeLa-4")


def test_wrong_fields_that_are_folded_away_are_unfolded(browser: Page, site: Site) -> None:
    browser.goto("/nuclei/runs/start/train_models")
    expect(browser.get_by_label("Random seed")).to_be_hidden()
    browser.get_by_text("Training", exact=True).click()
    browser.get_by_label("Random seed").fill("1,5")
    browser.get_by_text("Training", exact=True).click()
    browser.get_by_role("button", name="Start").click()
    expect(browser.get_by_text("'1,5' isn't a whole number")).to_be_visible()


def test_the_page_of_a_run_shows_by_itself_how_it_goes_on(browser: Page, site: Site) -> None:
    run = RecordedRun(site, "segment_plate", plate="HeLa-3")
    run.task("find_model", "running")
    browser.goto(f"/nuclei{run.path}")
    expect(browser.get_by_role("status")).to_contain_text("looks up the model")
    run.task("find_model", "success")
    run.note("1234 nuclei in 12 fields")
    run.end("success")
    expect(browser.get_by_text("1234 nuclei in 12 fields")).to_be_visible(timeout=15_000)
    expect(browser.get_by_text("Ended well")).to_be_visible()


def test_a_run_of_a_paused_dag_says_so_and_is_unpaused_on_its_page(browser: Page, site: Site) -> None:
    run = RecordedRun(site, "retrain_champion")
    run.wait()
    browser.goto(f"/nuclei{run.path}")
    browser.get_by_role("button", name="Unpause it").click()
    expect(browser.get_by_role("status")).to_contain_text("waits to start")
    assert site.api.call("GET", "dags/retrain_champion")["is_paused"] is False
    site.api.call("PATCH", "dags/retrain_champion", {"is_paused": True})


def test_airflows_page_of_a_run_has_a_tab_that_shows_it_and_links_lead_back(browser: Page, site: Site) -> None:
    run = RecordedRun(site, "segment_plate", plate="HeLa-3")
    browser.goto(f"/dags/{run.dag_id}/runs/{run.run_id}")
    browser.get_by_role("link", name="Nuclei: this run").or_(browser.get_by_text("Nuclei: this run")).first.click(
        timeout=120_000
    )
    frame = browser.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_have_text("Find the nuclei of a plate: HeLa-3")
    frame.get_by_role("link", name="Run in Airflow").click()
    expect(browser).to_have_url(re.compile(r"/dags/segment_plate/runs/manual__[^/]+$"))


def test_the_address_in_notes_shows_the_run_inside_of_airflow(browser: Page, site: Site) -> None:
    run = RecordedRun(site, "segment_plate", plate="HeLa-3")
    browser.goto(f"/plugin/nuclei/nuclei/runs/{run.dag_id}/{run.run_id.replace('+', '%2B').replace(':', '%3A')}")
    frame = browser.frame_locator("iframe[title=Nuclei]")
    expect(frame.get_by_role("heading", level=1)).to_have_text("Find the nuclei of a plate: HeLa-3")


def test_the_gate_is_changed_by_a_run_that_says_why(browser: Page, site: Site) -> None:
    browser.goto("/nuclei/settings")
    browser.get_by_label("Largest loss of a cell line").fill("0.02")
    browser.get_by_label("Reason").fill("A stricter screen.")
    browser.get_by_role("button", name="Change the gate").click()
    browser.wait_for_url("**/nuclei/runs/change_gate/manual__*")
    expect(browser.get_by_text("A stricter screen.")).to_be_visible()


@pytest.mark.parametrize("path", ["/runs", "/runs/start/train_models", "/settings", "RUN"])
def test_narrow_screens_need_no_scrolling_to_the_side(browser: Page, site: Site, path: str) -> None:
    add_plate(site.home.store, "a-plate-with-quite-a-long-name-" * 3, "train")
    run = RecordedRun(site, "segment_plate", plate="a-plate-with-quite-a-long-name-" * 3)
    run.note("1234 nuclei in 12 fields; look at the remarks below")
    run.end("success")
    browser.set_viewport_size({"width": 390, "height": 800})
    browser.goto(f"/nuclei{run.path if path == 'RUN' else path}")
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
