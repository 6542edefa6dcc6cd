"""A real MLflow server on loopback that does its work and then doesn't answer, once for each address given."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from tests.tracked import track_in


class LateMlflow:
    """The server's application; addresses in `unanswered` get no answer the next time.

    Those in `together` get their first answers at the same time.
    """

    def __init__(self) -> None:
        from mlflow.server import app

        self._app: Any = app
        self.unanswered: set[str] = set()
        self.asked: list[str] = []
        self.together: dict[str, threading.Barrier] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        call = environ["PATH_INFO"].rpartition("/mlflow/")[2]
        self.asked.append(call)
        answer = self._app(environ, start_response)
        if call in self.unanswered:
            self.unanswered.remove(call)
            list(answer)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError(call)
        if call in self.together:
            self.together[call].wait(30)
            self.together.clear()
        return answer


@contextmanager
def late_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LateMlflow]:
    """Start the server, with an empty database in `folder`, and let MLFLOW_TRACKING_URI be its address."""
    from mlflow.server import handlers

    # The server keeps those of the first test.
    for kept in ("_tracking_store", "_model_registry_store"):
        monkeypatch.setattr(handlers, kept, None)
    # It is no server of its own process, whose clients would go to the database.
    monkeypatch.setattr("mlflow.server.handlers.utils.set_tracking_uri", lambda _: None)
    monkeypatch.setattr("mlflow.server.handlers.registry_utils.set_registry_uri", lambda _: None)
    track_in(folder, monkeypatch)
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(folder / "artifacts"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    late = LateMlflow()
    server = make_server("127.0.0.1", 0, late, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.port}")
    try:
        yield late
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
