"""The page that all installations have."""

from nucleus_dags.page.plugin import NucleiPage

__all__ = ["NucleiPage"]
