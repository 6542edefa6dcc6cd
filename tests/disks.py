"""For the tests of full disks."""

import subprocess
from pathlib import Path


def resize(disk: Path, megabytes: int) -> None:
    """Change the size of the mounted `small_disk`."""
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(disk)], check=True)
