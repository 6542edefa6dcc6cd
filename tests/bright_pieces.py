"""A segmenter without networks: nuclei are pieces brighter than the mean of their field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.methods.segmenter import Segmenter
from tasks.nuclei.segmentation import Nuclei
from tasks.nuclei.view import View
from tasks.steps import segment

NETWORK = "train_fpn2_ws/network"


class BrightPieces(Segmenter):
    """Doubts what it says of every field, and knows nuclei of 5 px."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings, View(scaling="minmax", nucleus_px=5))

    def look_at(self, image: NDArray[np.integer]) -> Any:
        return image > image.mean()

    @staticmethod
    def nuclei_in(seen: Any, settings: Any) -> Nuclei:
        count, label_image = cv2.connectedComponents(seen.astype(np.uint8))
        return Nuclei(label_image, np.ones(count - 1, np.float32))

    @staticmethod
    def doubts_about(seen: Any) -> tuple[str]:
        return ("looks like a mask",)


def segment_with_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `segment` take it for the network NETWORK of a store, one field after another."""
    (store / NETWORK).mkdir(parents=True)
    (store / NETWORK / "network.json").write_text("{}")
    monkeypatch.setattr(segment, "load_segmenter", lambda _method, _networks, settings: BrightPieces(settings))
    monkeypatch.setattr(segment, "FIELDS_BEHIND", 1)
