"""Does it pay to choose what is annotated? How many nuclei an F1 takes, ranked against at random.

    python -m tests.benchmarks.active_learning OUT_FOLDER [--group every] [--seeds 0 1 2]

Takes patches of about 25 nuclei of the training images of the Data Science Bowl as if nobody had annotated them: a
plate for each group of them, or for one group alone. A network begins from an encoder that was trained on ImageNet, and
learns from one patch of each plate. Then in every round some more are annotated, which their labels stand for, as many
of each plate: chosen by `choose_patches`, some of them at random, or all at random; the network learns on, and is
scored on the test images. The steps are the pipeline's own.

Prints a line after each round, with the time left, and writes rounds.csv, summary.md and curves.svg. Started again with
the same folder, it resumes where it was, or writes the summary of all seeds after processes that had one each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import resource
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from matplotlib.figure import Figure
from skimage.segmentation import relabel_sequential

from nucleus_dags.local.findings import use_encoder
from tasks.contract import Result, Task, execute
from tasks.methods.fpn2_ws import train as train_fpn2_ws
from tasks.nuclei.figures.style import colours_of
from tasks.nuclei.patch_grid import patch_grid
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_image, read_label_image, write_label_image
from tasks.nuclei.plates.wells import Well
from tasks.nuclei.scoring import OBJECT_LEVEL_IOU
from tasks.nuclei.tables import read_csv, write_csv
from tasks.recipes import real_plates
from tasks.recipes.real_plates import DATA, DSB2018
from tasks.steps import augment, choose_patches, ingest, score, segment

EVERY_GROUP = "every"
RANKED, AT_RANDOM = ARMS = ("ranked", "at random")
F1_WANTED = 0.8
# Those that `calibrate` chose for most groups of the base model; to choose them anew in every round costs as much as
# the training.
SETTINGS = {"marker_threshold": 0.3}

log = logging.getLogger("nucleus")


@dataclass(frozen=True)
class Setting:
    """What is tried. All but the group and seeds decide what it costs."""

    group: str = EVERY_GROUP
    seeds: tuple[int, ...] = (0, 1, 2)
    rounds: int = 5
    nuclei_per_patch: int = 25
    pool_patches: int = 48
    """So many of all are a plate, drawn at random once."""
    first_patches: int = 1
    """Of each plate."""
    patches_per_round: int = 4
    """Of each plate."""
    first_rois: int = 1200
    rois_per_round: int = 400


@dataclass(frozen=True)
class Pool:
    """The patches of a group that may be annotated."""

    group: str
    plate: str
    """The patches without labels, as imported."""
    labelled: Path
    """Folder with the same patches and their labels, which isn't imported."""

    def nuclei(self, names: Sequence[str]) -> int:
        return sum(int(read_label_image(self.labelled / "labels" / f"{name}.tif").max()) for name in names)


@dataclass(frozen=True)
class Images:
    pools: tuple[Pool, ...]
    test: tuple[str, ...]
    """Imported plates."""


Known = Mapping[str, Sequence[str]]
"""Names of the patches that are annotated, by their group."""


@dataclass
class Bench:
    """Runs steps in a store, and counts what they cost."""

    out_folder: Path
    setting: Setting
    trainings: int = 0
    seconds: list[float] = field(default_factory=list)
    """Of each round that wasn't there before, on the clock."""

    @property
    def store(self) -> Path:
        return self.out_folder / "store"

    def done(self, task: Task[Any], params: dict[str, Any]) -> Result:
        before = _cpu_seconds()
        result = execute(task, task.params_type.model_validate(params), self.store)
        cost = self.store / f"cpu-seconds-{task.name}-{result.key}.json"
        if not cost.exists():
            cost.write_text(json.dumps(_cpu_seconds() - before))
        return result

    def cpu_hours(self) -> float:
        return sum(json.loads(path.read_text()) for path in self.store.glob("cpu-seconds-*.json")) / 3600

    def progress(self) -> str:
        """Say how far it is; the time left is known after the first training of this start."""
        in_all = len(self.setting.seeds) * (1 + len(ARMS) * self.setting.rounds)
        said = f"{self.trainings} of {in_all} trainings, {self.cpu_hours():.2f} CPU hours"
        if not self.seconds:
            return said
        return f"{said}, about {np.mean(self.seconds) * (in_all - self.trainings) / 3600:.1f} h left"


def rows(images: Images, bench: Bench) -> Iterator[dict[str, Any]]:
    """Go through all rounds of all seeds, both arms in turns; gives a row after each training."""
    setting = bench.setting
    for seed in setting.seeds:
        orders = {pool.group: _in_random_order(pool, bench, seed) for pool in images.pools}
        first: Known = {group: order[: setting.first_patches] for group, order in orders.items()}
        networks = [_trained(first, "imagenet", images, bench, seed)]
        yield _row(seed, "start", 0, first, networks[0], images, bench)
        known, trained = dict.fromkeys(ARMS, first), dict.fromkeys(ARMS, networks)
        for number in range(1, setting.rounds + 1):
            for arm in ARMS:
                if arm == RANKED:
                    added = _ranked(known[arm], trained[arm][-2:], images, bench, 100 * seed + number)
                else:
                    added = {
                        group: [name for name in order if name not in known[arm][group]][: setting.patches_per_round]
                        for group, order in orders.items()
                    }
                known[arm] = {group: [*names, *added[group]] for group, names in known[arm].items()}
                network = _trained(known[arm], trained[arm][-1], images, bench, seed)
                trained[arm] = [*trained[arm], network]
                yield _row(seed, arm, number, known[arm], network, images, bench)


def _in_random_order(pool: Pool, bench: Bench, seed: int) -> list[str]:
    names = [fov.name for fov in open_plate(bench.store / pool.plate).fovs]
    return [str(name) for name in np.random.default_rng(seed).permutation(names)]


def _trained(known: Known, initialisation: str, images: Images, bench: Bench, seed: int) -> str:
    """Train a network on the patches that are annotated; gives its path."""
    is_first = initialisation == "imagenet"
    cut = {
        **augment.PRESETS["laptop"],
        "plates": [_annotated(pool, known[pool.group], bench) for pool in images.pools],
        "rois": bench.setting.first_rois if is_first else bench.setting.rois_per_round,
        # All that is annotated is learnt from.
        "split": "paper",
        "validation_share": 0.1,
        "random_seed": seed,
    }
    training = {
        "rois": bench.done(augment.TASK, cut).outputs["rois"],
        "target": "all",
        "preset": "laptop",
        "initialisation": initialisation,
        "cycles": 1,
        "random_seed": seed,
    }
    bench.trainings += 1
    later = {} if is_first else {"learning_rate": 1e-3}
    return bench.done(train_fpn2_ws.TASK, training | later).outputs["network"]


def _ranked(
    known: Known, networks: Sequence[str], images: Images, bench: Bench, random_seed: int
) -> dict[str, list[str]]:
    """Choose patches by the last network, with and without test-time augmentation, and the one before it."""
    chosen = {}
    for pool in images.pools:
        segmentations = [_segmented(network, pool.plate, bench) for network in reversed(networks)]
        segmentations.append(_segmented(networks[-1], pool.plate, bench, test_time_augmentation=True))
        params = {
            "plate": pool.plate,
            "segmentations": segmentations,
            "references": [_annotated(pool, known[pool.group], bench)],
            "amount": bench.setting.patches_per_round,
            # A field of the pool is a patch.
            "nuclei_per_patch": 10_000,
            "random_seed": random_seed,
        }
        patches = bench.done(choose_patches.TASK, params).outputs["patches"]
        chosen[pool.group] = read_csv(bench.store / patches, {"fov": str})["fov"].to_list()
    return chosen


def _segmented(network: str, plate: str, bench: Bench, **settings: Any) -> str:
    params = {"method": "fpn2_ws", "networks": [network], "settings": SETTINGS | settings, "plate": plate}
    return bench.done(segment.TASK, params).outputs["segmentation"]


def _row(seed: int, arm: str, number: int, known: Known, network: str, images: Images, bench: Bench) -> dict[str, Any]:
    """Score a network on the test images."""
    segmentations = [_segmented(network, plate, bench) for plate in images.test]
    scores = bench.done(score.TASK, {"segmentations": segmentations}).outputs["scores"]
    table = read_csv(bench.store / scores / "f1.csv")
    at = table[(table["group"] == "all") & (table["iou_threshold"] == OBJECT_LEVEL_IOU)].iloc[0]
    f1 = {column: round(float(at[column]), 4) for column in ("f1", "f1_low", "f1_high")}
    patches = sum(len(names) for names in known.values())
    nuclei = sum(pool.nuclei(known[pool.group]) for pool in images.pools)
    return {"seed": seed, "arm": arm, "round": number, "patches": patches, "nuclei": nuclei, **f1}


def _annotated(pool: Pool, names: Sequence[str], bench: Bench) -> str:
    """Import a plate of annotated patches; gives its path in the store."""
    name = f"{pool.group}-{hashlib.sha256('/'.join(sorted(names)).encode()).hexdigest()[:12]}"
    folder = bench.out_folder / "inbox" / name
    for part in real_plates.PARTS:
        (folder / part).mkdir(parents=True, exist_ok=True)
        for patch in names:
            shutil.copyfile(pool.labelled / part / f"{patch}.tif", folder / part / f"{patch}.tif")
    info = {
        "name": name,
        "cell_line": pool.group,
        "role": "train",
        "replicate": "technical",
        "annotation": "manual",
    }
    return _imported(folder, info, bench)


def _imported(folder: Path, info: dict[str, Any], bench: Bench) -> str:
    """Import a plate; a second time with its doubts confirmed, if there are any, as a person would."""
    given = {"objective": "unknown", "binning": 1, "pixel_size_um": 1.0} | info
    for confirmed in ({}, {"labels_confirmed": True}):
        (folder / "plate.json").write_text(json.dumps(given | confirmed))
        result = bench.done(ingest.TASK, {"folder": str(folder)})
        if not result.counts["doubts"]:
            break
    return result.outputs["plate"]


def prepared(bench: Bench, data: Path) -> Images:
    """Cut the training images of the groups into patches, and import these without labels, and the test images."""
    wanted, inbox = bench.setting.group, bench.out_folder / "inbox"
    plates = [plate for plate in real_plates.plates_of(DSB2018, data) if wanted in (plate.cell_line, EVERY_GROUP)]
    pools = tuple(_pool(plate, bench) for plate in plates if plate.role == "train")
    tested = [inbox / plate.name for plate in plates if plate.role == "test"]
    for plate in plates:
        # Processes with other seeds may share the folder.
        if plate.role == "test" and not (inbox / plate.name / "plate.json").exists():
            real_plates.make_plate(plate, inbox)
    infos = [json.loads((folder / "plate.json").read_text()) for folder in tested]
    return Images(pools, tuple(_imported(*one, bench) for one in zip(tested, infos, strict=True)))


def _pool(plate: real_plates.RealPlate, bench: Bench) -> Pool:
    """Cut a plate into patches and import some of them without their labels."""
    name = f"{plate.cell_line}-pool"
    labelled, folder = bench.out_folder / "patches" / plate.cell_line, bench.out_folder / "inbox" / name
    if not (folder / "plate.json").exists():
        _cut(real_plates.make_plate(plate, bench.out_folder / "whole"), labelled, bench.setting.nuclei_per_patch)
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "images").mkdir(parents=True)
        patches = sorted(path.name for path in (labelled / "images").iterdir())
        for patch in np.random.default_rng(0).permutation(patches)[: bench.setting.pool_patches]:
            shutil.copy(labelled / "images" / patch, folder / "images")
    info = {"name": name, "cell_line": plate.cell_line, "role": "screen"}
    return Pool(plate.cell_line, _imported(folder, info, bench), labelled)


def _cut(plate: Path, out_folder: Path, nuclei_per_patch: int) -> None:
    """Cut fields into patches, named as if every field were a well and every patch a site."""
    for part in real_plates.PARTS:
        (out_folder / part).mkdir(parents=True, exist_ok=True)
    for number, fov in enumerate(open_plate(plate).fovs):
        assert fov.labels_path is not None
        image, label_image = read_image(fov.image_path), read_label_image(fov.labels_path)
        well = Well(*divmod(number, 24)).name
        height, width = image.shape
        for site, patch in enumerate(patch_grid(label_image, height, width, nuclei_per_patch), start=1):
            name = f"dsb_{well}_{site}.tif"
            tifffile.imwrite(out_folder / "images" / name, patch.of(image))
            write_label_image(out_folder / "labels" / name, relabel_sequential(patch.of(label_image))[0])


def nuclei_needed(curve: pd.DataFrame, f1: float) -> float | None:
    """Give how many nuclei an F1 took, between two rounds on a straight line; None if it isn't reached.

    `curve` has nuclei and f1, in the order of the rounds.
    """
    before = None
    for point in curve.to_dict("records"):
        if point["f1"] >= f1:
            if before is None:
                return float(point["nuclei"])
            share = (f1 - before["f1"]) / (point["f1"] - before["f1"])
            return float(before["nuclei"] + share * (point["nuclei"] - before["nuclei"]))
        before = point
    return None


def summary(table: pd.DataFrame) -> str:
    """Give a table in Markdown of the means over seeds, round by round, and how many nuclei each seed needed."""
    lines = ["| round | seeds | nuclei, ranked | F1 | nuclei, at random | F1 | difference |", "|---" * 7 + "|"]
    done = table.pivot_table(index=["round", "seed"], columns="arm", values=["f1", "nuclei"]).reindex(
        columns=pd.MultiIndex.from_product([["f1", "nuclei"], ARMS])
    )
    for number, of_round in done.dropna().groupby("round"):
        f1, nuclei = of_round["f1"], of_round["nuclei"]
        difference = f1[RANKED] - f1[AT_RANDOM]
        cells = [f"{nuclei[arm].mean():.0f} | {f1[arm].mean():.3f}" for arm in ARMS]
        spread = f" ± {difference.std():.3f}" if len(difference) > 1 else ""
        lines.append(f"| {number} | {len(f1)} | {' | '.join(cells)} | {difference.mean():+.3f}{spread} |")
    return "\n".join([*lines, "", *_needs(table)])


def _needs(table: pd.DataFrame) -> Iterator[str]:
    """Give the lines of a table: nuclei that the F1 that is wanted took, and the highest that all curves reach."""
    curves = {
        (seed, arm): of_seed[of_seed["arm"].isin(("start", arm))].sort_values("round")
        for seed, of_seed in table.groupby("seed")
        for arm in ARMS
    }
    reached_by_all = math.floor(100 * min(curve["f1"].max() for curve in curves.values())) / 100
    levels = sorted({reached_by_all, F1_WANTED})
    columns = ["seed", "patches", "nuclei in all", *(f"for F1 {level} at {OBJECT_LEVEL_IOU}" for level in levels)]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for (seed, arm), curve in curves.items():
        needed = [nuclei_needed(curve, level) for level in levels]
        told = [f"{nuclei:.0f}" if nuclei is not None else "not reached" for nuclei in needed]
        yield f"| {seed} | {arm} | {curve['nuclei'].max()} | {' | '.join(told)} |"


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw F1 over annotated nuclei, a panel for each seed."""
    seeds, colours = sorted(table["seed"].unique()), colours_of(ARMS)
    figure = Figure(figsize=(3.2 * len(seeds), 3), layout="constrained")
    panels = figure.subplots(1, len(seeds), sharex=True, sharey=True, squeeze=False)[0]
    for axes, seed in zip(panels, seeds, strict=True):
        for arm in ARMS:
            curve = table[(table["seed"] == seed) & table["arm"].isin(("start", arm))].sort_values("round")
            axes.plot(curve["nuclei"], curve["f1"], "o-", color=colours[arm], label=arm)
        axes.axhline(F1_WANTED, color="0.6", linestyle="--", linewidth=1)
        axes.set_title(f"seed {seed}")
        axes.set_xlabel("annotated nuclei")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(f"F1 at {OBJECT_LEVEL_IOU}, test images")
    panels[-1].legend(frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.active_learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    for one in fields(Setting):
        kind = str if one.name == "group" else int
        several = "+" if one.name == "seeds" else None
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=kind, default=one.default, nargs=several)
    given = vars(parser.parse_args())
    out_folder, data = given.pop("out_folder").resolve(), given.pop("data").resolve()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    use_encoder(data, out_folder / "weights")
    bench = Bench(out_folder, Setting(**given | {"seeds": tuple(given["seeds"])}))
    table, done_before, since = pd.DataFrame(), bench.cpu_hours(), time.monotonic()
    for row in rows(prepared(bench, data), bench):
        if bench.cpu_hours() > done_before:
            bench.seconds.append(time.monotonic() - since)
        done_before, since = bench.cpu_hours(), time.monotonic()
        table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
        print(f"{row} | {bench.progress()}", flush=True)
        write_csv(table, out_folder / "rounds.csv")
        (out_folder / "summary.md").write_text(summary(table))
        draw(table, out_folder / "curves.svg")
    print(summary(table))


if __name__ == "__main__":
    main()
