"""Errors that the user can correct, kept apart from faults of the program."""

from collections.abc import Sequence
from pathlib import Path


class InputError(ValueError):
    """A bad param or a bad file. The message says in one line which it is, what is allowed and what to do."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)
        """One sentence for each thing that is wrong; the message may name only the first."""


def raise_if_any(problems: Sequence[str], folder: Path | str) -> None:
    """Raise one InputError, in one line, for all problems of a plate's files; `folder` is the plate's."""
    if problems:
        raise InputError(f"{folder}: {first_of(problems, separator='; ')}.", problems)


def first_of(texts: Sequence[str], at_most: int = 10, separator: str = ", ") -> str:
    """Join names or sentences in one line: the first of many, and how many more there are."""
    shown = separator.join(texts[:at_most])
    return f"{shown}{separator.strip(', ')} and {len(texts) - at_most} more" if len(texts) > at_most else shown
