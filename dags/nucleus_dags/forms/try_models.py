"""The form of `try_models`."""

from airflow.sdk import Param

from nucleus_dags.forms.fields import MAIN, lines_field, param_field, plate_field
from nucleus_dags.manifest import manifest


def try_models_form() -> dict[str, Param]:
    ready = manifest()["ready_models"]
    in_words = " ".join(f"{name}: {title}." for name, title in ready.items())
    return {
        "plate": plate_field("It has labels. Best is one that no model was trained on, with five fields or more."),
        "models": lines_field(
            "Models",
            "What is tried, one per line: champion, challenger, the number of a version of "
            f"{manifest()['registered_model']}, or a model that needs no training. {in_words} Empty: all that need no "
            "training, the champion, the challenger and the newest three versions.",
            ["champion", *ready],
        ),
        "least_f1_of_objects": param_field("suffice", "least_f1_of_objects", MAIN, "Empty: 0.8."),
        "least_f1_of_outlines": param_field("suffice", "least_f1_of_outlines", MAIN, "Empty: 0.6."),
    }
