"""The note of a run as a page shows it: Markdown of our DAGs, and of nobody else's trust."""

from __future__ import annotations

from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup


def rendered(note: str) -> Markup:
    """Give HTML. What is HTML in the note is shown as text; links lead outside of the page, and only to web pages."""
    return Markup(_READER.render(note))


def rendered_line(line: str) -> Markup:
    """Give the HTML of one line, such as a note's first in a list."""
    return Markup(_READER.renderInline(line))


def _reader() -> Any:
    # Without HTML, and without links to scripts, which this reader refuses by itself.
    reader = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table").disable("image")
    reader.add_render_rule("link_open", _outside)
    return reader


def _outside(self: Any, tokens: Any, number: int, options: Any, env: Any) -> Any:
    """Mark a link as one that Airflow's frame must be left for; see `static/page.js`."""
    tokens[number].attrSet("data-leave", "")
    return self.renderToken(tokens, number, options, env)


_READER = _reader()
