"""Draw the tables and figures of a matrix of experiments again, from its MLflow run alone.

    python -m tasks.recipes.draw_experiments RUN_ID FOLDER

RUN_ID is that of the matrix, above those of its experiments; `MLFLOW_TRACKING_URI` says where MLflow is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tasks import tracking
from tasks.contract import BAD_INPUT, DONE, ServiceError
from tasks.steps.experiments.data import read_data
from tasks.steps.experiments.panels import read_panels
from tasks.steps.tabulate import DATA, PAGE, draw, read_spec


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.recipes.draw_experiments", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("run_id")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as copied:
            data = tracking.downloaded(args.run_id, DATA, Path(copied))
            draw(read_spec(data), read_data(data), read_panels(data), args.folder)
    except ServiceError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    print(args.folder / PAGE)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
