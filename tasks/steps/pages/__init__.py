"""HTML pages that stand alone: one style, figures inside."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2

MIME_PNG, MIME_JPEG = "data:image/png;base64,", "data:image/jpeg;base64,"


def embedded(picture: bytes, mime: str = MIME_PNG) -> str:
    """Give the address of an image that lies in the page itself."""
    return mime + base64.b64encode(picture).decode()


def render(template: str, **content: Any) -> str:
    """Fill a template of this folder; the content is escaped, and a missing one an error."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return templates.get_template(template).render(content)
