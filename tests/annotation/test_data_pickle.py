"""Pickles of somebody else are read for what they hold, and never run."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.annotation.cellpose import TOOL
from tasks.annotation.data_pickle import load_npy_dict
from tasks.nuclei.errors import InputError


def npy(content: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(content, dtype=object), allow_pickle=True)
    return file.getvalue()


def header_and(pickled: bytes) -> bytes:
    plain = npy({})
    return plain[: plain.index(b"\n") + 1] + pickled


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


class EvilState:
    def __reduce__(self) -> Any:
        return np.dtype, ("i8",), (3, "<", None, None, None, 8, 8, 63)


def test_arrays_numbers_lists_and_texts_are_read_in_every_byte_order_and_protocol() -> None:
    content: dict[str, Any] = {
        "masks": np.arange(6, dtype=">u2").reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "diameter": np.float32(1.5),
        "flags": np.array([True, False]),
        "flows": [np.zeros((1, 2), np.float32), [], None, 3],
        "filename": "a.tif",
    }
    for protocol in (3, 4, 5):
        read = load_npy_dict(header_and(pickle.dumps(np.array(content, dtype=object), protocol=protocol)))
        assert np.array_equal(read["masks"], content["masks"])
        assert np.array_equal(read["columns"], content["columns"])
        assert (read["diameter"], read["flags"].tolist(), read["filename"]) == (1.5, [True, False], "a.tif")


def test_a_pickle_that_runs_a_command_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    came = tmp_path / "came"
    folder = tmp_path / "returned"
    folder.mkdir()
    (folder / "B07_1_seg.npy").write_bytes(npy({"masks": Evil(came), "outlines": 0}))
    with pytest.raises(InputError, match=r"B07_1_seg\.npy: asks for posix\.system, which is no data"):
        TOOL.read(folder)
    assert not came.exists()
    # What it would have done:
    np.load(folder / "B07_1_seg.npy", allow_pickle=True)
    assert came.exists()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "numpy.load", "numpy.f2py.capi_maps.eval", "numpy._core.multiarray.fromfile"]
)
def test_no_name_is_found_but_those_that_arrays_need(name: str) -> None:
    module, _, function = name.rpartition(".")
    asks = f"c{module}\n{function}\n(S'1'\ntR.".encode()
    with pytest.raises(InputError, match=f"asks for {name}, which is no data"):
        load_npy_dict(header_and(asks))


def test_a_type_that_takes_numbers_for_addresses_changes_nothing() -> None:
    harmless = np.dtype("i8").flags
    assert load_npy_dict(npy({"masks": np.zeros(1), "x": EvilState()})).keys() == {"masks", "x"}
    assert np.dtype("i8").flags == harmless


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x04]r\xff\xff\xff\x7f.",
        b"p4000000000\n.",
        b"\x80\x05\x96\xff\xff\xff\xff\x03\x00\x00\x00.",
        b"\x80\x04\x82\x01.",
    ],
)
def test_a_few_bytes_that_ask_for_all_of_the_memory_are_refused_before_they_get_it(pickled: bytes) -> None:
    with pytest.raises(InputError, match=r"has the step|cut short"):
        load_npy_dict(header_and(pickled))


def test_other_arrays_and_damaged_files_are_refused() -> None:
    plain = io.BytesIO()
    np.save(plain, np.zeros((3, 4)))
    with pytest.raises(InputError, match="holds an array of"):
        load_npy_dict(plain.getvalue())
    with pytest.raises(InputError, match="holds no dict"):
        load_npy_dict(npy([1, 2][0]))
    with pytest.raises(InputError, match="cut short"):
        load_npy_dict(npy({"masks": np.zeros((30, 40))})[:-50])
    with pytest.raises(InputError, match="numbers of the type 'M8'"):
        load_npy_dict(npy({"masks": np.zeros(3, "M8[s]")}))


@pytest.mark.parametrize("content", [{"outlines": 1}, {"masks": 5}, {"masks": np.zeros((2, 3, 4), np.uint8)}])
def test_a_file_without_masks_of_one_plane_is_refused_by_name(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "B07_1_seg.npy").write_bytes(npy(content))
    with pytest.raises(InputError, match=r"B07_1_seg\.npy: "):
        TOOL.read(tmp_path)
