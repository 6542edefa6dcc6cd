"""What `retrain_champion` decides of judged candidates, how its note says so, and what a person's answer changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_dags.in_store import in_store
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.planning.retrainings import uses_in_words
from nucleus_dags.planning.types import Challenger, Decision, Params, StoredPlatePath
from nucleus_dags.planning.usability import shortcoming

CHAMPION = "champion"
ANSWER = ("person", "why")
"""Who answered the approval, and the reason given."""
MOST_REASON = 1500
OUTCOMES = {
    "passed": "passed the gate",
    "failed": "failed at the gate",
    "undecided": "can't be judged on so few nuclei",
}
VERDICTS = {
    "holds": "holds",
    "warning": "⚠️ **still bad**: allowed is {allowed}",
    "broken": "**broken**: allowed is {allowed}",
    "undecided": "**undecided**: needs about {more_nuclei} more nuclei",
}


def decide(
    store: Path,
    champion_version: int,
    test_plates: Sequence[StoredPlatePath],
    reported: Sequence[Result],
    scored: Sequence[Result],
    judged: Sequence[Result],
    page_of: Callable[[str], str],
    gate_in_words: str,
) -> Decision:
    """Say what came out, and which candidate may become champion, if any.

    There is a report on every candidate. `page_of` gives the address of an MLflow run, `gate_in_words` says by which
    gate they were judged.
    """
    run_ids = [report["mlflow_run_id"] for report in reported]
    of_run = {result["mlflow_run_id"]: result["metrics"] for result in scored}
    judged_by = [gate_in_words, ""] if champion_version else []
    uses = uses_in_words(store, [tested["plate"] for tested in test_plates])
    cautions = [*_best_of(len(run_ids)), *judged_by, uses, ""]
    if not champion_version:
        best = max(run_ids, key=lambda run_id: of_run[run_id]["f1_area/all"])
        return _first_decision(best, shortcoming(of_run[best]), cautions)
    judgements = {result["mlflow_run_id"]: result for result in judged}
    if set(judgements) != set(run_ids):
        raise ValueError(f"There are {len(run_ids)} candidates, but {len(judgements)} were judged.")
    gains, outcomes, lines, table = {}, [], cautions, []
    for report in reported:
        run_id = report["mlflow_run_id"]
        content = json.loads(in_store(store, judgements[run_id]["outputs"]["judgement"]).read_text())
        outcomes.append(content["outcome"])
        if content["outcome"] == "passed":
            gains[run_id] = content["mean_gain"]
        counts, name = judgements[run_id]["counts"], next(iter(report["params"]["scores"]))
        lines += _verdict(name, content, counts, page_of(run_id), champion_version, shortcoming(of_run[run_id]))
        table += [f"**{name}**", "", *rule_table(content["rules"]), ""]
    best_run = max(gains, key=lambda run_id: gains[run_id], default=None)
    return {"challenger_run": best_run, "verdict": _in_short(outcomes), "lines": lines, "table": table}


def _first_decision(best_run: str, wrong: str, cautions: Sequence[str]) -> Decision:
    """Decide where there is no champion: the best becomes it, unless it can't be used."""
    first = "The first model: there was no champion to be judged against."
    if wrong:
        first = f"{wrong}: the first model isn't made the champion. Train it on more plates, or for more epochs."
    lines = [first, "", *cautions]
    return {"challenger_run": None if wrong else best_run, "verdict": first, "lines": lines, "table": []}


def _best_of(candidates: int) -> list[str]:
    if candidates == 1:
        return []
    return [
        f"The best of {candidates} candidates is taken. Its scores on these test plates are partly luck: expect less "
        "of it on other plates. The CIs are wider for it, so that luck doesn't get one of them through the gate.",
        "",
    ]


def _in_short(outcomes: Sequence[str]) -> str:
    if "passed" in outcomes:
        return "A candidate passed the gate."
    if "undecided" in outcomes:
        return "The test plates have too few nuclei to decide; the champion stays."
    return "No candidate passed the gate; the champion stays."


def challenger_of(found: Result, known: Mapping[str, Any]) -> Challenger:
    """Hand on, of `find_model`, the challenger with what its promotion says and needs."""
    champion: int = known["champion_version"]
    reason = f"passed the gate against version {champion}" if champion else "the first model"
    return {"version": found["counts"]["version"], "reason": reason, "judged_against": champion}


def promotion_of(given: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `promote_model` for the challenger and one of the aliases; the reason names who approved."""
    challenger: Params = dict(known["challenger"])
    if given["alias"] != CHAMPION:
        del challenger["judged_against"]
    if person := given.get("person"):
        challenger["reason"] += f", {approval_in_words(person, given['why'])}"
    return {**{name: value for name, value in given.items() if name not in ANSWER}, **challenger}


def rejection_of(given: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `reject_model` for the challenger, with who rejected it and why."""
    reason = rejection_in_words(given["person"], given["why"])
    params = {name: value for name, value in given.items() if name not in ANSWER}
    return {**params, "version": known["challenger"]["version"], "reason": reason}


def approval_in_words(person: str, why: str | None) -> str:
    return f"approved by {person}{_because(why)}"


def rejection_in_words(person: str | None, why: str | None) -> str:
    return f"{person} rejected it{_because(why)}" if person else "nobody approved it in time"


def waiting_in_words(version: int, until: str) -> str:
    """Give the first line of the note while a person is asked."""
    return f"⏳ Version {version} passed the gate. Approve or reject it under Required actions until {until}."


def _because(why: str | None) -> str:
    """Give a reason as a person wrote it, as the end of a sentence."""
    why = " ".join((why or "").split()).rstrip(".")
    return f": {why[:MOST_REASON]}" if why else ", without a reason"


def _verdict(
    name: str, content: Mapping[str, Any], counts: Mapping[str, int], page: str, champion_version: int, wrong: str
) -> list[str]:
    """Give lines of Markdown: a candidate's outcome and pages, every broken rule, and what is lacking to decide.

    `wrong` says why it can't be used; empty if it can.
    """
    outcome = OUTCOMES[content["outcome"]]
    # Judgements from before have no remarks, or no warnings.
    reasons = [*content["failures"], *content["undecided"], *(f"⚠️ {text}" for text in content.get("warnings", ()))]
    return [
        f"**{name}** {outcome}{f', but {wrong}' if wrong else ''}: {counts['gained']} nuclei gained, {counts['lost']} "
        f"lost against version {champion_version}: [all rules of the gate]({page}/judge/rules.csv), [report and panels]"
        f"({page}), under Artifacts.",
        "",
        *(f"- {reason}" for reason in (*reasons, *content.get("remarks", ()))),
        "",
    ]


def rule_table(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the lines of a Markdown table of the gate's rules."""
    columns = ("rule", "cell line", "metric", "champion", "challenger", "95 % CI of the difference", "")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for rule in rules:
        interval = f"{rule['low']:+.3f} to {rule['high']:+.3f}"
        values = f"{rule['champion']:.3f} | {rule['challenger']:.3f} | {interval}"
        outcome = VERDICTS[rule["verdict"]].format(**rule)
        lines.append(f"| {rule['rule']} | {rule['cell_line']} | {rule['metric']} | {values} | {outcome} |")
    return lines
