"""The address of a run on the page Nuclei, inside Airflow's own, for its note and for MLflow."""

from __future__ import annotations

from urllib.parse import quote

from airflow.configuration import conf

VARIABLE = "NUCLEUS_RUN_PAGE"
"""In the environment of tasks, which show it in MLflow."""
_LINK = "[This run on the page Nuclei]"


def run_page_url(dag_id: str, run_id: str) -> str | None:
    """Give the address; None where it isn't known under which address browsers find Airflow."""
    airflow = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{airflow}/plugin/nuclei/nuclei/runs/{dag_id}/{quote(run_id, safe='')}" if airflow else None


def with_link(note: str, dag_id: str, run_id: str, most: int) -> str:
    """Give a note that ends with the way to the page, if it has room for it in so many characters."""
    url = run_page_url(dag_id, run_id)
    link = f"\n\n{_LINK}({url})"
    return note if url is None or _LINK in note or len(note) + len(link) > most else note + link


def without_link(note: str) -> str:
    """Give a note as the page itself shows it."""
    return note.partition(f"\n\n{_LINK}")[0]
