"""Train on the real images of the 2018 Data Science Bowl and score on their test part.

    make bench-dsb2018

The bar is StarDist, trained from scratch on the same images for 3,837 CPU seconds: F1 0.855, 0.719 and 0.152
at IoU 0.5, 0.7 and 0.9, pooled over the 88 test images.
"""

import json
import resource
from pathlib import Path

import pytest

from tasks.contract import execute
from tasks.methods.fpn2_ws import train as train_fpn
from tasks.steps import augment, calibrate, ingest, score, segment
from tests import dsb2018

MOST_TRAINING_CPU_SECONDS = 3800
LEAST_F1 = {"0.5": 0.86, "0.7": 0.78, "0.9": 0.36}


@pytest.mark.benchmark_dsb2018
@pytest.mark.skipif(not dsb2018.is_available(), reason="the images aren't there")
def test_f1_on_the_data_science_bowl_is_above_stardist_s(tmp_path: Path, capsys):
    plates = _ingested_plates(tmp_path)
    before = _cpu_seconds()
    rois = execute(
        augment.TASK,
        augment.Params(plates=plates["train"], rois=5000, zoom=2.0, augmentation="Gentle", validation_share=0.1),
        tmp_path,
    )
    trained = execute(
        train_fpn.TASK,
        train_fpn.Params(rois=rois.outputs["rois"], target="both", preset="laptop", initialisation="random", cycles=4),
        tmp_path,
    )
    model = {"method": "fpn2_ws", "networks": [trained.outputs["network"]]}
    calibrated = execute(
        calibrate.TASK,
        calibrate.Params.model_validate({**model, "settings": {"test_time_augmentation": True}}),
        tmp_path,
    )
    training_cpu_seconds = _cpu_seconds() - before
    segmented = [
        execute(
            segment.TASK,
            segment.Params.model_validate({**model, "plate": plate, **calibrated.values}),
            tmp_path,
        )
        for plate in plates["test"]
    ]
    scored = execute(
        score.TASK, score.Params(segmentations=[result.outputs["segmentation"] for result in segmented]), tmp_path
    )
    f1 = {name: value for name, value in sorted(scored.metrics.items()) if name.startswith("f1_at")}
    with capsys.disabled():
        print(json.dumps({"training_cpu_seconds": round(training_cpu_seconds), **calibrated.metrics, **f1}, indent=1))
    assert training_cpu_seconds <= MOST_TRAINING_CPU_SECONDS
    for iou, least in LEAST_F1.items():
        assert f1[f"f1_at_{iou}/all"] >= least


def _ingested_plates(store: Path) -> dict[str, list[str]]:
    """Give the plates by role."""
    plates: dict[str, list[str]] = {"train": [], "test": []}
    for folder in dsb2018.make_plates(store / "inbox"):
        ingested = execute(ingest.TASK, ingest.Params(folder=str(folder)), store)
        plates[json.loads((folder / "plate.json").read_text())["role"]].append(ingested.outputs["plate"])
    return plates


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
