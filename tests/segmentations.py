"""What `segment` leaves in the store, made without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.nuclei.measure import nuclei_table
from tasks.nuclei.plates.files import Plate
from tasks.nuclei.plates.image_files import read_image, write_label_image
from tasks.nuclei.segmentation import Nuclei
from tests.stored_results import store_result


def add_part(
    store: Path,
    key: str,
    plate: Plate,
    label_images: Mapping[str, NDArray[Any]],
    changes: Mapping[str, Any] = {},
    confidences: Mapping[str, Sequence[float]] = {},
) -> str:
    """Write label images of some fields, their table and result.json; gives the path in the store.

    `changes` replace params of the part; nuclei of fields without `confidences` have none.
    """
    path = f"segment/{key}"
    (store / path / "labels").mkdir(parents=True)
    tables = []
    for fov in plate.fovs:
        if fov.name in label_images:
            label_image = label_images[fov.name]
            write_label_image(store / path / "labels" / f"{fov.name}.tif", label_image, plate.info.pixel_size_um)
            where = {"plate": plate.info.name, "well": fov.well, "site": fov.site, "fov": fov.name}
            none = np.full(int(label_image.max()), np.nan)
            found = Nuclei(label_image, np.asarray(confidences.get(fov.name, none), np.float32))
            tables.append(nuclei_table(found, read_image(fov.image_path)).assign(**where))
    columns = ["plate", "well", "site", "fov"]
    nuclei = pd.concat(tables, ignore_index=True)
    nuclei[columns + [name for name in nuclei.columns if name not in columns]].to_csv(
        store / path / "nuclei.csv", index=False
    )
    params = {
        "method": "fpn2_ws",
        "networks": ["network"],
        "settings": {},
        "plate": plate.folder.name,
        "fovs": list(label_images),
        **changes,
    }
    store_result(store, path, params, {"segmentation": path})
    return path
