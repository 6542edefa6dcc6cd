"""Airflow's folder for the tests. Airflow reads its place at the first import, so it is set before."""

import os
import shutil
import tempfile

AIRFLOW_HOME = tempfile.mkdtemp(prefix="nucleus-tests-airflow-")
os.environ["AIRFLOW_HOME"] = AIRFLOW_HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


def pytest_unconfigure() -> None:
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)
