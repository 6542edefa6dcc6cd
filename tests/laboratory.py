"""A package of a laboratory's own that declares a method, for the tests."""

from __future__ import annotations

from pathlib import Path

METHOD = """
import pydantic
from tasks.methods.method import RANDOM, InitialWeights, Method
from tasks.nuclei.segmentation import SegmentationSettings

class Settings(SegmentationSettings):
    brightness: float = pydantic.Field(0.5, gt=0, lt=1)

METHOD = Method(
    name="{name}",
    title="pixels brighter than a threshold",
    training="{package}.train",
    settings=Settings,
    load=lambda network_dirs, settings: None,
    initial_weights=(InitialWeights(RANDOM, "a training from scratch"),),
    search={{"brightness": (0.4, 0.5, 0.6)}},
)
"""


def install(site: Path, package: str, declared: str, content: str | None = None, name: str = "bright") -> None:
    """Put a package into a folder of packages, which declares the method `declared`, in its module `method`."""
    (site / package).mkdir(parents=True)
    (site / package / "__init__.py").touch()
    (site / package / "method.py").write_text(METHOD.format(name=name, package=package) if content is None else content)
    information = site / f"{package}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        f"[nucleus_segmentation.methods]\n{declared} = {package}.method:METHOD\n"
    )
