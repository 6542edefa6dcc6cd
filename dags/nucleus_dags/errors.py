"""Errors that a person can correct."""


class FormError(ValueError):
    """A form or a plate asks for something that isn't there. The message says what there is."""
