"""Errors that the user can correct, kept apart from faults of the program."""

from pathlib import Path


class InputError(ValueError):
    """A bad param or a bad file. The message says in one line which it is, what is allowed and what to do."""


def raise_if_any(problems: list[str], folder: Path, at_most: int = 10) -> None:
    """Raise one InputError, in one line, for all problems of a plate's files; `folder` is the plate's."""
    if not problems:
        return
    shown = "; ".join(problems[:at_most])
    more = f"; and {len(problems) - at_most} more problems" if len(problems) > at_most else ""
    raise InputError(f"{folder}: {shown}{more}.")
