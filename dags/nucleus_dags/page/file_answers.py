"""Answers that are no pages of this site: files, with their headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import HTTPException
from fastapi.responses import FileResponse, Response

FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
"""What has a digest or a key in its address doesn't change."""
HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
"""A page that a task wrote may show pictures, and nothing else, whatever is in it."""


def file_answer(path: Path | None, **options: Any) -> Response:
    """Send a file; answers with status 404 where there is none, or the store has lost it."""
    if path is None or not path.is_file():
        raise HTTPException(404, f"The store has no such file{f', or has lost it: {path}' if path else ''}.")
    return FileResponse(path, **options)
