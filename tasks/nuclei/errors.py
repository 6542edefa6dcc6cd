"""Errors that a person can mend, kept apart from faults of the program."""


class InputError(ValueError):
    """A bad param or a bad file. The message says which, what was allowed and what to do; in one line."""
