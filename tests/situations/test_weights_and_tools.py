"""Files of weights and lists of tools that laboratories put beside the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tf_keras as keras

from tasks.methods.external.catalogue import tool_named
from tasks.methods.shared.pretrained_weights import load_pretrained
from tasks.nuclei.errors import InputError

LAYERS = ("conv1", "conv2")
SHAPE = (3, 3, 1, 1)


def network() -> keras.Model:
    convolutions = [keras.layers.Conv2D(1, 3, use_bias=False, name=name) for name in LAYERS]
    return keras.Sequential([keras.layers.InputLayer((None, None, 1)), *convolutions])


def write_weights(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for layer in LAYERS:
            file[f"{layer}/{layer}/kernel:0"] = np.arange(1, 10, dtype=np.float32).reshape(SHAPE)


def with_values(value: float | np.integer) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        with h5py.File(path, "a") as file:
            del file["conv2/conv2/kernel:0"]
            file["conv2/conv2/kernel:0"] = np.full(SHAPE, value)

    return change


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def without_a_layer(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["conv2"]


def link_to_another_file(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["conv2/conv2/kernel:0"]
        file["conv2/conv2/kernel:0"] = h5py.ExternalLink("/etc/hostname", "/kernel:0")


WRONG_WEIGHTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: path.write_bytes(b""), "can't be read"),
    "text": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "can't be read"),
    "a folder": (to_folder, "weights.h5"),
    "the beginning of a file": (cut, "weights.h5"),
    "a layer too few": (without_a_layer, "lacks conv2/kernel"),
    "a link to another file": (link_to_another_file, "lacks conv2/kernel|can't be read"),
    "no numbers": (with_values(np.nan), "aren't numbers in conv2/kernel"),
    "only zeros, as where a copy has a hole": (with_values(0), "only zeros in conv2/kernel"),
    "whole numbers of 8 bit": (with_values(np.int8(3)), "conv2/kernel"),
}


@pytest.mark.parametrize(("change", "words"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_a_file_of_weights_that_is_not_whole_is_refused(
    change: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.h5"
    write_weights(path)
    load_pretrained([network()], path)
    change(path)
    with pytest.raises(InputError, match=words) as caught:
        load_pretrained([network()], path)
    assert "\n" not in str(caught.value)


MINE = "mine: {segment: [run, '{images}', '{output}']}"

READ_TOOLS = {
    "UTF-8 with a byte order mark": MINE.encode("utf-8-sig"),
    "UTF-16": MINE.encode("utf-16"),
    "line ends of Windows": b"mine:\r\n  segment: [run]\r\n",
}

WRONG_TOOLS = {
    "Latin-1": ("mine: {segment: [Zählen]}".encode("latin-1"), "tools.yaml"),
    "tabs": (b"mine:\n\tsegment: [run]", "can't be read"),
    "a tool that stands twice": (f"{MINE}\n{MINE}".encode(), "mine.*twice"),
    "a command that stands twice": (b"mine:\n  segment: [a]\n  segment: [b]\n", "segment.*twice"),
    "a command of no words": (b"mine: {segment: []}", "give a list"),
    "a name that is a number": (b"1: {segment: [run]}", "no third-party tool mine"),
    "an object of Python": (b"mine: !!python/object/apply:os.getcwd []", "can't be read"),
}


@pytest.mark.parametrize("content", READ_TOOLS.values(), ids=READ_TOOLS)
def test_a_list_of_tools_is_read(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path))
    (tmp_path / "tools.yaml").write_bytes(content)
    assert tool_named("mine").segment[0] == "run"


@pytest.mark.parametrize(("content", "words"), WRONG_TOOLS.values(), ids=WRONG_TOOLS)
def test_a_wrong_list_of_tools_is_refused(
    content: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path))
    (tmp_path / "tools.yaml").write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        tool_named("mine")
    assert "\n" not in str(caught.value)
