"""Write down what is in container images: a bill of materials for each, in CycloneDX 1.6.

    .venv/bin/python images/sbom.py OUT_FOLDER cpu gpu --base-image NAME --commit COMMIT

A component is the base image, or a Python package of the image's lock with the hashes of which an installation takes
one. What the base image holds is not looked into. The format: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import argparse
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/nucleus")


def bill_of_materials(image: str, lock: str, base_image: str, commit: str) -> dict[str, Any]:
    """Give the document on an image; the same for the same arguments, `lock` being the content of its lock."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMES, f'{image} {lock} {base_image} {commit}')}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"nucleus-{image}", "version": commit}},
        "components": [{"type": "container", "name": base_image, "bom-ref": base_image}, *_packages(lock)],
    }


def _packages(lock: str) -> Iterator[dict[str, Any]]:
    without_comments = re.sub(r"^\s*#.*\n", "", lock, flags=re.MULTILINE)
    for entry in without_comments.replace("\\\n", " ").splitlines():
        text, *hashes = re.split(r"\s+--hash=sha256:", entry.strip())
        requirement = Requirement(text)
        name, (pinned,) = canonicalize_name(requirement.name), requirement.specifier
        purl = f"pkg:pypi/{name}@{pinned.version}"
        files = {
            "type": "distribution",
            "url": f"https://pypi.org/project/{name}/{pinned.version}/",
            "hashes": [{"alg": "SHA-256", "content": sha256} for sha256 in hashes],
        }
        yield {
            "type": "library",
            "name": requirement.name,
            "version": pinned.version,
            "purl": purl,
            "bom-ref": purl,
            "externalReferences": [files],
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="images/sbom.py", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--base-image", required=True)
    parser.add_argument("--commit", required=True)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for image in args.images:
        lock = (HERE / image / "requirements.lock").read_text()
        path = args.folder / f"nucleus-{image}.cdx.json"
        path.write_text(json.dumps(bill_of_materials(image, lock, args.base_image, args.commit), indent=1))
        print(path)


if __name__ == "__main__":
    main()
