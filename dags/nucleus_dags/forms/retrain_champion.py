"""The form of `retrain_champion`."""

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import (
    MAIN,
    TRAINING,
    between,
    initialisation_field,
    kinds_of_initial_weights,
    param_field,
    preset_field,
    training_field,
)
from nucleus_dags.forms.train_models import random_seed_field
from nucleus_dags.manifest import manifest
from nucleus_dags.planning.gate import APPROVALS
from nucleus_dags.planning.initial_weights import CYCLES

AS_GATE = "as in the gate"
FIRST_MODEL = "It counts only while there is no champion; later models are like the champion."


@typed.form
def retrain_champion_form() -> dict[str, Param]:
    return {**_of_every_retraining(), **_of_the_first_model(), **_of_the_training()}


def _of_every_retraining() -> dict[str, Param]:
    weights = ["champion", *kinds_of_initial_weights()]
    return {
        "initial_weights": Param(
            ["champion"],
            type="array",
            items={"type": "string", "enum": weights},
            examples=weights,
            minItems=1,
            uniqueItems=True,
            title="Initial weights",
            description="Each gives a candidate. All are judged, the more strictly the more there are; of those "
            "that pass the best is taken. champion: the training resumes from the model in force. The others: the same "
            "network from its beginning, or from the model that comes with the pipeline; those are allowed that the "
            "method of the champion knows.",
            section=MAIN,
        ),
        "approval": Param(
            AS_GATE,
            type="string",
            enum=[AS_GATE, *APPROVALS],
            title="Approval",
            description="automatic: a challenger that passes the gate becomes champion by itself. by_person: somebody "
            "approves it in this page first, within three days. Where the test plates are too few to decide, neither "
            "happens: the champion stays, and the note says how many more nuclei it takes.",
            section=MAIN,
        ),
        "also_without_news": Param(
            False,
            type="boolean",
            title="Also without news",
            description="Train also if no plate has come since the last retraining.",
            section=MAIN,
        ),
    }


def _of_the_first_model() -> dict[str, Param]:
    methods = manifest()["methods"]
    return {
        "method": Param(
            None,
            type=["null", "string"],
            enum=[None, *methods],
            values_display={"null": manifest()["default_method"], **{name: name for name in methods}},
            title="Method of the first model",
            description=FIRST_MODEL,
            section=TRAINING,
        ),
        "preset": preset_field("Preset of the first model", f"As in train_models. {FIRST_MODEL}", TRAINING),
        "initialisation": initialisation_field(
            "Initial weights of the first model", f"{FIRST_MODEL} Empty: as the preset.", earlier=False
        ),
    }


def _of_the_training() -> dict[str, Param]:
    as_champion = "Empty: as the champion's."
    return {
        "replicates": Param(
            1,
            type="integer",
            **between(1, 20),
            title="Replicates",
            description="How often each candidate is trained, with another random seed every time, 1 to 20. It shows "
            "how much is chance; each is a candidate.",
            section=TRAINING,
        ),
        "new_share": Param(
            0.5,
            type="number",
            **between(0.05, 0.95),
            title="Share of new plates",
            description="Share of the ROIs that come from plates that the champion wasn't trained on, 0.05 to 0.95. "
            "The rest comes from all others, so that nothing is forgotten.",
            section=TRAINING,
        ),
        "rois": param_field("augment", "rois", TRAINING, as_champion),
        CYCLES: training_field(CYCLES, as_champion),
        "random_seed": random_seed_field(),
    }
