"""The form of `compare_models`."""

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import MAIN


@typed.form
def compare_models_form() -> dict[str, Param]:
    return {
        "before": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Version",
            description="Where two versions are to be compared nucleus by nucleus: the one that is held against the "
            "other, such as the champion. Empty: only scores are compared.",
            section=MAIN,
        ),
        "after": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="With version",
            description="The other one: the nuclei that it gains and loses are counted and shown.",
            section=MAIN,
        ),
    }
