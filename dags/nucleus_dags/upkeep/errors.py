"""Errors that a person can correct."""


class UpkeepError(RuntimeError):
    """It can't be done; the message says what to do."""
