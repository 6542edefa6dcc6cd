"""Measure `segment_plate` with a real Airflow: PYTHONPATH=dags python -m tests.benchmarks.segment_plate OUT FIELDS...

For each number of fields, a plate of so many synthetic U2OS fields of 1080 x 1280 px is segmented by the champion of a
new installation, the base model. Printed are the fields a minute from the start of the DAG run to its end, and the
resident memory of the largest process among all tasks and servers, with its name.
"""

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.end_to_end.laboratory import Laboratory, laboratory
from tests.synthetic_plates import make_synthetic_plate

FIELD = {"cell_line": "U2OS", "height_px": 1080, "width_px": 1280}
PAUSE_S = 0.2
MOST_WAIT_S = 3 * 3600


@contextmanager
def memory_of_largest_processes(pids: list[int]) -> Iterator[dict[str, float]]:
    """Until the end of the block, look at these processes and all below them: the most MiB that any of a name took."""
    most: dict[str, float] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(PAUSE_S):
            for pid in pids:
                for process in psutil.Process(pid).children(recursive=True):
                    note_memory(process, most)

    watching = threading.Thread(target=look)
    watching.start()
    yield most
    ended.set()
    watching.join()


def note_memory(process: psutil.Process, most: dict[str, float]) -> None:
    try:
        command, mib = " ".join(process.cmdline()), process.memory_info().rss / 2**20
    except psutil.NoSuchProcess:
        return
    task = re.search(r"-m tasks\.(?:steps|methods)\.([\w.]+)", command)
    name = task.group(1) if task else "a server or what it runs"
    most[name] = max(mib, most.get(name, 0))


def measure(lab: Laboratory, plate: str, fields: int) -> str:
    servers = lab.home.read_servers()
    assert servers is not None
    with memory_of_largest_processes([server.pid for server in servers.processes.values()]) as most:
        started = time.monotonic()
        state = lab.finish("segment_plate", lab.api.trigger("segment_plate", {"plate": plate}), MOST_WAIT_S)
        minutes = (time.monotonic() - started) / 60
    assert state == "success"
    memory = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in sorted(most.items(), key=lambda item: -item[1]))
    return f"{fields} fields: {fields / minutes:.1f} fields a minute ({minutes:.1f} min); {memory}"


def main(folder: Path, amounts: list[int]) -> None:
    with laboratory(folder) as lab:
        for fields in amounts:
            plate = make_synthetic_plate(lab.home.inbox / f"screen-{fields}", fovs=fields, random_seed=2, **FIELD)
            print(measure(lab, plate.name, fields), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(fields) for fields in sys.argv[2:]])
