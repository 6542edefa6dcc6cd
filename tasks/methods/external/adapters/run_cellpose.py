"""Train Cellpose 3 (Stringer et al. 2021, 2025) on folders of fields, or segment a folder with it.

Runs in an environment of its own, `make tool TOOL=cellpose`; nothing of this project is imported.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

WEIGHTS = "weights"
"""File in the folder of a model. It knows the diameter of the nuclei that the model was trained on."""
GREY = [0, 0]
"""Cellpose's channels for images with nuclei only."""
USUAL_DIAMETER_PX = 17.0
"""Images are resized so that nuclei have this diameter, that of Cellpose's models for nuclei."""


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
    training.add_argument("--epochs", type=int, default=200)
    segmenting = works.add_parser("segment")
    for name in ("--images", "--output", "--model"):
        segmenting.add_argument(name, type=Path, required=True)
    return parser.parse_args()


def train(args: argparse.Namespace) -> None:
    import numpy as np
    import torch
    from cellpose.train import train_seg

    np.random.seed(args.random_seed)
    torch.manual_seed(args.random_seed)
    images, labels = read_fields(args.train)
    validation = read_fields(args.validation) if any((args.validation / "images").iterdir()) else (None, None)
    model = cellpose_model(weights_in(Path(args.initial)) if args.initial else None)
    (args.model / "training").mkdir()
    made, *_ = train_seg(
        model.net,
        train_data=images,
        train_labels=labels,
        test_data=validation[0],
        test_labels=validation[1],
        channels=GREY,
        n_epochs=args.epochs,
        min_train_masks=1,
        save_path=args.model / "training",
        model_name=WEIGHTS,
    )
    shutil.move(made, args.model / WEIGHTS)
    shutil.rmtree(args.model / "training")


def segment(images: Path, output: Path, model_folder: Path) -> None:
    weights = weights_in(model_folder)
    import numpy as np
    import tifffile

    model = cellpose_model(weights)
    paths = sorted(images.glob("*.tif"))
    for number, path in enumerate(paths, start=1):
        found = model.eval(tifffile.imread(path), channels=GREY, diameter=None)[0]
        tifffile.imwrite(output / path.name, found.astype(np.uint32))
        if number % 20 == 0:
            print(f"{number} of {len(paths)} images", flush=True)


def weights_in(model_folder: Path) -> Path:
    """Give the file of weights. Cellpose itself would take another model of its own where there is none."""
    if not (model_folder / WEIGHTS).is_file():
        sys.exit(f"{model_folder} has no file {WEIGHTS}; put Cellpose's file there under this name.")
    return model_folder / WEIGHTS


def cellpose_model(weights: Path | None) -> Any:
    """Cellpose with these weights, or with random ones."""
    import torch
    from cellpose.models import CellposeModel

    return CellposeModel(
        gpu=torch.cuda.is_available(), pretrained_model=str(weights) if weights else False, diam_mean=USUAL_DIAMETER_PX
    )


def read_fields(folder: Path) -> tuple[list[Any], list[Any]]:
    """Images and label images of a folder."""
    import tifffile

    paths = sorted((folder / "images").glob("*.tif"))
    return (
        [tifffile.imread(path) for path in paths],
        [tifffile.imread(folder / "labels" / path.name) for path in paths],
    )


if __name__ == "__main__":
    main()
