"""Headers of answers that are no pages of this site."""

from __future__ import annotations

FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
"""What has a digest or a key in its address doesn't change."""
HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
"""A page that a task wrote may show pictures, and nothing else, whatever is in it."""
