"""The accounts of a cluster: one for each person, with a role, and one for each program.

`NUCLEUS_ACCOUNTS` names a JSON file, part of the secret `accounts`, which `k8s/account.sh` changes:

    {"anna": {"role": "train", "sha256": "<of her password>"}}

Passwords are made by that script, of 144 random bits: nobody finds one by its hash, however fast that is.
"""

from __future__ import annotations

import hmac
import json
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROLES = ("look", "annotate", "train", "approve", "administrate")
"""Of people; each may do what those before it may."""
NOTES = "notes"
"""Role of the account by which tasks write the notes of DAG runs, and nothing else."""
NEEDED = {
    "segment_plate": "annotate",
    "send_to_annotation": "annotate",
    "ingest_plates": "annotate",
    "inspect_plate": "annotate",
    "train_models": "train",
    "compare_models": "train",
    "try_models": "train",
    "run_experiments": "train",
    # They decide what is champion.
    "change_gate": "approve",
    "retrain_champion": "approve",
    "promote_model": "approve",
    "retire_plate": "approve",
}
"""Role from which on a person may start a DAG, stop it, and clear or mark its tasks."""


@dataclass(frozen=True)
class Account:
    """What the file says of an account."""

    role: str
    sha256: str

    def has(self, password: str) -> bool:
        return hmac.compare_digest(sha256(password.encode()).hexdigest(), self.sha256)


def accounts() -> dict[str, Account]:
    """Give the accounts by name, as they are now: a secret that changes is seen without a restart."""
    content = json.loads(Path(os.environ["NUCLEUS_ACCOUNTS"]).read_text())
    return {name: Account(**account) for name, account in content.items()}


def approvers() -> list[str]:
    """Give the people who alone may approve; empty for everybody whose role allows it. `NUCLEUS_APPROVERS`."""
    return [name.strip() for name in os.environ.get("NUCLEUS_APPROVERS", "").split(",") if name.strip()]


def may_change(name: str, role: str, dag_id: str | None) -> bool:
    """Say whether a person may start a DAG, stop it, and clear or mark its tasks."""
    needed = NEEDED.get(dag_id or "", "administrate")
    if role not in ROLES or ROLES.index(role) < ROLES.index(needed):
        return False
    return role == "administrate" or needed != "approve" or not approvers() or name in approvers()
