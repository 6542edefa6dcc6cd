"""A kubectl of a test's own, which keeps what it is asked."""

from pathlib import Path

import pytest

from nucleus_dags.upkeep import cluster


def answer_by(script: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let a shell script answer in place of kubectl; what it is asked stands in the folder's file `asked`."""
    kubectl = folder / "kubectl"
    kubectl.write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\ncd {folder}\n{script}')
    kubectl.chmod(0o755)
    patch.setattr(cluster, "KUBECTL", (str(kubectl), *cluster.KUBECTL[1:]))
