"""What the page reads of a store in which files are lost, damaged, or older than they look."""

from __future__ import annotations

import json
import os
import shutil
from contextvars import Context
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from nucleus_dags.page.comparison import compare
from nucleus_dags.page.damaged import left_out, left_out_if_damaged
from nucleus_dags.page.known_plates import known_plates
from nucleus_dags.page.model_rows import Row, rows
from nucleus_dags.page.model_scores import Group, measured
from nucleus_dags.page.plate_scores import drifts, scores_of
from nucleus_dags.page.receipts import receipts_of
from nucleus_dags.page.registered import Registry, Version
from nucleus_dags.page.rendering import page
from nucleus_dags.page.result_remarks import remarks_of
from nucleus_dags.page.segmented_plates import runs_by_key, segmented_plate, segmented_plates
from nucleus_dags.page.store_results import results_of
from nucleus_dags.page.trainings import finished_training
from tests.dags.page.filled_store import add_drift
from tests.dags.page.registered_models import (
    SETTINGS,
    add_judgement,
    add_model,
    add_scores,
    add_test_plates,
    key_of,
    promoted,
    result,
)
from tests.dags.page.segmented import add_many
from tests.dags.stored_plates import add_plate

U2OS = Group("cell_line", "U2OS")
NO_MODELS = Registry(())


def left_out_of(store: Path) -> list[str]:
    return [path.relative_to(store).as_posix() for path in left_out() if path.is_relative_to(store)]


def version(number: int, aliases: tuple[str, ...] = (), **tags: str) -> Version:
    return Version(number, aliases, datetime(2026, 11, 1, tzinfo=UTC), "", "", {"key": key_of(number), **tags})


def rows_of(store: Path, *numbers: int) -> list[Row]:
    return rows(Registry(tuple(version(number) for number in numbers)), store, measured(store))


@pytest.mark.parametrize("file", ["report.json", "plate.json"])
@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_damaged_plate_is_left_out_of_the_list_and_named(file: str, content: str, tmp_path: Path) -> None:
    add_plate(tmp_path, "whole", "test")
    damaged = add_plate(tmp_path, "damaged", "test")
    (tmp_path / damaged / file).write_text(content)
    assert list(known_plates(tmp_path)) == ["whole"]
    assert left_out_of(tmp_path) == [damaged]


def test_a_copy_of_a_plate_in_the_store_is_left_out_of_the_list_and_named(tmp_path: Path) -> None:
    path = add_plate(tmp_path, "whole", "test")
    shutil.copytree(tmp_path / path, tmp_path / "ingest/copy of whole")
    assert list(known_plates(tmp_path)) == ["whole"]
    assert left_out_of(tmp_path) == ["ingest/copy of whole"]


@pytest.mark.parametrize("content", ["", "null", "{}", '{"params": null, "outputs": {}}'])
def test_a_damaged_result_is_left_out_and_named(content: str, tmp_path: Path) -> None:
    result(tmp_path, "drift/a", {})
    (result(tmp_path, "drift/b", {}) / "result.json").write_text(content)
    assert [found.key for found in results_of(tmp_path, "drift")] == ["a"]
    assert left_out_of(tmp_path) == ["drift/b/result.json"]


def test_a_page_says_what_was_left_out(tmp_path: Path) -> None:
    scope = {"type": "http", "path": "/x", "root_path": "", "headers": [], "query_string": b"", "server": ("x", 80)}

    def text() -> str:
        with left_out_if_damaged(tmp_path / "lost.json"):
            (tmp_path / "lost.json").read_text()
        return bytes(page(Request(scope), "error", status=404, message="Nothing.").body).decode()

    assert f"<code>{tmp_path / 'lost.json'}</code>" in Context().run(text)


def test_a_segmented_plate_whose_part_is_lost_is_left_out_until_it_is_back(tmp_path: Path) -> None:
    add_many(tmp_path, 2, 1, 1)
    key, part = f"{1:016x}", tmp_path / f"segment/{1:016x}"
    part.rename(tmp_path / "away")
    assert [one.key for one in segmented_plates(tmp_path)] == [f"{0:016x}"]
    assert segmented_plate(tmp_path, key) is None
    assert left_out_of(tmp_path) == [f"assemble_plate/{key}/result.json"]
    (tmp_path / "away").rename(part)
    assert len(segmented_plates(tmp_path)) == 2


def test_a_segmented_plate_that_is_damaged_is_left_out(tmp_path: Path) -> None:
    add_many(tmp_path, 2, 1, 1)
    (tmp_path / f"assemble_plate/{1:016x}/result.json").write_text("{")
    assert [one.key for one in segmented_plates(tmp_path)] == [f"{0:016x}"]


def test_a_segmented_plate_whose_import_is_lost_is_listed_with_a_remark(tmp_path: Path) -> None:
    add_many(tmp_path, 1, 1, 1)
    shutil.rmtree(tmp_path / "ingest")
    [one] = segmented_plates(tmp_path)
    [remark] = remarks_of(one, None, NO_MODELS)
    assert remark.text == "The store has lost a part of this result, or it is damaged."


def test_a_result_that_was_asked_for_again_is_the_newest(tmp_path: Path) -> None:
    add_many(tmp_path, 3, 1, 1)
    first, *_, last = [f"{number:016x}" for number in range(3)]
    assert segmented_plates(tmp_path)[0].key == last
    # What `execute` does with a result that is there already.
    os.utime(tmp_path / "assemble_plate" / first)
    newest = segmented_plates(tmp_path)[0]
    assert (newest.key, newest.made_at.timestamp()) == (first, 0)


def test_of_comparisons_of_a_plate_that_which_was_asked_for_last_counts(tmp_path: Path) -> None:
    [plate] = add_test_plates(tmp_path, {"t1": "U2OS"})
    for key, warning in (("a", "earlier"), ("b", "later")):
        add_drift(tmp_path, key, plate, [warning])
    for number, folder in enumerate(("drift/a", "drift/b")):
        os.utime(tmp_path / folder, (number, number))
    assert drifts(tmp_path)[plate].warnings == ("later",)
    # What `execute` does with a result that is there already.
    os.utime(tmp_path / "drift/a")
    assert drifts(tmp_path)[plate].warnings == ("earlier",)


def test_receipts_without_values_and_damaged_ones_dont_hide_the_others(tmp_path: Path) -> None:
    for run, content in {"old": {"key": "a" * 16}, "damaged": {}}.items():
        folder = tmp_path / "dag_runs/segment_plate" / run / "assemble_plate"
        folder.mkdir(parents=True)
        (folder / "-1.json").write_text(json.dumps(content))
    assert [run.run_id for run in runs_by_key(tmp_path).values()] == ["old"]
    assert left_out_of(tmp_path) == ["dag_runs/segment_plate/damaged/assemble_plate/-1.json"]


def test_receipts_that_are_taken_away_meanwhile_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "dag_runs/segment_plate/run/assemble_plate"
    folder.mkdir(parents=True)
    # Found by its name, and gone when it is asked for more.
    (folder / "-1.json").symlink_to(tmp_path / "gone")
    assert receipts_of(tmp_path, "segment_plate", "run") == {}
    assert runs_by_key(tmp_path) == {}
    assert left_out_of(tmp_path) == []


def scored(store: Path) -> list[str]:
    """Leave two models with scores on two plates, and a judgement; gives the plates."""
    plates = add_test_plates(store, {"t1": "U2OS", "t2": "U2OS"})
    for number in (1, 2):
        add_model(store, number)
        add_scores(store, number, plates, (0.8 + number / 100, 0.6))
    add_judgement(store, 1, 2)
    return plates


def test_a_difference_has_the_interval_of_the_judgement_on_the_same_scores(tmp_path: Path) -> None:
    scored(tmp_path)
    one, two = rows_of(tmp_path, 1, 2)
    there = compare(one, two, measured(tmp_path), []).differences[U2OS][0.7]
    back = compare(two, one, measured(tmp_path), []).differences[U2OS][0.7]
    assert [(there.low, there.high), (back.low, back.high)] == [(0.05, 0.15), (-0.15, -0.05)]


def test_a_difference_has_no_interval_of_a_judgement_on_other_scores(tmp_path: Path) -> None:
    scored(tmp_path)
    for number in (1, 2):
        made = tmp_path / f"score/{key_of(number)}"
        shutil.copytree(made, tmp_path / f"score/later{number}")
    one, two = rows_of(tmp_path, 1, 2)
    difference = compare(one, two, measured(tmp_path), []).differences[U2OS][0.7]
    assert (difference.low, difference.high, difference.is_shown) == (None, None, False)


@pytest.mark.parametrize(("lost", "kept"), [(f"segment/{key_of(1)}0", [key_of(2)]), (f"ingest/t1@{'0' * 12}", [])])
def test_scores_come_back_with_a_folder_that_was_lost(lost: str, kept: list[str], tmp_path: Path) -> None:
    scored(tmp_path)
    (tmp_path / lost).rename(tmp_path / "away")
    assert list(measured(tmp_path).scores) == kept
    (tmp_path / "away").rename(tmp_path / lost)
    assert sorted(measured(tmp_path).scores) == [key_of(1), key_of(2)]


def test_cycles_come_back_with_a_history_that_was_damaged(tmp_path: Path) -> None:
    receipt: Any = {"outputs": {"network": "train/a"}}
    history = tmp_path / "train/a/history.json"
    assert finished_training(tmp_path, "a", receipt) is None
    assert left_out_of(tmp_path) == []
    history.parent.mkdir(parents=True)
    history.write_text("[")
    assert finished_training(tmp_path, "a", receipt) is None
    assert left_out_of(tmp_path) == ["train/a/history.json"]
    history.write_text(json.dumps([{"cycle": 1, "loss": 0.1, "validation_loss": 0.2, "seconds": 9}]))
    training = finished_training(tmp_path, "a", receipt)
    assert training is not None
    assert training.total == 1


def test_a_lost_table_of_scores_leaves_plates_without_f1_and_is_named(tmp_path: Path) -> None:
    plates = scored(tmp_path)
    assert sorted(scores_of(version(1), tmp_path)) == plates
    (tmp_path / f"score/{key_of(1)}/f1.csv").unlink()
    assert scores_of(version(1), tmp_path) == {}
    assert left_out_of(tmp_path) == [f"score/{key_of(1)}/f1.csv"]


def test_plates_that_were_segmented_in_parts_have_their_f1(tmp_path: Path) -> None:
    [plate] = add_test_plates(tmp_path, {"t1": "U2OS"})
    add_model(tmp_path, 1)
    path = add_scores(tmp_path, 1, [plate], (0.9, 0.7))
    result(tmp_path, "assemble_plate/a", {"segmentations": [f"segment/{key_of(1)}0"], "model": {}})
    result(tmp_path, path, {"segmentations": ["assemble_plate/a"]}, {"scores": "."})
    assert [f1.value for f1 in scores_of(version(1), tmp_path)[plate].f1] == [0.9, 0.7]


def test_a_model_has_no_scores_of_one_that_differs_in_a_later_setting(tmp_path: Path) -> None:
    [plate] = add_test_plates(tmp_path, {"t1": "U2OS"})
    add_model(tmp_path, 1)
    early = tmp_path / f"register_model/{key_of(1)}/result.json"
    content = json.loads(early.read_text())
    content["params"]["settings"] = SETTINGS | {"min_confidence": 0.5}
    result(tmp_path, f"register_model/{key_of(2)}", content["params"])
    add_scores(tmp_path, 1, [plate])
    used = tmp_path / f"segment/{key_of(1)}0/result.json"
    content = json.loads(used.read_text())
    content["params"]["settings"] |= {"min_confidence": 0.5}
    used.write_text(json.dumps(content))
    assert list(measured(tmp_path).scores) == [key_of(2)]


def test_a_model_has_scores_with_the_default_of_a_later_setting(tmp_path: Path) -> None:
    [plate] = add_test_plates(tmp_path, {"t1": "U2OS"})
    add_model(tmp_path, 1)
    add_scores(tmp_path, 1, [plate])
    used = tmp_path / f"segment/{key_of(1)}0/result.json"
    content = json.loads(used.read_text())
    content["params"]["settings"] |= {"min_confidence": 0.0}
    used.write_text(json.dumps(content))
    assert list(measured(tmp_path).scores) == [key_of(1)]


def test_scores_on_versions_that_dont_count_any_more_give_way_to_newer_ones(tmp_path: Path) -> None:
    old = [add_plate(tmp_path, name, "test", "0" * 12, day=1) for name in ("t1", "t2", "t3")]
    add_model(tmp_path, 1)
    path = tmp_path / add_scores(tmp_path, 1, old)
    new = [add_plate(tmp_path, name, "test", "1" * 12, day=2) for name in ("t1", "t2")]
    path.rename(tmp_path / "score/earlier")
    for number in range(3):
        (tmp_path / f"segment/{key_of(1)}{number}").rename(tmp_path / f"segment/earlier{number}")
    earlier = tmp_path / "score/earlier/result.json"
    earlier.write_text(earlier.read_text().replace(f"segment/{key_of(1)}", "segment/earlier"))
    os.utime(earlier.parent, (0, 0))
    add_scores(tmp_path, 1, new)
    assert measured(tmp_path).scores[key_of(1)].plates == ("t1@" + "1" * 12, "t2@" + "1" * 12)


def test_why_a_version_is_champion_is_its_last_promotion_to_champion(tmp_path: Path) -> None:
    tags = promoted("2026-11-01 10:00:00", "champion in place of none: it came first (DAG run a)")
    tags |= promoted("2026-11-02 10:00:00", "champion-of-old in place of none: as a reminder (DAG run b)")
    tags |= promoted("2026-11-03 10:00:00", "challenger in place of none: it was retrained (DAG run c)")
    tags |= {"rejection/2026-11-04 10:00:00": "champion stays as it is (DAG run d)"}
    [row] = rows(Registry((version(1, ("champion",), **tags),)), tmp_path, measured(tmp_path))
    assert row.why_champion is not None
    assert row.why_champion.reason == "champion in place of none: it came first"
