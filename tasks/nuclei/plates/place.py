"""What makes a field: where and how an image was taken, as its name says it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where and how an image was taken, as its name says it. What the name doesn't say is None."""

    well: str
    """Such as B07; W0025 where wells are numbered and the size of the plate isn't known; empty where none is given."""
    site: int | None
    """Given with every well; the first where the name has none."""
    channel: int | str | None
    z: int | None
    time: int | None
    acquisition: int | None
    series: str = ""
    """The rest of the name where it gives no well: images of one series are of the same place."""

    @property
    def field(self) -> tuple[str, int | None, str]:
        """What is equal for all images of one field, whatever their channel, z, time and acquisition."""
        return self.well, self.site, self.series

    @property
    def field_name(self) -> str:
        """Such as: well B07, site 2."""
        return f"well {self.well}, site {self.site}" if self.well else self.series


def time_of(text: str | None) -> int | None:
    """Give a number as it is, and 01d02h30m in minutes; None for none."""
    if text is None or text.isdigit():
        return number_in(text)
    days, hours, minutes = re.findall(r"\d+", text)
    return (int(days) * 24 + int(hours)) * 60 + int(minutes)


def number_in(text: str | None) -> int | None:
    """Give a number with leading zeros; None for none."""
    return int(text) if text else None
