"""The plugin of all installations, which this folder has besides its own."""

from nucleus_dags.forms.errors_plugin import FormErrors

__all__ = ["FormErrors"]
