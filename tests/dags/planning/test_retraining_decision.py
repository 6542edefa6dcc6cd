"""From the judgements of candidates to what becomes champion, and to what the note says."""

import json
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.planning import retraining_decision, retrainings
from tasks.steps.promote_model import Params as PromoteModelParams
from tasks.steps.reject_model import Params as RejectModelParams


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "retrainings").mkdir()
    return tmp_path


def reported(run: str, name: str = "from the champion") -> Any:
    return {"mlflow_run_id": run, "params": {"scores": {name: f"score/{run}"}}}


def judged(store: Path, run: str, outcome: str, mean_gain: float, **more: list[str]) -> Any:
    path = f"judgement {run}.json"
    content = {"outcome": outcome, "mean_gain": mean_gain, "failures": ["too bad"], "undecided": [], "rules": []}
    content |= more
    (store / path).write_text(json.dumps(content))
    return {"mlflow_run_id": run, "outputs": {"judgement": path}, "counts": {"gained": 5, "lost": 3}}


GATE = "Judged by the default gate."
TESTED: Any = [{"plate": "ingest/t@000000000000"}, {"plate": "ingest/u@000000000000"}]


def decide(store: Path, runs: str, judgements: list[Any], version: int = 4, scored: list[Any] | None = None) -> Any:
    reports, page_of = [reported(run) for run in runs], "http://page/{}".format
    scored = scored or [scored_as(run, 0.9) for run in runs]
    return retraining_decision.decide(store, version, TESTED, reports, scored, judgements, page_of, GATE)


def scored_as(run: str, area: float, missed: float = 0.1) -> Any:
    return {"mlflow_run_id": run, "metrics": {"f1_area/all": area, "fn_rate/all": missed}}


def test_the_challenger_is_the_one_that_gains_most_of_those_that_passed(store: Path) -> None:
    results = [judged(store, "1", "failed", 0.5), judged(store, "2", "passed", 0.1), judged(store, "3", "passed", 0.2)]
    assert decide(store, "123", results)["challenger_run"] == "3"
    failed = decide(store, "1", results[:1])
    assert failed["challenger_run"] is None
    assert failed["verdict"] == "No candidate passed the gate; the champion stays."


def test_too_few_test_nuclei_keep_the_champion_and_are_the_verdict(store: Path) -> None:
    decided = decide(store, "12", [judged(store, "1", "failed", 0.5), judged(store, "2", "undecided", 0.1)])
    assert decided["challenger_run"] is None
    assert decided["verdict"] == "The test plates have too few nuclei to decide; the champion stays."


def test_the_best_of_several_is_said_to_be_partly_luck(store: Path) -> None:
    both = [judged(store, run, "passed", 0.1) for run in "12"]
    assert decide(store, "12", both)["lines"][0].startswith("The best of 2 candidates is taken. Its scores on these")
    assert not any("best of" in line for line in decide(store, "1", both[:1])["lines"])


def test_the_note_says_by_which_gate_was_judged_and_nothing_of_it_where_nothing_was(store: Path) -> None:
    assert GATE in decide(store, "1", [judged(store, "1", "passed", 0.1)])["lines"]
    assert GATE not in decide(store, "1", [], version=0, scored=[scored_as("1", 0.9)])["lines"]


def test_it_is_counted_how_often_the_test_plates_were_used_to_decide(store: Path) -> None:
    def said() -> str:
        return next(line for line in decide(store, "1", [judged(store, "1", "passed", 0.1)])["lines"] if "test" in line)

    assert said() == "Nothing was decided on these test plates before."
    retrainings.record(store, "a", "run 1", "No candidate passed.", ["ingest/t@111111111111"], 3)
    retrainings.record(store, "b", "run 2", "No candidate passed.", ["ingest/another@000000000000"], 9)
    assert said().startswith("1 decision on 3 candidates used 1 of the 2 test plates before this one.")
    of_an_earlier_version = {"dag_run_id": "run 3", "outcome": "Version 2 is champion."}
    (store / "retrainings" / "c.json").write_text(json.dumps(of_an_earlier_version))
    assert said().startswith("2 decisions on 4 candidates used 2 of the 2 test plates before this one.")


def test_without_its_judgement_no_candidate_becomes_champion(store: Path) -> None:
    with pytest.raises(ValueError, match="There are 2 candidates, but 1 were judged"):
        decide(store, "12", [judged(store, "1", "passed", 0.5)])


def test_of_several_first_models_the_one_with_the_highest_f1_is_taken(store: Path) -> None:
    decided = decide(store, "12", [], version=0, scored=[scored_as("1", 0.4), scored_as("2", 0.6)])
    assert decided["challenger_run"] == "2"
    assert decided["lines"][0] == "The first model: there was no champion to be judged against."
    assert decided["lines"][2].startswith("The best of 2 candidates is taken.")


def test_a_first_model_that_misses_too_many_nuclei_does_not_become_champion(store: Path) -> None:
    decided = decide(store, "1", [], version=0, scored=[scored_as("1", 0.2, missed=0.8)])
    assert decided["challenger_run"] is None
    assert decided["verdict"].startswith("🔴 misses 80 % of the nuclei: the first model isn't made the champion. Train")


def test_the_note_of_a_challenger_warns_of_rates_that_stay_bad_and_of_a_model_that_misses_too_many(
    store: Path,
) -> None:
    results = [judged(store, "1", "passed", 0.1, warnings=["bad: A: fp_rate 0.300 -> 0.280"])]
    decided = decide(store, "1", results, scored=[scored_as("1", 0.4, missed=0.4)])
    assert decided["challenger_run"] == "1"
    assert "- ⚠️ bad: A: fp_rate 0.300 -> 0.280" in decided["lines"]
    assert any("passed the gate, but 🔴 misses 40 % of the nuclei: 5 nuclei" in line for line in decided["lines"])
    rule = {"rule": "no new error rate", "cell_line": "A", "metric": "fp_rate", "champion": 0.3, "challenger": 0.28}
    rule |= {"low": -0.03, "high": 0.01, "allowed": "a rise of 0.05", "verdict": "warning", "more_nuclei": 0}
    (row,) = retraining_decision.rule_table([rule])[2:]
    assert row.endswith("| ⚠️ **still bad**: allowed is a rise of 0.05 |")


def test_the_note_leads_to_the_whole_table_of_the_gate_which_stands_behind_all_that_is_said(store: Path) -> None:
    decided = decide(store, "1", [judged(store, "1", "failed", 0.5)])
    assert any("[all rules of the gate](http://page/1/judge/rules.csv)" in line for line in decided["lines"])
    assert not any(line.startswith("|") for line in decided["lines"])
    assert decided["table"][2].startswith("| rule | cell line ")


def test_the_note_names_what_failed_and_what_is_lacking(store: Path) -> None:
    lines = decide(store, "1", [judged(store, "1", "failed", 0.5)])["lines"]
    assert (
        "**from the champion** failed at the gate: 5 nuclei gained, 3 lost against version 4: [all rules of the gate]"
        "(http://page/1/judge/rules.csv), [report and panels](http://page/1), under Artifacts."
    ) in lines
    assert "- too bad" in lines
    rule = {"rule": "no cell line loses", "cell_line": "A", "metric": "f1_at_0.7", "champion": 0.9, "challenger": 0.8}
    rule |= {"low": -0.3, "high": 0.1, "allowed": "a loss of 0.05", "verdict": "undecided", "more_nuclei": 340}
    (row,) = retraining_decision.rule_table([rule])[2:]
    assert row.endswith("| 0.900 | 0.800 | -0.300 to +0.100 | **undecided**: needs about 340 more nuclei |")


def test_a_challenger_is_promoted_with_the_version_that_it_was_judged_against() -> None:
    found: Any = {"counts": {"version": 5}}
    known = {"challenger": retraining_decision.challenger_of(found, {"champion_version": 4})}
    given = {"alias": "champion", "dag_run_id": "manual__1"}
    params = PromoteModelParams(**retraining_decision.promotion_of(given, known))
    assert (params.version, params.alias, params.judged_against) == (5, "champion", 4)
    assert params.reason == "passed the gate against version 4"
    answer = {"person": "anna", "why": "Outlines of\nmitoses are right."}
    approved = PromoteModelParams(**retraining_decision.promotion_of(given | answer, known))
    assert approved.reason == "passed the gate against version 4, approved by anna: Outlines of mitoses are right"
    named = PromoteModelParams(**retraining_decision.promotion_of(given | {"alias": "challenger"}, known))
    assert (named.alias, named.judged_against) == ("challenger", None)
    known = {"challenger": retraining_decision.challenger_of(found, {"champion_version": 0})}
    first = PromoteModelParams(**retraining_decision.promotion_of(given, known))
    assert (first.judged_against, first.reason) == (0, "the first model")


@pytest.mark.parametrize(
    ("person", "why", "reason"),
    [
        ("eva", "It splits mitoses.", "eva rejected it: It splits mitoses"),
        ("eva", " ", "eva rejected it, without a reason"),
        ("", "", "nobody approved it in time"),
        ("eva", "a" * 9000, f"eva rejected it: {'a' * 1500}"),
    ],
    ids=["with a reason", "without", "no answer", "a long one"],
)
def test_a_rejection_is_kept_with_the_version_with_who_gave_it_and_why(person: str, why: str, reason: str) -> None:
    found: Any = {"counts": {"version": 5}}
    known = {"challenger": retraining_decision.challenger_of(found, {"champion_version": 4})}
    given = {"dag_run_id": "manual__1", "person": person, "why": why}
    params = RejectModelParams(**retraining_decision.rejection_of(given, known))
    assert (params.version, params.reason) == (5, reason)
