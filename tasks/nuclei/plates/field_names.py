"""What a microscope writes into the names of its files: well, site, z and channel."""

import re

CV7000_NAME = re.compile(
    r"(?:^|_)(?P<well>A?[A-Z]\d{2})_T\d{4}F(?P<site>\d{3})L\d{2}A\d{2}Z(?P<z>\d{2})C(?P<channel>\d{2})$"
)
"""Yokogawa CV7000, as in `AssayPlate_B07_T0001F002L01A01Z01C01`: well B07, site 2, z 1, channel 1."""
