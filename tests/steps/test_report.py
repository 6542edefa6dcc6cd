import base64
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import Result, execute
from tasks.nuclei.errors import InputError
from tasks.steps import report, score
from tests.steps.test_score import (
    ONE_EXTRA,
    ONE_MISSED,
    ONE_SPLIT,
    PERFECT,
    TRUTH,
    TWO_MERGED,
    add_plate,
    add_scored_plate,
)
from tests.stored_results import add_segmentation
from tests.tracked import track_in


class Made(NamedTuple):
    """A report in a store."""

    store: Path
    result: Result
    html: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report on two plates: five fields of U2OS, each worse than the one before, and one of HCT 116.

    Patches of U2OS were chosen to be annotated.
    """
    store = tmp_path_factory.mktemp("store")
    all_missed = [0] * len(TRUTH)
    predictions = {"a": PERFECT, "b": ONE_EXTRA, "c": ONE_MISSED, "d": TWO_MERGED, "e": all_missed}
    segmentations = [
        add_scored_plate(store, "p1", "U2OS", {fov: (TRUTH, line) for fov, line in predictions.items()}),
        add_scored_plate(store, "p2", "HCT 116", {"0012": (TRUTH, ONE_SPLIT)}),
    ]
    doubted = store / segmentations[1] / "result.json"
    doubted.write_text(json.dumps(json.loads(doubted.read_text()) | {"counts": {"fovs": 1, "doubtful_fovs": 1}}))
    scores = execute(score.TASK, score.Params(segmentations=segmentations), store).outputs["scores"]
    f1 = pd.read_csv(store / scores / "f1.csv")
    at_random = f1[f1["name"] == "U2OS"].assign(f1=0.75, f1_low=0.5, f1_high=0.875)
    at_random.to_csv(store / scores / "f1_at_random.csv", index=False)
    result = execute(report.TASK, report.Params(scores={"fpn2_ws": scores}), store)
    return Made(store, result, (store / result.outputs["report"]).read_text())


class Page(HTMLParser):
    """The images of a page and all addresses that it names."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs))
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_page_stands_alone(made: Made) -> None:
    page = Page(made.html)
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    for address in page.addresses:
        assert base64.b64decode(address.partition(",")[2]).startswith(b"\x89PNG")


def test_odd_names_of_fields_stand_in_the_page_as_they_are(tmp_path: Path) -> None:
    names = ["$5_and_$10^x 日本", "<a>", '<b>x & "y", #3 50%', "the median is before this one"]
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", dict.fromkeys(names, (TRUTH, ONE_MISSED)))
    scores = execute(score.TASK, score.Params(segmentations=[segmentation]), tmp_path).outputs["scores"]
    result = execute(report.TASK, report.Params(scores={"fpn2_ws": scores}), tmp_path)
    page = (tmp_path / result.outputs["report"]).read_text()
    shown = [name for name in names if html.escape(name).replace("&quot;", "&#34;") in page]
    assert shown == [names[0], names[2]]
    assert "<b>" not in page


def test_every_image_has_an_alternative_text(made: Made) -> None:
    assert all(len(image["alt"] or "") > 40 for image in Page(made.html).images)


def test_the_page_shows_f1_with_its_interval_and_the_error_rates_of_each_cell_line(made: Made) -> None:
    text = text_of(made.html).replace("&nbsp;", " ")
    # HCT 116: one of four nuclei split: F1 = 6 / 9 at 0.7 and at 0.9, two extra and one missed.
    assert re.search(r"HCT 116 1 4 0\.667 0\.\d{3}\W\d\.\d{3} 0\.667", text)
    assert "HCT 116 4 5 2 50.0 % 1 25.0 % 0 0.0 % 1 25.0 %" in text
    # All: of 24 nuclei 4 + 1 + 2 + 1 missed and 1 + 1 + 2 extra.
    assert re.search(r"all 6 24 0\.727", text)


def test_page_and_summary_count_the_label_images_that_look_wrong(made: Made) -> None:
    assert "1 of 6 label images look wrong , and are in the scores" in text_of(made.html)
    summary = (made.store / made.result.outputs["summary"]).read_text()
    assert "fpn2_ws: 1 of 6 label images look wrong, and are in the scores." in summary


def test_page_and_summary_say_what_f1_is_on_patches_that_were_drawn_at_random(made: Made) -> None:
    shown = "drawn at random, which stand for the whole plates, is F1 at IoU 0.7 U2OS 0.750 (0.500 to 0.875)."
    assert shown in text_of(made.html)
    summary = (made.store / made.result.outputs["summary"]).read_text()
    assert "which stand for the whole plates, is F1 at 0.7 U2OS 0.750 (0.500 to 0.875)." in summary


def test_it_is_said_that_none_of_the_patches_was_drawn_at_random(made: Made) -> None:
    f1 = pd.read_csv(made.store / made.result.params["scores"]["fpn2_ws"] / "f1.csv")
    assert report.Scores(f1, f1, f1, None, f1.iloc[:0]).f1_at_random() == "not known, since none of them was"
    assert report.Scores(f1, f1, f1, None, None).f1_at_random() == ""


def test_page_and_summary_name_the_cell_lines_with_too_few_fields_for_their_intervals(made: Made) -> None:
    said = "HCT 116 (1)"
    assert re.search(rf"Too few fields to rely on the interval: [^.]*{re.escape(said)}", text_of(made.html))
    assert said in (made.store / made.result.outputs["summary"]).read_text()


def test_a_model_that_misses_more_than_a_third_says_so_beside_its_f1(made: Made) -> None:
    """Of U2OS 7 of 20 nuclei are missed, of all 8 of 24."""
    of_line_and_plate = made.html.count('<span class="bad">misses 35 % of the nuclei</span>')
    assert of_line_and_plate == 2
    summary = (made.store / made.result.outputs["summary"]).read_text()
    assert re.findall("🔴 misses .. % of the nuclei: 0.[0-9]{3}", summary) == ["🔴 misses 35 % of the nuclei: 0.743"]


def test_the_page_says_what_was_scored(made: Made) -> None:
    text = text_of(made.html)
    assert "p1 0123456789ab U2OS 20X 0.5 biological manual" in text
    assert "segment/p1, segment/p2" in text
    assert re.search(r"numpy \d+\.\d+", text)


def test_worst_and_median_field_of_each_plate_are_shown(made: Made) -> None:
    shown = re.findall(r"<figcaption>(\w+): F1 at 0\.7 is ([\d.]+)", made.html)
    assert shown == [("e", "0.000"), ("c", "0.857"), ("0012", "0.667")]
    assert made.result.counts == {"panels": 3}


@pytest.mark.parametrize(("number", "fovs"), [(1, ["e"]), (2, ["e", "c"]), (3, ["e", "d", "c"]), (20, ["e", "d", "c"])])
def test_more_fields_lie_between_worst_and_median(number: int, fovs: list[str]) -> None:
    rows = pd.DataFrame({"fov": list("abcde"), "f1_at_0.7": [1, 0.9, 0.8, 0.7, 0.6]})
    assert [row["fov"] for row in report.worst_to_median(rows, number)] == fovs


def test_a_plate_of_one_field_shows_it_once() -> None:
    rows = pd.DataFrame({"fov": ["a"], "f1_at_0.7": [0.5]})
    assert [row["fov"] for row in report.worst_to_median(rows, 2)] == ["a"]


def test_the_figures_lie_beside_the_page(made: Made) -> None:
    names = sorted(path.name for path in (made.store / made.result.outputs["figures"] / "fpn2_ws").iterdir())
    assert names == ["error_rates.png", "errors_p1_1.png", "errors_p1_2.png", "errors_p2_1.png", "f1.png"]


def test_names_are_escaped_in_the_page(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a & <b>": (TRUTH, PERFECT)})
    scores = execute(score.TASK, score.Params(segmentations=[segmentation]), tmp_path).outputs["scores"]
    result = execute(report.TASK, report.Params(scores={"fpn2_ws": scores}), tmp_path)
    html = (tmp_path / result.outputs["report"]).read_text()
    assert "a &amp; &lt;b&gt;: F1 at 0.7 is 1.000" in html
    assert "a & <b>" not in html


def test_something_else_than_scores_is_refused(tmp_path: Path) -> None:
    plate = add_plate(tmp_path, "p1", "U2OS", {"a": TRUTH})
    with pytest.raises(InputError, match="ingest/p1@0123456789ab is an output of ingest; give one of score"):
        execute(report.TASK, report.Params(scores={"fpn2_ws": plate}), tmp_path)


def test_several_methods_are_compared_in_one_table_and_one_figure(made: Made) -> None:
    better = [
        add_segmentation(made.store, "ingest/p1@0123456789ab", dict.fromkeys("abcde", PERFECT), "better-p1"),
        add_segmentation(made.store, "ingest/p2@0123456789ab", {"0012": TRUTH}, "better-p2"),
    ]
    scores = execute(score.TASK, score.Params(segmentations=better), made.store).outputs["scores"]
    both = made.result.params["scores"] | {"mask_rcnn": scores}
    result = execute(report.TASK, report.Params(scores=both), made.store)
    html = (made.store / result.outputs["report"]).read_text()
    text = text_of(html).replace("&nbsp;", " ")
    assert re.search(
        r"fpn2_ws all 0\.727 .* mask_rcnn HCT 116 1\.000 .* mask_rcnn all 1\.000 0\.\d{3}.1\.000 1\.000", text
    )
    assert "one line per method" in html
    figures = made.store / result.outputs["figures"]
    assert sorted(path.name for path in figures.iterdir()) == ["f1.png", "fpn2_ws", "mask_rcnn"]
    summary = (made.store / result.outputs["summary"]).read_text()
    assert re.search(r"^\| mask_rcnn \| all \| 6 \| 24 \| 1\.000 \(", summary, re.MULTILINE)


def test_scores_of_other_plates_are_not_compared(made: Made) -> None:
    other = add_scored_plate(made.store, "p3", "U2OS", {"a": (TRUTH, PERFECT)})
    scores = execute(score.TASK, score.Params(segmentations=[other]), made.store).outputs["scores"]
    with pytest.raises(InputError, match="those of fpn2_ws are of the plates p1, p2, those of mask_rcnn of p3"):
        execute(report.TASK, report.Params(scores=made.result.params["scores"] | {"mask_rcnn": scores}), made.store)


def test_mlflow_gets_page_figures_and_the_table_as_the_runs_note_also_of_a_stored_report(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    track_in(tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id := tracking.open_run("reports", "dag run 1", "first"))
    assert execute(report.TASK, report.Params(**made.result.params), made.store).reused

    def logged(folder: str) -> list[str]:
        return sorted(artifact.path for artifact in MlflowClient().list_artifacts(run_id, folder))

    assert logged("report") == ["report/fpn2_ws", "report/report.html", "report/summary.md"]
    figures = ["error_rates.png", "errors_p1_1.png", "errors_p1_2.png", "errors_p2_1.png", "f1.png"]
    assert logged("report/fpn2_ws") == [f"report/fpn2_ws/{name}" for name in figures]
    tables = ["errors.csv", "f1.csv", "fovs.csv"]
    assert logged("scores/fpn2_ws") == [f"scores/fpn2_ws/{name}" for name in tables]
    note = MlflowClient().get_run(run_id).data.tags["mlflow.note.content"]
    assert re.search(r"^\| fpn2_ws \| HCT 116 \| 1 \| 4 \| 0\.667 \(", note, re.MULTILINE)
    assert re.search(r"^\| fpn2_ws \| all \| 6 \| 24 \| 0\.727 \(", note, re.MULTILINE)
