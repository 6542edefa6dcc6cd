"""The form of `promote_model`."""

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import MAIN, reason_field
from nucleus_dags.manifest import manifest


@typed.form
def promote_model_form() -> dict[str, Param]:
    return {
        "version": Param(
            None,
            type="integer",
            minimum=1,
            title="Version",
            description=f"Version of {manifest()['registered_model']} in MLflow that becomes the champion, such as an "
            "earlier one.",
            section=MAIN,
        ),
        "reason": reason_field("Why the version is promoted; the reason stays with it in MLflow.", most_letters=1900),
    }
