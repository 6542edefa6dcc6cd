"""How long servers work for a page, whatever else the machine does meanwhile."""

import psutil

from tests.dags.page.site import Site


def seconds_of_servers_for(site: Site, address: str) -> float:
    """Ask for a page, which must be there; gives the CPU seconds that the servers of this test run took."""
    before = _cpu_seconds()
    assert site.get(address)[0] == 200
    return _cpu_seconds() - before


def _cpu_seconds() -> float:
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(time.user + time.system for time in times)
