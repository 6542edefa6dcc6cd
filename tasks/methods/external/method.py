"""Third-party tools as a method: commands that read a folder of images and write a folder of label images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.methods.external.catalogue import FILE, FOLDER_VARIABLE, READY, tool_named
from tasks.methods.method import RANDOM, Candidates, InitialWeights, Method
from tasks.nuclei.segmentation import SegmentationSettings

if TYPE_CHECKING:
    from tasks.methods.external.segmenter import ExternalSegmenter


def load(network_dirs: Sequence[Path], settings: SegmentationSettings) -> ExternalSegmenter:
    """Load the one tool with what it learnt."""
    from tasks.methods.external.segmenter import MODEL, ExternalSegmenter
    from tasks.methods.shared.kept_network import the_one_network

    folder = the_one_network(network_dirs, "A third-party tool")
    return ExternalSegmenter(tool_named(name_of_tool(folder)), folder / MODEL, settings)


def name_of_tool(network_dir: Path) -> str:
    """Give the name of the tool that a model was trained by."""
    content = json.loads((network_dir / "network.json").read_text())
    # Older networks have another word for it.
    return str(content.get("tool") or content["program"])


def command_of(network_dirs: Sequence[Path]) -> list[str]:
    """The command that segments: another one may find other nuclei."""
    return [argument for folder in network_dirs for argument in tool_named(name_of_tool(folder)).segment]


def needs(network_dirs: Sequence[Path]) -> str:
    """Name the tool, which MLflow doesn't install."""
    tools = " and ".join(dict.fromkeys(map(name_of_tool, network_dirs)))
    return (
        f"the third-party tool {tools}, installed where its command in {FILE} says; a file {FILE} in the folder that "
        f"{FOLDER_VARIABLE} names adds to those of the pipeline"
    )


METHOD = Method(
    name="external",
    title="Third-party tools: chosen below",
    training="tasks.methods.external.train",
    settings=SegmentationSettings,
    segmentation_version=2,
    load=load,
    initial_weights=(
        InitialWeights(
            "pretrained", "without training, the folder with the name of the tool in NUCLEUS_WEIGHTS", is_whole=True
        ),
        InitialWeights(RANDOM, "a training from scratch, by the command of the tool"),
    ),
    candidates=Candidates("tool", READY, FOLDER_VARIABLE, FILE),
    depends_on=command_of,
    needs=needs,
)
