"""Plates: what there is, and how well it is understood."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from nucleus_dags.page.access import Person
from nucleus_dags.page.rendering import page

router = APIRouter(prefix="/plates")


@router.get("")
def show_plates(request: Request, person: Person) -> Response:
    """List all plates, each in its newest version."""
    return page(request, "plates", plates=[])
