"""What the figures share: resolution, fonts, and colours that the usual kinds of colour blindness tell apart too."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib import font_manager

DPI = 130

# For what the usual font lacks, such as Japanese in the name of a field; those that are installed are used.
_FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans",
    "IPAexGothic",
    "WenQuanYi Micro Hei",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Arial Unicode MS",
)

# Okabe and Ito's palette; blue, orange, ... for lines and bars on white.
LINE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def colours_of(names: Sequence[str]) -> dict[str, str]:
    return {name: LINE_COLOURS[number % len(LINE_COLOURS)] for number, name in enumerate(names)}


def _name_parts_of_an_svg_alike() -> None:
    """Set up matplotlib to draw the same figure as the same file; else its parts have random names."""
    matplotlib.rcParams["svg.hashsalt"] = "nucleus"


def _take_names_as_they_are() -> None:
    """Set up matplotlib for names of people: two dollars enclose no formula, and no letter is missing if it can be."""
    # When it is imported, since text reads it when it is made, and figures are drawn in several threads.
    matplotlib.rcParams["text.parse_math"] = False
    installed = {font.name for font in font_manager.fontManager.ttflist}
    fallback = [font for font in _FALLBACK_FONTS if font in installed]
    matplotlib.rcParams["font.family"] = [*matplotlib.rcParams["font.family"], *fallback]


_take_names_as_they_are()
_name_parts_of_an_svg_alike()
