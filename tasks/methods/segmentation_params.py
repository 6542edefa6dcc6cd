"""The params of the steps that segment: which method, which of its networks, with which settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pydantic

from tasks.contract import TaskParams, describe
from tasks.methods.registry import method_named
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.segmentation import SegmentationSettings
from tasks.store.provenance import Model


class SegmentationParams(TaskParams):
    """Base of the params of `calibrate`, `segment` and `register_model`."""

    method: str
    """Name of the method."""
    networks: list[str]
    """Trained networks: outputs of the method's training task; none for a method without networks."""
    settings: pydantic.SerializeAsAny[SegmentationSettings] = pydantic.Field(
        default_factory=dict,
        validate_default=True,
        description="Settings of the method, the defaults for what isn't given.",
    )

    @pydantic.field_validator("method")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            return method_named(name).name
        except InputError as error:
            raise ValueError(str(error)) from None

    @pydantic.field_validator("settings", mode="before")
    @classmethod
    def _are_of_the_method(cls, given: Any, known: pydantic.ValidationInfo) -> Any:
        if "method" not in known.data:  # It is refused itself.
            return SegmentationSettings()
        settings = method_named(known.data["method"]).settings
        try:
            return settings.model_validate(given.model_dump() if isinstance(given, SegmentationSettings) else given)
        except pydantic.ValidationError as error:
            raise ValueError("; ".join(describe(problem, settings) for problem in error.errors())) from None

    @pydantic.model_validator(mode="after")
    def _networks_are_given_to_a_method_that_has_some(self) -> Self:
        if self.networks and not self.model.method.has_networks:
            raise ValueError(f"networks: {self.method} has none; give an empty list")
        if not self.networks and self.model.method.has_networks:
            raise ValueError(f"networks: {self.method} needs one at least; give outputs of {self.model.method.task}")
        return self

    @property
    def model(self) -> Model:
        return Model(method_named(self.method), self.networks, self.settings)


def depends_on(params: SegmentationParams, store: Path) -> list[Path | str]:
    """Give what makes a segmentation another one besides its params: what the method says."""
    method = method_named(params.method)
    networks = [inside(store, path) for path in params.networks]
    there = [folder for folder in networks if (folder / "network.json").exists()]
    return [f"segmentation version {method.segmentation_version}", *method.depends_on(there)]
