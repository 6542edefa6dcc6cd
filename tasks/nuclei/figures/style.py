"""What the figures share: resolution, and colours that are told apart with the usual kinds of colour blindness too."""

from __future__ import annotations

from collections.abc import Sequence

DPI = 130

# Okabe and Ito's palette; blue, orange, ... for lines and bars on white.
LINE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def colours_of(names: Sequence[str]) -> dict[str, str]:
    return {name: LINE_COLOURS[number % len(LINE_COLOURS)] for number, name in enumerate(names)}
