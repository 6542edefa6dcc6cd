"""The scripts that make secrets and accounts, with a kubectl that keeps them in a folder."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.manifests import K8S

KUBECTL = """#!/usr/bin/env python3
import base64, json, os, sys
folder, arguments = os.environ["RECORDED"], sys.argv[1:]
with open(f"{folder}/arguments", "a") as file:
    file.write(" ".join(arguments) + "\\n")
if arguments[0] in ("create", "replace"):
    secret = json.load(sys.stdin)
    given = {name: base64.b64decode(value).decode() for name, value in secret.get("data", {}).items()}
    content, path = given | secret.get("stringData", {}), f"{folder}/{secret['metadata']['name']}.json"
    assert os.path.exists(path) == (arguments[0] == "replace"), arguments
    with open(path, "w") as file:
        json.dump(content, file)
    sys.exit()
path = f"{folder}/{arguments[2]}.json"
if not os.path.exists(path):
    sys.exit(f"secrets {arguments[2]} not found")
data = {name: base64.b64encode(value.encode()).decode() for name, value in json.load(open(path)).items()}
if arguments[-1].startswith("jsonpath={.data."):
    print(data[arguments[-1][len("jsonpath={.data."):-1].replace("\\\\.", ".")], end="")
else:
    print(json.dumps({"metadata": {"name": arguments[2]}, "data": data}))
"""


class Secrets:
    """The secrets of a namespace, made by the scripts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "kubectl").write_text(KUBECTL)
        (folder / "kubectl").chmod(0o755)

    def run(self, script: str, *arguments: str, trace: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a script of k8s/; with `trace`, stderr has all its commands with their arguments."""
        environment = os.environ | {"PATH": f"{self._folder}:{os.environ['PATH']}", "RECORDED": str(self._folder)}
        command = ["sh", *(["-x"] if trace else []), str(K8S / script), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    @property
    def arguments(self) -> str:
        """All arguments that kubectl got."""
        return (self._folder / "arguments").read_text()

    def __getitem__(self, name: str) -> dict[str, str]:
        content: dict[str, str] = json.loads((self._folder / f"{name}.json").read_text())
        return content

    def names(self) -> set[str]:
        return {path.stem for path in self._folder.glob("*.json")}
