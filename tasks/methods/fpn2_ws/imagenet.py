"""Find the file with an encoder's weights from ImageNet, or have it downloaded.

    python -m tasks.methods.fpn2_ws.imagenet ENCODER [--folder FOLDER]

The package of the encoders alone knows their files. It is asked in a process of its own: once it is imported, nothing
can be set any more that makes trainings repeatable.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import tasks
from tasks.methods.shared.initial_weights import weights_folder
from tasks.nuclei.errors import InputError

REFUSED = 3


def imagenet_file(params: Any) -> Path:
    """Give the file for the encoder of a training, from `NUCLEUS_WEIGHTS` if it lies there; InputError without one."""
    asked = _asked(params.encoder, weights_folder())
    if asked.returncode == REFUSED:
        raise InputError(asked.stderr.splitlines()[-1])
    if asked.returncode != 0:
        raise RuntimeError(f"the ImageNet weights of {params.encoder} weren't found:\n{asked.stderr}")
    return Path(asked.stdout.splitlines()[-1])


@cache
def _asked(encoder: str, folder: Path | None) -> subprocess.CompletedProcess[str]:
    """Ask once, also where there are none: it takes seconds, and a matrix has many trainings of an encoder."""
    where = ["--folder", str(folder.resolve())] if folder else []
    return subprocess.run(
        [sys.executable, "-m", "tasks.methods.fpn2_ws.imagenet", encoder, *where],
        cwd=Path(tasks.__path__[0]).parent,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tasks.methods.fpn2_ws.imagenet")
    parser.add_argument("encoder")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    from tasks.methods.fpn2_ws.network import imagenet_weights

    try:
        print(imagenet_weights(args.encoder, args.folder))
    except InputError as error:
        print(error, file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
