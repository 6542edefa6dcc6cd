"""Airflow on one machine answers under this machine's own names alone.

A web page may let its own name lead to 127.0.0.1 (DNS rebinding), and would then reach Airflow through a browser here.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin
from starlette.middleware.trustedhost import TrustedHostMiddleware

HOSTS = ["127.0.0.1", "localhost"]


class KnownHosts(AirflowPlugin):
    """Refuses requests to any other host with status 400."""

    name = "known_hosts"
    # The base class declares an instance variable.
    fastapi_root_middlewares: list[Any] = [  # noqa: RUF012
        {
            "name": "known hosts",
            "middleware": TrustedHostMiddleware,
            "kwargs": {"allowed_hosts": HOSTS, "www_redirect": False},
        }
    ]
