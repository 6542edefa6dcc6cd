"""The classical way on whole fields."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.methods.classical.method import Settings
from tasks.methods.classical.nuclei import Seen, look_at, nuclei_in
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.intensity import grey_levels
from tasks.nuclei.segmentation import Nuclei
from tasks.nuclei.view import View

VIEW = View(scaling="percentile", nucleus_px=40.0)
"""Each plate is looked at by the size and the level of its own nuclei, as by networks that know nuclei of one size."""


class Classical(Segmenter):
    """The settings; there is no network."""

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, VIEW)

    def look_at(self, image: NDArray[np.integer]) -> Seen:
        # Fields aren't magnified, which would blur outlines: lengths are.
        assert self.nucleus_px is not None
        return look_at(grey_levels(image, VIEW.scaling, self.least_span), self.nucleus_px / self.zoom)

    @staticmethod
    def nuclei_in(seen: Seen, settings: Settings) -> Nuclei:
        return nuclei_in(seen, settings)
