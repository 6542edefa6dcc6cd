"""How a model is named in what it makes."""

from __future__ import annotations

import pydantic

REGISTERED_MODEL = "nucleus-segmenter"
KEY = "[0-9a-f]{16}"
"""Of a result of `register_model`."""


class ModelName(pydantic.BaseModel):
    """A version of the registered model."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    version: int = pydantic.Field(ge=1)
    """Number of the version in MLflow."""
    key: str = pydantic.Field(pattern=f"^{KEY}$")
    """Key of the output of `register_model`, which stands for the whole history of the model."""

    def __str__(self) -> str:
        return f"{REGISTERED_MODEL} version {self.version}, {self.key}"


class ReadyModelName(pydantic.BaseModel):
    """A model that isn't registered and needs no training here; see `ready_models`."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = pydantic.Field(min_length=1, max_length=100)
    """What people choose it by, such as the name of its method."""
    key: str = pydantic.Field(pattern=f"^{KEY}$")
    """Hash of its networks and settings."""

    def __str__(self) -> str:
        return f"{self.name}, {self.key}"
