"""The decoders that FPN2-WS has a choice of, and how wide they are. Loads no network library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from tasks.methods.method import PresetName

Decoder = Literal["fpn", "unet"]
"""What makes maps of an encoder's features: a feature pyramid network (Kirillov et al. 2019) or a U-Net (Ronneberger et
al. 2015), as segmentation-models has them."""
UNET_FILTERS = (96, 64, 48, 32, 16)
DEFAULT_FILTERS: Mapping[PresetName, Mapping[Decoder, tuple[int, ...]]] = {
    "laptop": {"fpn": (64,), "unet": UNET_FILTERS},
    "paper": {"fpn": (256,), "unet": UNET_FILTERS},
}
NUMBERS_OF_FILTERS: Mapping[Decoder, int] = {
    decoder: len(filters) for decoder, filters in DEFAULT_FILTERS["paper"].items()
}
"""How many numbers say how wide a decoder is: that of the pyramid, or one for each stage from the deepest to the full
resolution."""


def recorded_filters(filters: int | Sequence[int]) -> tuple[int, ...]:
    """Give the filters that a network or the params of one name. From before there was a choice, it is one number."""
    return (filters,) if isinstance(filters, int) else tuple(filters)
