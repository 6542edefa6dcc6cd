"""The form of `change_gate`."""

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import MAIN, field_of, reason_field
from nucleus_dags.planning.gate import APPROVAL, APPROVALS, rule_schemas

AS_IT_IS = "Empty: as it is."


@typed.form
def change_gate_form() -> dict[str, Param]:
    return {
        **{name: field_of(schema, MAIN, if_empty=AS_IT_IS) for name, schema in rule_schemas().items()},
        APPROVAL: Param(
            None,
            type=["null", "string"],
            enum=[None, *APPROVALS],
            values_display={"null": "as it is"} | {name: name for name in APPROVALS},
            title="Approval",
            description="automatic: a challenger that passes becomes champion by itself. by_person: somebody must "
            f"approve it first. {AS_IT_IS}",
            section=MAIN,
        ),
        "reason": reason_field(
            "Why the gate is changed; it stays with the change, and is in the note of every retraining."
        ),
    }
