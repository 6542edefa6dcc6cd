"""How notes mark F1 against labels that the scored model proposed itself, or one that it began from."""

from __future__ import annotations

from nucleus_dags.manifest import manifest


def mark_of(own_proposals: float) -> str:
    """Give what stands behind F1 against labels of which the model proposed so many; nothing if it proposed none."""
    return f" {manifest()['own_proposals']['mark']}" if own_proposals else ""


def explained(own_proposals: float) -> list[str]:
    """Give the lines below a table in which the mark may stand; none without it."""
    known = manifest()["own_proposals"]
    return ["", f"{known['mark']} {known['meaning']}"] if own_proposals else []
