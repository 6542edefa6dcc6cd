"""Which methods there are: a folder beside this file each, and what installed packages declare.

A package declares its `Method` as an entry point of the group `nucleus_segmentation.methods`:

    [project.entry-points."nucleus_segmentation.methods"]
    our_method = "our_package.method:METHOD"
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tasks import methods
from tasks.methods.method import Method
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.errors import InputError
from tasks.nuclei.segmentation import SegmentationSettings

GROUP = "nucleus_segmentation.methods"
HERE = Path(methods.__file__).parent


@cache
def found_methods() -> dict[str, Method]:
    """Give all methods by name, those of the pipeline first. Raises InputError for one that can't be loaded."""
    found: dict[str, Method] = {}
    for name, where in _declared():
        method = load_method(where)
        if method.name != name or method.name in found:
            known = f"{method.name}, which is {'another name' if method.name != name else 'taken'}"
            raise InputError(f"{where} is declared as the method {name} and calls itself {known}; rename it.")
        found[name] = method
    return {name: found[name] for name in sorted(found, key=lambda name: not found[name].is_default)}


def method_named(name: str) -> Method:
    """Give a method; the error says which there are."""
    found = found_methods()
    if name not in found:
        raise InputError(f"There is no method {name!r}; there are {', '.join(found)}. Is its package installed?")
    return found[name]


def default_method() -> Method:
    """Give the method that is meant where none is named."""
    return next(method for method in found_methods().values() if method.is_default)


def baseline_method() -> Method:
    """Give the method that models are compared with."""
    return next(method for method in found_methods().values() if method.is_baseline)


def place_of(method: Method) -> str:
    """Give where a method is, as `<module>:<name>`; it can be loaded from there without being declared."""
    return dict(_declared())[method.name]


def load_method(where: str) -> Method:
    """Load a method from `<module>:<name>`."""
    try:
        method = importlib.metadata.EntryPoint("", where, GROUP).load()
    except Exception as error:
        raise InputError(
            f"The method {where} can't be loaded ({type(error).__name__}: {error}); correct it."
        ) from error
    if not isinstance(method, Method):
        raise InputError(f"{where} is a {type(method).__name__}; it must be a tasks.methods.method.Method.")
    return method


def method_of_networks(network_dirs: Sequence[Path]) -> Method:
    """Give the method of trained networks, which must share one; each is a folder with `network.json`."""
    names = {name_of_network(folder) for folder in network_dirs}
    if len(names) > 1:
        raise InputError(f"The networks are of the methods {', '.join(sorted(names))}; give networks of one.")
    return method_named(names.pop())


def name_of_network(network_dir: Path) -> str:
    """Give the name of the method that a network was trained for."""
    file = network_dir / "network.json"
    if not file.exists():
        raise InputError(f"{network_dir} holds no trained network; give an output of a training.")
    # Networks that were trained before there were several methods don't say it.
    said = json.loads(file.read_text()).get("method")
    return str(said or default_method().name)


def load_segmenter(method: Method, network_dirs: Sequence[Path], settings: SegmentationSettings) -> Segmenter:
    """Load trained networks of a method, none for one without. Raises InputError for networks of another one."""
    if not method.has_networks:
        return method.load((), settings)
    if (of_networks := method_of_networks(network_dirs)).name != method.name:
        raise InputError(f"The networks are of the method {of_networks.name}, not of {method.name}.")
    return method.load(network_dirs, settings)


def _declared() -> Iterator[tuple[str, str]]:
    """Give name and place of every method."""
    for folder in sorted(path.parent for path in HERE.glob("*/method.py")):
        yield folder.name, f"{methods.__name__}.{folder.name}.method:METHOD"
    for entry in sorted(importlib.metadata.entry_points(group=GROUP)):
        yield entry.name, entry.value
