"""A sheet of training ROIs with their targets, for inspection by eye."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tasks.nuclei.roi_file import RoiReader

ROIS_PER_ROW = 4


def write_contact_sheet(rois: Path, sheet: Path, amount: int, random_seed: int) -> None:
    """Draw `amount` ROIs of a ROI file, chosen at random, as a PNG: image, distance map, blurred border.

    What is ignored is dark in all three.
    """
    reader = RoiReader(rois, leaves_out_ignored=True)
    rows = np.concatenate([reader.training_rows, reader.validation_rows])
    chosen = np.random.default_rng(random_seed).permutation(rows)[:amount].tolist()
    tiles = [_triptych(reader, row) for row in chosen]
    while len(tiles) % ROIS_PER_ROW:
        tiles.append(np.full_like(tiles[0], 255))
    grid = np.vstack([np.hstack(tiles[i : i + ROIS_PER_ROW]) for i in range(0, len(tiles), ROIS_PER_ROW)])
    figure = Figure(figsize=(grid.shape[1] / 200, grid.shape[0] / 200 + 0.4), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set_title(f"{len(chosen)} of {len(rows)} ROIs: image, distance map, blurred border")
    axes.set_axis_off()
    figure.savefig(sheet, dpi=200)


def _triptych(reader: RoiReader, row: int) -> NDArray[np.uint8]:
    border = reader.target(row, "blurred_border")
    # The blurred border peaks near 0.4; it is stretched so that it can be seen.
    bright_border = np.clip(border.astype(np.uint16) * 2, 0, 255).astype(np.uint8)
    image = np.rint(reader.image(row)).astype(np.uint8)
    tiles = np.hstack([image, reader.target(row, "distance_map"), bright_border])
    if reader.has_ignored:
        tiles = np.where(np.hstack([reader.ignored(row)] * 3), tiles // 3, tiles)
    return np.pad(tiles, 3, constant_values=255)
