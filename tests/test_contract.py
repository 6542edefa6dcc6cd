"""The contract: keys, the store, exit statuses."""

import dataclasses
import errno
import hashlib
import json
import logging
import re
from pathlib import Path

import pydantic
import pytest

from tasks import contract
from tasks.contract import (
    BAD_INPUT,
    DONE,
    FAILED,
    NOTHING_TO_DO,
    NothingToDo,
    Outcome,
    Result,
    ServiceError,
    Task,
    TaskParams,
    Workspace,
    execute,
    inputs_of,
    read_result,
)
from tasks.nuclei.errors import InputError


class Params(TaskParams):
    amount: int = pydantic.Field(ge=1, le=9)
    """How many lines."""
    fault: str = ""


class Recorder:
    """A task that writes lines and counts how often it ran and was logged."""

    def __init__(self) -> None:
        self.runs = self.logged = 0
        self.task = Task("count_lines", 1, Params, self.run, log=self.log)

    def run(self, params: Params, workspace: Workspace) -> Outcome:
        self.runs += 1
        (workspace.checkpoint_dir / "attempts").open("a").write("x")
        (workspace.output_dir / "lines.txt").write_text("line\n" * params.amount)
        if params.fault == "bad":
            raise InputError("lines.txt: is odd; make it even")
        if params.fault == "nothing":
            raise NothingToDo("no new plates")
        if params.fault == "away":
            raise ServiceError("the server is away")
        if params.fault == "stale":
            raise OSError(errno.ESTALE, "Stale file handle", "/plates/f1.tif")
        return Outcome({"lines": "lines.txt", "folder": "."}, {"mean": 0.5}, {"lines": params.amount})

    def log(self, params: Params, result: Result, store: Path) -> None:
        self.logged += 1


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def call(recorder: Recorder, store: Path, params: dict, *more: str) -> int:
    return recorder.task.main(["--params", json.dumps(params), "--store", str(store), *more])


def test_a_done_task_leaves_its_output_and_result_under_its_key(recorder, tmp_path):
    result = execute(recorder.task, Params(amount=3), tmp_path)
    assert result.outputs == {"lines": f"count_lines/{result.key}/lines.txt", "folder": f"count_lines/{result.key}"}
    assert (tmp_path / result.outputs["lines"]).read_text() == "line\n" * 3
    assert read_result(tmp_path / result.outputs["folder"]) == result
    assert result.libraries["numpy"]


def test_asked_again_it_answers_with_the_stored_result_and_logs_it_again(recorder, tmp_path):
    first = execute(recorder.task, Params(amount=3), tmp_path)
    again = execute(recorder.task, Params(amount=3), tmp_path)
    assert again == first.model_copy(update={"reused": True})
    assert (recorder.runs, recorder.logged) == (1, 2)


def test_other_params_or_another_version_have_another_key(recorder, tmp_path):
    def key(params: Params, version: int = 1) -> str:
        return dataclasses.replace(recorder.task, version=version).output_key(params, tmp_path)

    assert key(Params(amount=3)) == key(Params(amount=3, fault=""))
    assert key(Params(amount=3)) != key(Params(amount=4))
    assert key(Params(amount=3)) != key(Params(amount=3), version=2)


def test_what_a_result_depends_on_besides_is_part_of_its_key(recorder, tmp_path):
    weights = tmp_path / "weights.h5"
    asked = []

    def key(*depends_on: Path | str) -> str:
        def given(params: Params, store: Path) -> list[Path | str]:
            asked.append((params.amount, store))
            return list(depends_on)

        return dataclasses.replace(recorder.task, depends_on=given).output_key(Params(amount=1), tmp_path)

    weights.write_text("first")
    keys = [key(), key("version 1"), key("version 2"), key(weights), key("version 1", weights)]
    assert len(set(keys)) == 5
    assert key() == recorder.task.output_key(Params(amount=1), tmp_path)
    assert key(weights) == keys[3]
    weights.write_text("other")
    assert key(weights) != keys[3]
    assert set(asked) == {(1, tmp_path)}


def test_a_task_hands_on_small_values_in_its_result(recorder, tmp_path):
    values = {"settings": {"padding": "zero"}, "model": None}
    task = dataclasses.replace(recorder.task, run=lambda params, workspace: Outcome({}, {}, {}, values=values))
    result = execute(task, Params(amount=1), tmp_path)
    assert result.values == values
    assert read_result(tmp_path / "count_lines" / result.key).values == values


def test_a_result_from_before_there_were_values_is_read(recorder, tmp_path):
    file = tmp_path / "count_lines" / execute(recorder.task, Params(amount=1), tmp_path).key / "result.json"
    content = json.loads(file.read_text())
    del content["values"]
    file.write_text(json.dumps(content))
    assert read_result(file.parent).values == {}


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("", DONE, "done in"),
        ("bad", BAD_INPUT, "count_lines: lines.txt: is odd; make it even"),
        ("nothing", NOTHING_TO_DO, "nothing to do: no new plates"),
        ("away", FAILED, "the server is away"),
        ("stale", FAILED, "/plates/f1.tif: its storage doesn't answer (Stale file handle); run the task again"),
    ],
)
def test_the_exit_status_tells_how_it_ended_and_one_line_says_why(recorder, tmp_path, caplog, fault, status, words):
    caplog.set_level(logging.INFO)
    assert call(recorder, tmp_path, {"amount": 1, "fault": fault}) == status
    assert words in caplog.text


def test_in_a_pod_a_refusal_is_left_for_the_kubelet(recorder, tmp_path, monkeypatch):
    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setattr(contract, "TERMINATION_MESSAGE", message)
    call(recorder, tmp_path, {"amount": 1, "fault": "bad"})
    assert message.read_text() == "count_lines: lines.txt: is odd; make it even"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"amount": 0}, "amount: Input should be greater than or equal to 1, got 0"),
        ({"amount": "many"}, "amount: Input should be a valid integer"),
        ({"amount": 1, "colour": 2}, "colour: unknown param; allowed are amount, fault"),
        ({}, "amount: required, and not given"),
        ([1], "params: Input should be an object, got \\[1\\]"),
    ],
)
def test_bad_params_are_refused_before_anything_runs(recorder, tmp_path, caplog, params, words):
    assert call(recorder, tmp_path, params) == BAD_INPUT
    assert recorder.runs == 0

    assert re.search(words, caplog.text)


def test_params_may_come_in_a_file_and_a_missing_file_with_the_params_is_named(recorder, tmp_path, caplog):
    (tmp_path / "0.params").write_text('{"amount": 3}')
    assert recorder.task.main(["--params", f"@{tmp_path}/0.params", "--store", str(tmp_path)]) == DONE
    assert len([*tmp_path.glob("count_lines/*/lines.txt")]) == 1
    assert recorder.task.main(["--params", f"@{tmp_path}/1.params", "--store", str(tmp_path)]) == BAD_INPUT
    assert re.search(r"1\.params: the file with the params can't be read", caplog.text)


def test_a_failed_task_leaves_nothing_that_looks_complete_but_keeps_its_checkpoint(recorder, tmp_path):
    assert call(recorder, tmp_path, {"amount": 1, "fault": "bad"}) == BAD_INPUT
    assert not list(tmp_path.glob("count_lines/*/result.json"))
    assert not list(tmp_path.rglob("lines.txt"))
    call(recorder, tmp_path, {"amount": 1, "fault": "bad"})
    (attempts,) = tmp_path.rglob("attempts")
    assert attempts.read_text() == "xx"


def test_a_crash_after_an_unfinished_write_is_cleaned_up_by_the_next_attempt(recorder, tmp_path):
    key = recorder.task.output_key(Params(amount=2), tmp_path)
    left = tmp_path / "count_lines" / f".{key}.partial" / "output"
    left.mkdir(parents=True)
    (left / "half.txt").write_text("ha")
    execute(recorder.task, Params(amount=2), tmp_path)
    made = sorted(path.name for path in (tmp_path / "count_lines" / key).iterdir())
    assert made == ["files.json", "lines.txt", "result.json"]


def test_what_a_kill_left_beside_a_stored_result_is_gone_when_it_is_asked_for_again(recorder, tmp_path):
    result = execute(recorder.task, Params(amount=2), tmp_path)
    left = tmp_path / "count_lines" / f".{result.key}.partial"
    (left / "checkpoint").mkdir(parents=True)
    assert execute(recorder.task, Params(amount=2), tmp_path).reused
    assert not left.exists()


def test_a_task_that_fails_without_a_checkpoint_leaves_nothing_but_its_lock(tmp_path):
    def run(params: Params, workspace: Workspace) -> Outcome:
        raise InputError("lines.txt: is odd; make it even")

    with pytest.raises(InputError):
        execute(Task("fail", 1, Params, run), Params(amount=1), tmp_path)
    assert [path.suffix for path in (tmp_path / "fail").iterdir()] == [".lock"]


def test_the_hash_of_every_file_lies_beside_the_result(recorder, tmp_path):
    folder = tmp_path / "count_lines" / execute(recorder.task, Params(amount=1), tmp_path).key
    hashes = json.loads((folder / "files.json").read_text())
    assert set(hashes) == {"lines.txt", "result.json"}
    assert hashes["lines.txt"] == hashlib.sha256(b"line\n").hexdigest()


def test_the_inputs_of_a_result_are_other_results_that_it_names_and_no_other_text():
    key = "0123456789abcdef"
    params = {
        "rois": f"augment/{key}/rois.h5",
        "plates": ["ingest/my plate@0123456789ab", f"/data/augment/{key}", 7],
        "experiment": "augment/first try",
        "seed": 3,
        "versions": [{"number": 1, "scores": f"score/{key}"}],
    }
    outputs = {"own": f"t/{key}/own.csv", "model": f"register_model/{key}"}
    result = Result(
        task="t", key=key, version=1, params=params, outputs=outputs, metrics={}, counts={}, libraries={}, seconds=0
    )
    assert inputs_of(result) == [
        f"augment/{key}",
        "ingest/my plate@0123456789ab",
        f"score/{key}",
        f"register_model/{key}",
    ]


def test_the_receipt_holds_the_result(recorder, tmp_path):
    receipt = tmp_path / "receipts" / "0.json"
    assert call(recorder, tmp_path / "store", {"amount": 1}, "--result", str(receipt)) == DONE
    assert Result.model_validate_json(receipt.read_text()).params == {"amount": 1, "fault": ""}


def test_the_result_names_the_mlflow_run_that_it_is_shown_in(recorder, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123")
    assert execute(recorder.task, Params(amount=1), tmp_path).mlflow_run_id == "0123"


def test_an_input_that_is_not_in_the_store_is_named(tmp_path):
    with pytest.raises(InputError, match="augment/x is not in the store"):
        Workspace(tmp_path, "key", tmp_path, tmp_path).input("augment/x")


def test_the_help_explains_every_param(recorder, capsys):
    with pytest.raises(SystemExit):
        recorder.task.main(["--help"])
    assert "amount (required)\n      How many lines." in capsys.readouterr().out
