"""Addresses of MLflow's pages for trainings: without more it opens those for language models."""


def training_pages(mlflow: str) -> str:
    """Give the address of the list of experiments."""
    return f"{mlflow}/#/experiments?workflowType=machine_learning"
