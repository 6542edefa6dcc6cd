"""What is made of MLflow's answers, from a server on this machine that counts how often it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nucleus_dags.page.registered import KEPT_S, registry


class Server(ThreadingHTTPServer):
    """Answers every request alike, after a while."""

    answer = b"HTTP/1.0 200 OK\r\n\r\n{}"
    takes_s = 0.0
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        time.sleep(self.server.takes_s)
        self.wfile.write(self.server.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n<html>",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n[]",
        b'HTTP/1.0 200 OK\r\n\r\n{"model_versions": [{}]}',
        b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"SSH-2.0\r\n",
    ],
)
def test_an_answer_that_is_not_mlflows_is_told_in_words(mlflow: Server, answer: bytes) -> None:
    mlflow.answer = answer
    assert "doesn't answer as it should" in registry().problem
    assert registry().versions == ()


def test_who_asks_while_mlflow_is_slow_waits_for_the_same_answer_which_counts_from_its_end(mlflow: Server) -> None:
    mlflow.answer, mlflow.takes_s = b"HTTP/1.0 500 Busy\r\n\r\n", 1.5 * KEPT_S
    with ThreadPoolExecutor(8) as people:
        answers = [found.result() for found in [people.submit(registry) for _ in range(8)]]
    assert mlflow.asked == 1
    assert {answer.problem for answer in [*answers, registry()]} == {answers[0].problem}
    assert "answers with status 500" in answers[0].problem
