"""Arrays, lists, numbers and texts out of a pickle of numpy's, without running what is in it.

A pickle is a program: it may call anything that it names. Here it finds stand-ins for the few names of numpy that
arrays need, and nothing else. Numpy's own won't do: told a wrong type, they take numbers for addresses.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError

_PLAIN = re.compile(r"[biufcSU]\d+|\?")
_OBJECTS = re.compile(r"O\d?")


class _Dtype:
    """Stands for numpy.dtype."""

    def __init__(self, text: str, *_: object) -> None:
        if not (_PLAIN.fullmatch(text) or _OBJECTS.fullmatch(text)):
            raise InputError(f"holds numbers of the type {text!r:.40}, which annotations have none of.")
        self.text, self.order = text, "="

    def __setstate__(self, state: Sequence[Any]) -> None:
        order = state[1]
        self.order = order if order in ("<", ">", "|", "=") else "="

    def of_numpy(self) -> np.dtype[Any]:
        if _OBJECTS.fullmatch(self.text):
            raise InputError("holds objects in the place of numbers.")
        return np.dtype(self.order.replace("|", "=") + self.text)


class Array:
    """Stands for numpy.ndarray: an array of numbers, or a list of what an array of objects holds."""

    content: NDArray[Any] | list[Any]

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, dtype, is_by_columns, raw = state
        if isinstance(raw, list):
            self.content = raw
        else:
            self.content = _numbers(raw, dtype, shape, "F" if is_by_columns else "C")


def _numbers(raw: bytes, dtype: _Dtype, shape: Sequence[int], order: Any) -> NDArray[Any]:
    return np.frombuffer(raw, dtype.of_numpy()).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(*_: object) -> Array:
    return Array()


def _frombuffer(raw: bytes, dtype: _Dtype, shape: Sequence[int], order: str) -> Array:
    array = Array()
    array.content = _numbers(raw, dtype, shape, order)
    return array


def _scalar(dtype: _Dtype, raw: bytes) -> Any:
    return np.frombuffer(raw, dtype.of_numpy())[0].item()


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): Array,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}


_OTHER_STEPS = frozenset(
    {"NEXT_BUFFER", "READONLY_BUFFER", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ"}
)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise InputError(
                f"asks for {module}.{name}, which is no data and could run commands; it was not opened. "
                "Save it again with Cellpose, and ask where it comes from."
            )
        return _KNOWN[module, name]


def load_npy_dict(content: bytes) -> dict[str, Any]:
    """Read the dict in the content of an .npy file; arrays of numbers are numpy's.

    Raises InputError for a pickle that asks for more than data, and for anything but a dict; other errors, of many
    types, for damaged ones.
    """
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if shape != () or not dtype.hasobject:
        raise InputError(f"holds an array of {shape} {dtype}; allowed is what Cellpose saves as _seg.npy.")
    try:
        _refuse_other_steps(content[file.tell() :])
        whole = _Unpickler(file).load()
    except (pickle.UnpicklingError, EOFError) as error:
        raise InputError(f"is damaged or cut short ({error}); save it again.") from None
    if not (isinstance(whole, Array) and isinstance(whole.content, list) and isinstance(whole.content[0], dict)):
        raise InputError("holds no dict; allowed is what Cellpose saves as _seg.npy.")
    return {str(key): _plain(value) for key, value in whole.content[0].items()}


def _refuse_other_steps(pickled: bytes) -> None:
    """Look at the steps of the program before it runs: a few bytes may ask for places in all of the memory."""
    try:
        for step, argument, _ in pickletools.genops(pickled):
            takes_place = step.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(pickled)
            if takes_place or step.name in _OTHER_STEPS:
                raise InputError(f"has the step {step.name} {argument!r:.20}, which no array needs; save it again.")
    except InputError:
        raise
    except ValueError as error:
        raise pickle.UnpicklingError(str(error)) from None


def _plain(value: Any) -> Any:
    return value.content if isinstance(value, Array) else value
