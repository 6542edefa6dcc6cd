"""Run a matrix of experiments, the paper's if no other is named, and say where its tables are.

    python -m nucleus_dags.local.paper_tables [--matrix NAME] [--scale 0.1] [--plan]

The servers are started if they don't run. Stopped with Ctrl-C, the experiments go on; called again, it does the rest.
"""

from __future__ import annotations

import argparse
import sys
import time

from nucleus_dags.airflow_api import AirflowApi, AirflowApiError
from nucleus_dags.local import servers as local_servers
from nucleus_dags.local.home import Home, home_of_environment
from nucleus_dags.local.processes import ServersError

DAG_ID = "run_experiments"
ENDED = ("success", "failed")
ASKED_EVERY_S = 10
WAITS = f"It begins when no other run of {DAG_ID} is going on, such as one that was interrupted here before."


def run(home: Home, matrix: str, scale: float, plan_only: bool, ports: tuple[int, int]) -> bool:
    """Start the DAG run and show its note whenever it changes; gives True if it succeeded."""
    home.make_folders()
    servers = local_servers.up(home, *ports)
    api = AirflowApi(servers.airflow_url, home.login())
    dag_run_id = api.trigger(DAG_ID, {"matrix": matrix, "scale": scale, "stop_after_plan": plan_only})
    print(f"The DAG run: {servers.airflow_url}/dags/{DAG_ID}/runs/{dag_run_id}", flush=True)
    return follow(api, dag_run_id)


def follow(api: AirflowApi, dag_run_id: str) -> bool:
    """Show the note of a DAG run whenever it changes, and that it waits; gives True if it succeeded."""
    shown = None
    while True:
        dag_run = api.dag_run(DAG_ID, dag_run_id)
        text = dag_run["note"] or (WAITS if dag_run["state"] == "queued" else None)
        if text and text != shown:
            shown = text
            print(f"\n{shown}", flush=True)
        if dag_run["state"] in ENDED:
            return bool(dag_run["state"] == "success")
        time.sleep(ASKED_EVERY_S)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nucleus_dags.local.paper_tables", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--matrix", default="paper", help="name of the matrix; default: %(default)s")
    parser.add_argument("--scale", type=float, default=1.0, help="of ROIs and epochs; default: %(default)s")
    parser.add_argument("--plan", action="store_true", help="only say what there is to do and what it takes")
    parser.add_argument("--airflow-port", type=int, default=8080)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    args = parser.parse_args(argv)
    ports = (args.airflow_port, args.mlflow_port)
    try:
        return 0 if run(home_of_environment(), args.matrix, args.scale, args.plan, ports) else 1
    except (ServersError, AirflowApiError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The experiments go on; `make down` stops them.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
