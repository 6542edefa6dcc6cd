"""What a process used of its machine."""

import subprocess
import sys

from tasks import usage


def test_cpu_seconds_are_those_of_the_process_and_of_ended_children() -> None:
    before = usage.cpu_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(20_000_000))"], check=True)
    assert usage.since(before)["cpu_seconds"] > 0.1


def test_the_peak_of_memory_is_that_of_the_process_or_its_largest_child() -> None:
    subprocess.run([sys.executable, "-c", "len(bytearray(400_000_000))"], check=True)
    assert usage.since(0)["peak_memory_bytes"] > 400e6
