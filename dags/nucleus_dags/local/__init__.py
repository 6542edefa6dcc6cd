"""Airflow and MLflow on one machine, for one person, and a demo that trains a model with them."""
