"""What Airflow's scheduler does with runs of `inspect_plate`, for tests without one: the task itself, and its state."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any
from urllib.parse import quote

from nucleus_dags.launchers.command_line import arguments_of
from nucleus_dags.planning.inspect_plate import inspection_of
from tests.dags.page.site import Site
from tests.repository import REPOSITORY

DAG_ID = "inspect_plate"
MOST_WAIT_S = 60


def run_next_inspection(site: Site) -> dict[str, Any]:
    """Wait for a run of `inspect_plate` that was started, do its task, and let it succeed; gives its conf."""
    deadline = time.monotonic() + MOST_WAIT_S
    while not (waiting := site.api.call("GET", f"dags/{DAG_ID}/dagRuns?state=queued")["dag_runs"]):
        assert time.monotonic() < deadline, "no run was started"
        time.sleep(0.2)
    run = waiting[0]
    params = inspection_of({"values": {}} | run["conf"], site.home.inbox)
    receipt = site.home.store / "dag_runs" / DAG_ID / run["dag_run_id"] / DAG_ID / "-1.json"
    receipt.parent.mkdir(parents=True)
    arguments = arguments_of(DAG_ID, params, site.home.store, receipt)
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, check=True, capture_output=True)
    path = f"dags/{DAG_ID}/dagRuns/{quote(run['dag_run_id'], safe='')}"
    site.api.call("PATCH", f"{path}?update_mask=state", {"state": "success"})
    conf: dict[str, Any] = json.loads(json.dumps(run["conf"]))
    return conf
