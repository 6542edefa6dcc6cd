"""What a person types into a form."""

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from nucleus_dags.forms import typed
from nucleus_dags.forms.errors_plugin import FormErrors
from nucleus_dags.forms.promote_model import promote_model_form
from nucleus_dags.forms.train_models import train_models_form

TRIGGER = "/api/v2/dags/{}/dagRuns"
RUN = "scheduled__2026-11-28T03:00:00+00:00"
APPROVAL = f"/api/v2/dags/retrain_champion/dagRuns/{RUN}/taskInstances/approve/-1/hitlDetails"


def said(**given: Any) -> list[str]:
    form = train_models_form()
    return typed.problems(form, typed.with_numbers(form, given))


@pytest.mark.parametrize(
    ("typed_in", "read"),
    [("500", 500), (" 500 ", 500), ("", None), (500, 500), (None, None), ("1,5", "1,5"), ("5e2", "5e2")],
)
def test_a_whole_number_is_read_as_it_was_typed_or_stays_text(typed_in: Any, read: Any) -> None:
    assert typed.with_numbers(train_models_form(), {"rois": typed_in}) == {"rois": read}


def test_a_number_with_a_point_is_read_and_text_of_other_fields_stays() -> None:
    given = {"zoom": "1.50", "experiment": "12", "unknown": "3"}
    assert typed.with_numbers(train_models_form(), given) == {"zoom": 1.5, "experiment": "12", "unknown": "3"}


def test_every_wrong_field_is_named_by_its_title_with_what_is_allowed() -> None:
    assert said(rois="1,5", zoom="1,5", random_seed="", methods=[], cycles="-1", experiment="") == [
        "Methods: choose at least one.",
        "Experiment: fill it in.",
        "ROIs: '1,5' isn't a whole number.",
        "Zoom: '1,5' isn't a number; write 1.5.",
        "Epochs: -1 is too small; at least 0 is allowed.",
        "Random seed: fill it in.",
    ]


def test_a_word_that_is_none_of_the_choices_is_named_with_them() -> None:
    (sentence,) = said(preset="desktop")
    assert sentence == "Preset: 'desktop' isn't known; choose of laptop, paper."


def test_the_form_as_it_comes_has_nothing_wrong() -> None:
    assert said() == []


def test_the_page_shows_a_field_of_text_for_a_number_and_airflow_takes_no_text_for_it() -> None:
    field = train_models_form()["rois"]
    assert field.schema["type"][0] == "string"
    with pytest.raises(ParamValidationError):
        field.resolve("500")
    assert field.resolve(500) == 500


async def airflow(request: Request) -> Response:
    """Refuse or take a form as Airflow does."""
    content = await request.json()
    fields = promote_model_form()
    try:
        values = {name: fields[name].resolve(value) for name, value in content["conf"].items()}
    except ParamValidationError as error:
        return JSONResponse({"detail": str(error)}, 400)
    return JSONResponse({"conf": values, "note": content.get("note")})


@pytest.fixture
def page() -> TestClient:
    [plugin] = FormErrors.fastapi_root_middlewares
    app = Starlette(routes=[Route("/{path:path}", airflow, methods=["POST"])])
    app.add_middleware(plugin["middleware"])
    return TestClient(app)


def test_a_wrong_form_is_refused_in_words_before_anything_runs(page: TestClient) -> None:
    conf = {"version": "1,5", "reason": "bad"}
    answer = page.post(TRIGGER.format("promote_model"), json={"conf": conf})
    assert answer.status_code == 400
    assert answer.json() == {"detail": "Version: '1,5' isn't a whole number. Reason: write at least 5 letters."}


def test_a_right_form_reaches_airflow_with_its_numbers_read_and_all_else_as_it_was(page: TestClient) -> None:
    conf = {"version": " 3 ", "reason": "better on U2OS"}
    answer = page.post(TRIGGER.format("promote_model"), json={"conf": conf, "note": "µ"})
    assert answer.json() == {"conf": {"version": 3, "reason": "better on U2OS"}, "note": "µ"}


@pytest.mark.parametrize("option", ["Approve", "Reject"])
@pytest.mark.parametrize(
    "given", [None, {}, {"reason": None}, {"reason": ""}, {"reason": "  ok  "}, {"reason": 123456}]
)
def test_an_answer_to_the_approval_without_a_reason_is_refused_in_words(given: Any, option: str) -> None:
    answer, came = answer_to(APPROVAL, {"chosen_options": [option], "params_input": given})
    assert (answer.status_code, came) == (400, [])
    assert answer.json()["detail"].startswith("Reason: it is missing, or shorter than 5 letters. Write why you approve")


def test_an_answer_with_a_reason_reaches_airflow_as_it_is_and_so_do_those_of_other_dags() -> None:
    content = {"chosen_options": ["Approve"], "params_input": {"reason": "Outlines are right"}}
    assert answer_to(APPROVAL, content)[1] == [json.dumps(content).encode()]
    other = {"chosen_options": ["Approve"], "params_input": {}}
    assert answer_to(APPROVAL.replace("retrain_champion", "of_others"), other)[1] == [json.dumps(other).encode()]


def answer_to(path: str, content: Any) -> tuple[Any, list[bytes]]:
    """Answer an approval; gives what comes back, and what has reached Airflow."""
    came = []

    async def keep(request: Request) -> Response:
        came.append(await request.body())
        return Response(status_code=200)

    [plugin] = FormErrors.fastapi_root_middlewares
    app = Starlette(routes=[Route("/{path:path}", keep, methods=["PATCH"])])
    app.add_middleware(plugin["middleware"])
    return TestClient(app).patch(path, content=json.dumps(content).encode()), came


@pytest.mark.parametrize("dag_id", ["no_dag_of_ours", "fields", "ingest_plates"])
def test_what_is_no_form_of_ours_passes_as_it_is(page: TestClient, dag_id: str) -> None:
    answer = page.post(TRIGGER.format(dag_id), json={"conf": {"version": "x"}})
    assert answer.json()["detail"].startswith("'x'")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"conf": null}', json.dumps({"conf": [1]}).encode()])
def test_a_body_that_is_no_form_is_left_to_airflow(body: bytes) -> None:
    bodies = []

    async def keep(request: Request) -> Response:
        bodies.append(await request.body())
        return Response(status_code=400)

    [plugin] = FormErrors.fastapi_root_middlewares
    app = Starlette(routes=[Route("/{path:path}", keep, methods=["POST"])])
    app.add_middleware(plugin["middleware"])
    assert TestClient(app).post(TRIGGER.format("promote_model"), content=body).status_code == 400
    assert bodies == [body]
