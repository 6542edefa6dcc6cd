"""The page as a plugin of Airflow: an application of its API server, and an entry of its navigation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PREFIX = "/nuclei"


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request. Every process of Airflow loads the plugin, so what only the API server needs comes here."""
    from nucleus_dags.page.app import app

    await app(scope, receive, send)


class NucleiPage(AirflowPlugin):
    """For Airflow's API server, wherever it runs."""

    name = "nuclei_page"
    # The base class declares instance variables.
    fastapi_apps: list[Any] = [{"app": serve, "url_prefix": PREFIX, "name": "Nuclei"}]  # noqa: RUF012
    external_views: list[Any] = [  # noqa: RUF012
        {
            "name": "Nuclei",
            "href": f"{PREFIX}/",
            "destination": "nav",
            "icon": f"{PREFIX}/static/nuclei.svg",
            "icon_dark_mode": f"{PREFIX}/static/nuclei-dark.svg",
            "url_route": "nuclei",
        },
        # A tab on the page of every run.
        {
            "name": "Nuclei: this run",
            "href": f"{PREFIX}/runs/{{DAG_ID}}/{{RUN_ID}}",
            "destination": "dag_run",
            "icon": f"{PREFIX}/static/nuclei.svg",
            "icon_dark_mode": f"{PREFIX}/static/nuclei-dark.svg",
            "url_route": "nuclei_run",
        },
    ]
