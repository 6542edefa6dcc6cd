"""The form of `retire_plate`."""

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import MAIN, reason_field
from nucleus_dags.planning.retire_plate import BRING_BACK, RETIRE


@typed.form
def retire_plate_form() -> dict[str, Param]:
    return {
        "plate": Param(
            None,
            type="string",
            minLength=1,
            maxLength=200,
            title="Plate",
            description="Name of a training or test plate of the store; all its versions are meant.",
            section=MAIN,
        ),
        "change": Param(
            RETIRE,
            type="string",
            enum=[RETIRE, BRING_BACK],
            title="Change",
            description="retire: no model is trained or judged on it any more; results with it stay. bring back: it is "
            "used again.",
            section=MAIN,
        ),
        "reason": reason_field("Why; it stays with the plate, with your name."),
    }
