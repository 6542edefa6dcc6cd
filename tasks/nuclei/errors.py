"""Errors that the user can correct, kept apart from faults of the program."""


class InputError(ValueError):
    """A bad param or a bad file. The message says in one line which it is, what is allowed and what to do."""
