"""Airflow's folder of plugins in a cluster."""

from nucleus_dags.forms.errors_plugin import FormErrors

__all__ = ["FormErrors"]
