"""Train StarDist (Schmidt et al. 2018) on folders of fields, or segment a folder with it.

Runs in an environment of its own, `make tool TOOL=stardist`; nothing of this project is imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

PATCH_PX = 256
MOST_TILE_PX = 1536
"""Larger fields are segmented in tiles."""
WEIGHTS = "weights_best.h5"
NEEDED = ("config.json", WEIGHTS, "thresholds.json")
"""Files in the folder of a model."""
PERCENTILES = (1, 99.8)
"""Percentiles of the grey values between which images are scaled; StarDist's own."""


def main() -> None:
    args = parse_args()
    if args.work == "train":
        train(args)
    else:
        segment(args.images, args.output, args.model)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    works = parser.add_subparsers(dest="work", required=True)
    training = works.add_parser("train")
    training.add_argument("--train", type=Path, required=True, help="folder with images/ and labels/")
    training.add_argument("--validation", type=Path, required=True, help="the same; may be empty")
    training.add_argument("--model", type=Path, required=True, help="folder to write")
    training.add_argument("--initial", default="", help="folder of a model to resume from")
    training.add_argument("--random-seed", type=int, default=0)
    training.add_argument("--epochs", type=int, default=40)
    training.add_argument("--steps-per-epoch", type=int, default=100)
    training.add_argument("--rays", type=int, default=32)
    segmenting = works.add_parser("segment")
    for name in ("--images", "--output", "--model"):
        segmenting.add_argument(name, type=Path, required=True)
    return parser.parse_args()


def train(args: argparse.Namespace) -> None:
    import numpy as np
    import tensorflow as tf
    from stardist.models import Config2D, StarDist2D

    np.random.seed(args.random_seed)
    tf.random.set_seed(args.random_seed)
    images, labels = read_fields(args.train)
    # A single field can't be shared out.
    validation = read_fields(args.validation) if any((args.validation / "images").iterdir()) else (images, labels)
    side_px = min(PATCH_PX, *(side // 32 * 32 for image in images for side in image.shape))
    config = Config2D(
        n_rays=args.rays,
        grid=(2, 2),
        train_patch_size=(side_px, side_px),
        train_epochs=args.epochs,
        train_steps_per_epoch=args.steps_per_epoch,
        train_tensorboard=False,
    )
    model = StarDist2D(config, name=args.model.name, basedir=str(args.model.parent))
    if args.initial:
        require_model(Path(args.initial))
        model.keras_model.load_weights(Path(args.initial) / WEIGHTS)
    model.train(images, labels, validation_data=validation, augmenter=changed)
    model.optimize_thresholds(*validation)


def changed(image: Any, labels: Any) -> tuple[Any, Any]:
    """Turn and mirror a patch, and change its brightness, contrast and noise."""
    import numpy as np

    turns, is_mirrored = np.random.randint(4), np.random.rand() < 0.5
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if is_mirrored:
        image, labels = np.flipud(image), np.flipud(labels)
    image = image * np.random.uniform(0.7, 1.5) + np.random.uniform(-0.1, 0.1)
    return image + np.random.normal(0, 0.02, image.shape), labels


def require_model(folder: Path) -> None:
    """End where files are missing. StarDist itself would continue with random weights and thresholds of its own."""
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        sys.exit(f"{folder} has no {' and no '.join(missing)}; put all files of a StarDist model there.")


def segment(images: Path, output: Path, model_folder: Path) -> None:
    require_model(model_folder)
    import numpy as np
    import tifffile
    from stardist.models import StarDist2D

    model = StarDist2D(None, name=model_folder.name, basedir=str(model_folder.parent))
    paths = sorted(images.glob("*.tif"))
    for number, path in enumerate(paths, start=1):
        image = scaled(tifffile.imread(path))
        tiles = tuple(-(-side // MOST_TILE_PX) for side in image.shape)
        found, _ = model.predict_instances(image, n_tiles=tiles)
        tifffile.imwrite(output / path.name, found.astype(np.uint32))
        if number % 20 == 0:
            print(f"{number} of {len(paths)} images", flush=True)


def read_fields(folder: Path) -> tuple[list[Any], list[Any]]:
    """Images, scaled, and label images of a folder."""
    import tifffile

    paths = sorted((folder / "images").glob("*.tif"))
    return (
        [scaled(tifffile.imread(path)) for path in paths],
        [tifffile.imread(folder / "labels" / path.name) for path in paths],
    )


def scaled(image: Any) -> Any:
    from csbdeep.utils import normalize

    return normalize(image.astype("float32"), *PERCENTILES)


if __name__ == "__main__":
    main()
