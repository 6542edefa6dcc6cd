"""Pages from templates, with the words and numbers of all of them in one form."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nucleus_dags.manifest import manifest
from nucleus_dags.page.damaged import left_out
from nucleus_dags.page.note import rendered, rendered_line
from nucleus_dags.page.task_words import run_state, task_state

HERE = Path(__file__).parent
SECTIONS = ("plates", "runs", "models", "results", "annotate", "settings")
"""Of the navigation: each is a module here, an address and a title."""


def page(request: Request, template: str, *, status: int = 200, **content: Any) -> HTMLResponse:
    """Render a template of `templates/`; its base is layout.html.jinja."""
    root = request.scope.get("root_path", "")
    airflow = root.removesuffix("/nuclei")
    section = request.url.path.removeprefix(root).strip("/").partition("/")[0]
    known = {"root": root, "airflow": airflow, "sections": SECTIONS, "section": section, "left_out": left_out()}
    return HTMLResponse(ENVIRONMENT.get_template(f"{template}.html.jinja").render(known | content), status)


def when(moment: datetime | str | None) -> str:
    """Give a time to the minute, in UTC: `2026-11-27 17:05`; nothing for none."""
    if moment is None:
        return ""
    known = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return known.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def duration(seconds: float | None) -> str:
    """Give a time in words: `40 s`, `12 min`, `3 h 5 min`; nothing for none."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def f1(value: float | None) -> str:
    """Give a score with three digits, a dash for none."""
    return "-" if value is None else f"{value:.3f}"


def number(value: float) -> str:
    """Give an integer with a thin space between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


def counted(amount: int, singular: str, plural: str = "") -> str:
    """`1 field`, `2 fields`."""
    return f"{number(amount)} {singular if amount == 1 else plural or f'{singular}s'}"


def sentence(text: str) -> str:
    """Give a capital letter at the beginning and a full stop at the end."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def capitalize_first(text: str) -> str:
    """Begin a sentence with a capital letter, and leave the others as they are."""
    return text[:1].upper() + text[1:]


ENVIRONMENT = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {
    "when": when,
    "duration": duration,
    "f1": f1,
    "number": number,
    "sentence": sentence,
    "capitalize_first": capitalize_first,
    "note": rendered,
    "note_line": rendered_line,
    "run_state": run_state,
    "task_state": task_state,
}
ENVIRONMENT.globals |= {"counted": counted, "manifest": manifest}
