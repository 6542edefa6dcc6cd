"""The registered model: loads with nothing of this repository on the path, and is served."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import execute, read_result
from tasks.methods.fpn2_ws.method import Settings
from tasks.methods.fpn2_ws.network import load_map_network
from tasks.methods.fpn2_ws.segmenter import Fpn2Ws
from tasks.nuclei.errors import InputError
from tasks.steps import open_run, register_model
from tests.networks import make_network
from tests.stored_results import store_result
from tests.tracked import track_in

NETWORK = "train_fpn2_ws/1"
LOOSE = {"marker_threshold": 0.5, "foreground_threshold": 0.5, "min_area_px": 5}
SEGMENT_ELSEWHERE = """
import sys, numpy as np, mlflow
import importlib.util
assert importlib.util.find_spec("nucleus_dags") is None
model = mlflow.pyfunc.load_model(sys.argv[1])
image = np.load("image.npy")
np.save("one.npy", model.predict(image))
both = model.predict([image, image[:50]])
assert [labels.shape for labels in both] == [image.shape, (50, image.shape[1])]
"""


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, (70, 90)).astype(np.uint16)


@pytest.fixture
def tracked(tmp_path, monkeypatch) -> Path:
    """A store with a network and an open MLflow run, in SQLite."""
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    make_network(tmp_path / NETWORK)
    store_result(tmp_path, NETWORK, {"rois": "augment/1/rois.h5"})
    store_result(tmp_path, "augment/1", {"plates": ["ingest/MCF10A_1@0123456789ab"]})
    opened = execute(open_run.TASK, open_run.Params(experiment="e", dag_run_id="d", run_name="r"), tmp_path)
    assert opened.mlflow_run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened.mlflow_run_id)
    return tmp_path


def params() -> register_model.Params:
    return register_model.Params.model_validate({"method": "fpn2_ws", "networks": [NETWORK], "settings": LOOSE})


def environment_elsewhere() -> dict[str, str]:
    """This process's, without the repository and with its environment's programs: MLflow starts uvicorn by name."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MLFLOW_RUN_ID")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


@pytest.mark.parametrize(
    ("model_input", "message"),
    [
        ([np.zeros((50, 60, 3), np.uint8)], r"shape \(50, 60, 3\).*give grey images \(y, x\)"),
        (np.zeros((50, 60, 3), np.uint8), "colour isn't known"),
        (np.full((50, 60), np.nan, np.float32), "no finite numbers"),
        (np.full((50, 60), "a"), "give grey images"),
    ],
)
def test_what_is_no_grey_image_is_refused(tmp_path, model_input, message):
    model = Fpn2Ws([load_map_network(make_network(tmp_path / "network"))], Settings())
    with pytest.raises(InputError, match=message):
        model.predict(model_input)


@pytest.mark.slow
def test_the_registered_model_segments_in_a_fresh_process_without_the_repository(tracked, image, tmp_path):
    execute(register_model.TASK, params(), tracked)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    np.save(elsewhere / "image.npy", image)
    command = [sys.executable, "-c", SEGMENT_ELSEWHERE, "models:/nucleus-segmenter/1"]
    subprocess.run(command, cwd=elsewhere, env=environment_elsewhere(), check=True, timeout=200)
    expected = Fpn2Ws([load_map_network(tracked / NETWORK)], Settings.model_validate(LOOSE)).segment(image)
    assert expected.max() > 0
    assert np.array_equal(np.load(elsewhere / "one.npy"), expected)


def test_a_result_is_registered_once_per_run_however_often_it_is_logged(tracked):
    result = execute(register_model.TASK, params(), tracked)
    assert execute(register_model.TASK, params(), tracked).reused
    (version,) = MlflowClient().search_model_versions("name = 'nucleus-segmenter'")
    origin = MlflowClient().download_artifacts(version.run_id or "", "version/origin.json", str(tracked))
    assert json.loads(Path(origin).read_text())["store_path"] == result.outputs["model"]
    assert set(version.tags) - {"commit"} == {"key", "method", "dag_run_id", "plate/MCF10A_1"}
    assert version.tags["plate/MCF10A_1"] == "0123456789ab"
    assert version.tags["dag_run_id"] == "d"
    assert version.run_id == os.environ["MLFLOW_RUN_ID"]
    assert version.tags["method"] == "fpn2_ws"
    assert version.description == (
        "FPN2-WS: networks and a watershed, the paper's best. Trained on MCF10A_1. "
        "It takes one grey image (y, x), or a list of them, and gives label images."
    )
    assert "label_image" in str(mlflow.models.get_model_info("models:/nucleus-segmenter/1").signature)
    code = tracked / result.outputs["model"] / "code"
    assert list(code.glob("**/base/network.json"))
    assert not list(code.glob("**/base/weights.h5")), "weights that come with a method aren't this model's"


def test_a_model_that_came_with_the_pipeline_is_registered_once_whichever_runs_use_it(tracked, monkeypatch):
    store_result(tracked, NETWORK, {"rois": None, "initialisation": "base"})
    store_result(tracked, "register_model/1111111111111111", params().model_dump(mode="json"), {"model": "model"})
    (tracked / "model").mkdir()
    (tracked / "model" / "MLmodel").touch()
    result = read_result(tracked / "register_model/1111111111111111")
    for dag_run in ("first", "second"):
        monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("e", dag_run, "r"))
        register_model.log_result(params(), result, tracked)
    (version,) = MlflowClient().search_model_versions("name = 'nucleus-segmenter'")
    assert version.tags["dag_run_id"] == "first"
    assert not [name for name in version.tags if name.startswith("plate/")]


@pytest.mark.slow
def test_the_model_is_served_over_http(tracked, image):
    result = execute(register_model.TASK, params(), tracked)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["models", "serve", "-m", str(tracked / result.outputs["model"]), "--env-manager", "local"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port)],
        cwd=tracked,
        env=environment_elsewhere(),
        start_new_session=True,
    )
    try:
        labels = _post(f"http://127.0.0.1:{port}", {"inputs": image.tolist()}, server)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    expected = Fpn2Ws([load_map_network(tracked / NETWORK)], Settings.model_validate(LOOSE)).segment(image)
    assert np.array_equal(labels, expected)


def _post(address: str, content: dict, server: subprocess.Popen) -> np.ndarray:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/ping", timeout=2)
            break
        except OSError:
            time.sleep(1)
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=100) as response:
        return np.array(json.load(response)["predictions"])
