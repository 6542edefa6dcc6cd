"""What happens in the laboratory and starts DAGs."""

import os

from airflow.sdk import Asset, AssetWatcher

from nucleus_dags.plates.inbox import quiet_s
from nucleus_dags.plates.inbox_trigger import InboxTrigger

PLATE_ARRIVALS = Asset(
    "plate-arrivals",
    watchers=[
        AssetWatcher(
            name="inbox",
            trigger=InboxTrigger(
                os.environ.get("NUCLEUS_INBOX", "inbox"), os.environ.get("NUCLEUS_STORE", "store"), quiet_s()
            ),
        )
    ],
)
"""A plate has arrived whole in the inbox, or something lies there for a while that isn't a plate."""

ANNOTATED_PLATES = Asset("annotated-plates")
"""A plate with labels was imported into the store. Its events hold plate, digest, cell_line, role, fovs and nuclei."""

REGISTERED_MODELS = Asset("registered-models")
"""A version of the model was registered, or an alias was given to another one."""
