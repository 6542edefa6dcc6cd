"""Write down what is in container images: a bill of materials for each, in CycloneDX 1.6.

    .venv/bin/python images/sbom.py OUT_FOLDER cpu gpu --base-image NAME --commit COMMIT

A component is the base image, a Python package of the image's lock with the hashes of which an installation takes one,
or a Debian package, where OUT_FOLDER/<image>.debian holds what `dpkg-query` says in the image: a line for each, of
package, version and architecture. `make sbom` asks the images that are on this machine.
The formats: https://cyclonedx.org/docs/1.6/json/, https://github.com/package-url/purl-spec
"""

from __future__ import annotations

import argparse
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/nucleus")


def bill_of_materials(image: str, lock: str, debian: str, base_image: str, commit: str) -> dict[str, Any]:
    """Give the document on an image; the same for the same arguments.

    `lock` is the content of its lock, `debian` that of the list of its Debian packages, empty where there is none.
    """
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMES, f'{image} {lock} {debian} {base_image} {commit}')}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"nucleus-{image}", "version": commit}},
        "components": [
            {"type": "container", "name": base_image, "bom-ref": base_image},
            *_packages(lock),
            *_debian_packages(debian),
        ],
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


def _debian_packages(listed: str) -> Iterator[dict[str, Any]]:
    for line in listed.splitlines():
        name, version, architecture = line.split()
        purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}?arch={architecture}"
        yield {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


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
        listed = args.folder / f"{image}.debian"
        debian = listed.read_text() if listed.exists() else ""
        path = args.folder / f"nucleus-{image}.cdx.json"
        content = bill_of_materials(image, lock, debian, args.base_image, args.commit)
        path.write_text(json.dumps(content, indent=1))
        print(path if debian else f"{path}, without the Debian packages of the image, which isn't here")


if __name__ == "__main__":
    main()
