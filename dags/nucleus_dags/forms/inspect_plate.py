"""The form of `inspect_plate`."""

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import MAIN


@typed.form
def inspect_plate_form() -> dict[str, Param]:
    return {
        "folder": Param(
            None,
            type="string",
            pattern=r"^[0-9a-f]{16}/[^/]+$",
            title="Folder",
            description="Folder of the plate among the uploads of the inbox: id and name of the upload with a slash "
            "between them.",
            section=MAIN,
        ),
        "values": Param(
            {},
            type="object",
            title="Values",
            description="What is known of the plate, by the keys of plate.json; the rest is read from the files.",
            section=MAIN,
        ),
    }
