"""What do system metrics of trainings take a day in MLflow's database? Prints it.

    python -m tests.benchmarks.system_metrics [--trainings 20] [--gpus 1]

Lets a run be watched for three minutes as a training is, then logs as many rows of a day for one training into an
SQLite database. Without a GPU here, its metrics are added by their number.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric

from tasks import tracking

WATCHED_S = 185
MINUTES_OF_A_DAY = 1440
OF_A_GPU = 5
"""Memory in MB and in percent, utilisation, power in W and in percent."""


def names_and_points(client: MlflowClient) -> tuple[list[str], int]:
    """Watch a run; give the names of its system metrics, and how many points the first of them got."""
    run_id = tracking.open_run("system metrics", "dag run", "training")
    os.environ["MLFLOW_RUN_ID"] = run_id
    with tracking.Run().system_metrics("node"):
        time.sleep(WATCHED_S)
    names = sorted(name for name in client.get_run(run_id).data.metrics if name.startswith("system/"))
    return names, len(client.get_metric_history(run_id, names[0]))


def bytes_of_a_day(client: MlflowClient, names: list[str], database: Path) -> int:
    """Log a day of one training; give by how much the database grows."""
    run_id = client.create_run("0").info.run_id
    before = database.stat().st_size
    for minute in range(MINUTES_OF_A_DAY):
        now = time.time_ns() // 1_000_000
        client.log_batch(run_id, [Metric(name, float(minute), now, minute) for name in names])
    return database.stat().st_size - before


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trainings", type=int, default=20, help="as many as work all day")
    parser.add_argument("--gpus", type=int, default=1, help="of each training")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{database}"
        client = MlflowClient()
        client.search_experiments()
        names, points = names_and_points(client)
        found = [name for name in names if "gpu" not in name]
        names = [*found, *(f"system/gpu_{number}" for number in range(OF_A_GPU * args.gpus))]
        size = bytes_of_a_day(client, names, database)
    rows = len(names) * MINUTES_OF_A_DAY
    print(f"{points} points of {len(found)} metrics in {WATCHED_S} s; {OF_A_GPU} more for each GPU")
    print(f"{rows:,} rows and {size / 1e6:.1f} MB a day for one training")
    print(f"{args.trainings * rows:,} rows and {args.trainings * size / 1e6:.0f} MB a day for {args.trainings}")


if __name__ == "__main__":
    main()
