"""Programs of a cluster's pods, by kubectl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from nucleus_dags.upkeep.errors import UpkeepError

KUBECTL = ("kubectl", "--namespace", "nucleus")


def environment_with_kubectl() -> dict[str, str]:
    """`make install` brings kubectl."""
    return os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}


def kubectl(
    *arguments: str, stdin: IO[bytes] | None = None, given: bytes | None = None, stdout: IO[bytes] | None = None
) -> bytes:
    """Give what kubectl printed, unless that goes to `stdout`; it reads `stdin` or `given`. UpkeepError on failure."""
    ended = subprocess.run(
        [*KUBECTL, *arguments],
        env=environment_with_kubectl(),
        input=given,
        stdin=None if given is not None else stdin or subprocess.DEVNULL,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if ended.returncode != 0:
        said = ended.stderr.decode()[-500:].strip()
        raise UpkeepError(f"kubectl {' '.join(arguments)[:200]} failed: {said}")
    return ended.stdout or b""
