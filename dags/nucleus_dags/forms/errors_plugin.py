"""Airflow refuses a form in the words of this project: before anything runs, and all that is wrong at once."""

from __future__ import annotations

import importlib
import json
import re
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from nucleus_dags.forms import typed

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRIGGER = re.compile(r"/api/v2/dags/([a-z_]+)/dagRuns$")
"""Where the page, and every other program, sends a filled form."""
ANSWER = re.compile(r"/api/v2/dags/retrain_champion/dagRuns/.+/taskInstances/approve/[^/]+/hitlDetails$")
"""Where the answer to the approval of a challenger is sent."""
LEAST_REASON = 5
NO_REASON = (
    f"Reason: it is missing, or shorter than {LEAST_REASON} letters. Write why you approve or reject the challenger; "
    "the reason stays with the version. Nothing was decided yet."
)


class FormReader:
    """Reads the numbers of a form before Airflow sees it, and says what is wrong where Airflow refuses it.

    Airflow itself decides who may start a DAG and which values are allowed; of what it takes nothing is changed. But it
    would take an answer to an approval without the reason that is asked for.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope.get("path", ""), scope.get("method")
        if method == "PATCH" and ANSWER.search(path):
            body = await _body_of(receive)
            return await (_refuse(send) if _lacks_reason(body) else self._app(scope, _once(body), send))
        sent = TRIGGER.search(path) if method == "POST" else None
        fields = form_of(sent[1]) if sent else None
        if fields is None:
            return await self._app(scope, receive, send)
        read, wrong = _read(fields, await _body_of(receive))
        return await self._app(_with_length(scope, len(read)), _once(read), _with_words(send, wrong))


def form_of(dag_id: str) -> typed.Form | None:
    """Give the form of a DAG; None if it has none."""
    try:
        module = importlib.import_module(f"nucleus_dags.forms.{dag_id}")
    except ImportError:
        return None
    make = getattr(module, f"{dag_id}_form", None)
    return make() if make else None


def _read(fields: typed.Form, body: bytes) -> tuple[bytes, list[str]]:
    """Give a body with its numbers read, and what is wrong in it. A body that isn't one of a form stays as it is."""
    try:
        content: Any = json.loads(body)
    except ValueError:
        return body, []
    if not isinstance(content, dict) or not isinstance(content.get("conf"), dict):
        return body, []
    content["conf"] = typed.with_numbers(fields, content["conf"])
    return json.dumps(content).encode(), typed.problems(fields, content["conf"])


def _lacks_reason(body: bytes) -> bool:
    try:
        return len(json.loads(body)["params_input"]["reason"].strip()) < LEAST_REASON
    except (ValueError, KeyError, TypeError, AttributeError):
        return True


async def _refuse(send: Send) -> None:
    await _send_words({"type": "http.response.start", "status": 400}, NO_REASON, send)


async def _body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def _once(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def _with_words(send: Send, wrong: list[str]) -> Send:
    """Send an answer on; one that refuses the form (400) with these sentences, if there are any."""
    if not wrong:
        return send
    refused = False

    async def send_words(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.start" and message["status"] == 400:
            refused = True
            await _send_words(message, " ".join(wrong), send)
        elif not refused:
            await send(message)

    return send_words


async def _send_words(start: Message, words: str, send: Send) -> None:
    """Send an answer that begins like this, with these words as its detail."""
    body = json.dumps({"detail": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class FormErrors(AirflowPlugin):
    """For Airflow's API server, wherever it runs."""

    name = "form_errors"
    # The base class declares an instance variable.
    fastapi_root_middlewares: list[Any] = [{"name": "form errors", "middleware": FormReader}]  # noqa: RUF012
