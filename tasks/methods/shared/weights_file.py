"""Files of weights that were trained elsewhere, in Keras' HDF5 layout.

A file has a group for each layer, or for a model of several, and in them `<layer>/<weight>:0`. Only names count here,
not where in the file they are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Give all weights of a file by `<layer>/<weight>`."""
    found: dict[str, NDArray[np.float32]] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            layer, weight = name.split("/")[-2:]
            found[f"{layer}/{last_part(weight)}"] = item[()]

    try:
        with h5py.File(path) as file:
            # A whole model has its weights beside its optimiser's.
            file.get("model_weights", file).visititems(collect)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; put the file of weights there.") from None
    # What h5py raises depends on where the file is damaged.
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} can't be read as a file of weights ({reason}); copy it again.") from None
    return found


def copy_in_16_bits(source: Path, target: Path) -> None:
    """Copy a file of weights with its kernels as float16, compressed. Whoever loads them gets float32.

    What has one value for each channel, such as the averages of batch normalisation, stays as it is: it is little, and
    may be out of float16's range. Raises InputError for a kernel that is.
    """
    # The latest layout needs a tenth of the bytes for the groups, of which there is one for every layer.
    with h5py.File(source) as read, h5py.File(target, "w", libver="latest") as written:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                copied = written.create_group(name)
            else:
                kept = _in_16_bits(item) if item.ndim > 1 else item[()]
                copied = written.create_dataset(name, data=kept, chunks=kept.shape, compression="gzip", shuffle=True)
            copied.attrs.update(item.attrs)

        written.attrs.update(read.attrs)
        read.visititems(copy)


def _in_16_bits(kernel: Any) -> NDArray[np.float16]:
    values = kernel[()]
    largest = np.abs(values).max()
    if not largest <= np.finfo(np.float16).max:
        raise InputError(f"{kernel.name} has values up to {largest:g}, too large for 16 bits; keep its 32 bits.")
    kept: NDArray[np.float16] = values.astype(np.float16)
    return kept


def last_part(name: str) -> str:
    """`kernel` of `conv1/kernel:0`."""
    return re.sub(r":\d+$", "", name).rpartition("/")[2]
