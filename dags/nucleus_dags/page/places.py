"""Where things are, as the environment of Airflow's servers says."""

from __future__ import annotations

import os
from pathlib import Path


def store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


def inbox() -> Path:
    return Path(os.environ["NUCLEUS_INBOX"])
