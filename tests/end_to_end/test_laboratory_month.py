"""A month in a laboratory, in small: plates arrive, models are trained, judged, approved, refused and rolled back.

With a real Airflow, its watcher of the inbox, and a real MLflow.
"""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import psutil
import pytest
import tifffile
from skimage.segmentation import expand_labels

from nucleus_dags.airflow_api import AirflowApiError
from nucleus_dags.local import servers as local_servers
from nucleus_dags.plates.stored import newest_plates
from tests.end_to_end.laboratory import MODEL, Laboratory, laboratory
from tests.synthetic_plates import make_synthetic_plate

pytestmark = [pytest.mark.long, pytest.mark.timeout(3000)]

APPROVED_BY_PERSON: dict[str, Any] = {"cycles": 3, "approval": "by_person"}


class Month(Laboratory):
    """What happens in a month."""

    def make_plate(self, name: str, role: str, random_seed: int) -> Path:
        """Make a plate beside the inbox."""
        made_for = "train" if role == "screen" else role
        folder = self.home.folder / "beside" / name
        # The gate decides nothing on a few dozen test nuclei.
        fovs = 8 if role == "test" else 2
        plate = make_synthetic_plate(
            folder, role=made_for, random_seed=random_seed, height_px=512, width_px=512, fovs=fovs
        )
        if role == "screen":
            info = json.loads((plate / "plate.json").read_text())
            (plate / "plate.json").write_text(json.dumps(info | {"role": role}))
            shutil.rmtree(plate / "labels")
        return plate

    def arrive(self, plate: Path) -> None:
        plate.rename(self.home.inbox / plate.name)

    def imported(self, role: str) -> list[str]:
        return [plate.name for plate in newest_plates(self.home.store, role)]

    def handled(self, name: str) -> bool:
        """Whether ingest_plates is done with a plate: it imported it and told of it."""
        return any(self.home.store.glob(f"arrivals/{name}/*.json"))

    def is_asked(self, dag_run_id: str) -> bool:
        return self.states("retrain_champion", dag_run_id).get("approve") in ("deferred", "awaiting_input")

    def answer(self, dag_run_id: str, option: str) -> None:
        """Wait until the approval is asked for, and answer as the page does."""
        path = f"dags/retrain_champion/dagRuns/{quote(dag_run_id)}/taskInstances/approve/-1/hitlDetails"
        self.wait_until(lambda: self.is_asked(dag_run_id), "approval is asked")
        # Answered within the second, the task may be asked for again: Airflow hasn't seen yet that it waits.
        time.sleep(10)
        question = self.api.call("GET", path)
        assert "become champion?" in question["subject"]
        assert "passed the gate" in question["body"]
        with pytest.raises(AirflowApiError, match=r"Write why you approve or reject.*Nothing was decided yet"):
            self.api.call("PATCH", path, {"chosen_options": [option], "params_input": {"reason": " "}})
        assert self.is_asked(dag_run_id)
        self.api.call("PATCH", path, {"chosen_options": [option], "params_input": {"reason": "I looked at it."}})

    def running(self, dag_id: str, dag_run_id: str) -> set[str]:
        return {task for task, state in self.states(dag_id, dag_run_id).items() if state == "running"}

    def kill_scheduler(self) -> None:
        servers = self.home.read_servers()
        assert servers is not None
        scheduler = psutil.Process(servers.processes["scheduler"].pid)
        scheduler.kill()
        scheduler.wait(30)

    def kill_a_part_of(self, dag_run_id: str) -> None:
        """Kill one process of `segment`, and see that the run ends well after one more try of this part alone."""
        found: list[psutil.Process] = []

        def find() -> bool:
            for process in psutil.process_iter(["cmdline"]):
                line = " ".join(process.info["cmdline"] or [])
                if "tasks.steps.segment" in line and f"/{dag_run_id}/segment/1.json" in line:
                    found.append(process)
            return bool(found)

        self.wait_until(find, "the second part runs")
        found[0].kill()
        self.finish_well("segment_plate", dag_run_id)
        parts = [i for i in self.api.task_instances("segment_plate", dag_run_id) if i["task_id"] == "segment"]
        assert {part["map_index"]: part["try_number"] for part in parts} == {0: 1, 1: 2}

    def tags(self, version: int) -> dict[str, str]:
        return dict(self.mlflow.get_model_version(MODEL, str(version)).tags)

    def segmented_by(self, dag_run_id: str) -> str:
        """Give what the label images of a segmented plate say of their model."""
        (assembled,) = self.results("segment_plate", dag_run_id)["assemble_plate"]
        labels = self.home.store / assembled["outputs"]["assembled"] / "labels"
        texts = set()
        for path in labels.iterdir():
            with tifffile.TiffFile(path) as tiff:
                texts.add((tiff.imagej_metadata or {})["Info"])
        (text,) = texts
        return text


class SpoiledPlate(NamedTuple):
    """A plate that arrived with labels in wrong places."""

    right: Path
    """The plate as it should have been."""
    runs_before: set[str]
    """DAG runs of retrain_champion that are older than the arrival."""
    retraining: str
    """The DAG run that the arrival started."""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Month]:
    monkeypatch.setenv("NUCLEUS_INBOX_QUIET_S", "2")
    (tmp_path / "nucleus" / "beside").mkdir(parents=True)
    with laboratory(tmp_path / "nucleus") as started:
        yield Month(started.home, started.servers)


def widen_labels(plate: Path) -> None:
    """Spoil a plate as a broad brush would: no check tells that from right outlines, and F1 at 0.7 suffers."""
    for path in (plate / "labels").iterdir():
        tifffile.imwrite(path, expand_labels(tifffile.imread(path), distance=12))


def test_a_month(lab: Month) -> None:
    lab.unpause("ingest_plates")
    plates_arrive_and_a_faulty_one_is_set_aside(lab)
    a_screening_plate_is_segmented_by_the_base_model_when_it_arrives(lab)
    a_model_of_the_laboratorys_own_becomes_champion(lab)
    a_person_rejects_a_challenger_that_passed_the_gate(lab)
    the_same_again_is_skipped_unless_asked_for_and_is_approved(lab)
    spoiled = a_spoiled_plate_starts_a_retraining_when_it_arrives(lab)
    the_scheduler_is_killed_and_the_corrected_labels_arrive_meanwhile(lab, spoiled)
    the_gate_refuses_the_challenger_of_the_spoiled_labels(lab, spoiled)
    the_corrected_labels_are_trained_on_next(lab, spoiled)
    runs = the_same_plate_again_changes_nothing(lab, spoiled)
    two_plates_that_arrive_at_once_start_one_retraining(lab, runs)
    all_versions_are_compared_on_the_test_plate(lab)
    mlflow_knows_all_runs_as_ended(lab)
    lab.kill_a_part_of(lab.api.trigger("segment_plate", {"plate": "screened", "model": "2", "fovs_per_part": 1}))
    the_base_model_becomes_champion_again(lab)


def plates_arrive_and_a_faulty_one_is_set_aside(lab: Month) -> None:
    lab.arrive(lab.make_plate("first", "train", 1))
    lab.arrive(lab.make_plate("held-out", "test", 100))
    faulty = lab.make_plate("faulty", "train", 9)
    image = next((faulty / "images").iterdir())
    colours = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    tifffile.imwrite(image, colours, photometric="rgb")
    lab.arrive(faulty)
    lab.wait_until(lambda: lab.handled("first") and lab.handled("held-out"), "two plates are imported")
    lab.wait_until(lambda: not (lab.home.inbox / "faulty").exists(), "the faulty plate is set aside")
    (report,) = (lab.home.inbox / "rejected").glob("faulty-*.txt")
    assert "colour" in report.read_text()
    assert (lab.imported("train"), lab.imported("test")) == (["first"], ["held-out"])


def a_model_of_the_laboratorys_own_becomes_champion(lab: Month) -> None:
    """It is hardly trained and finds nothing yet, so that what follows doesn't depend on the base model."""
    plates = {"train_plates": ["first"], "test_plates": ["held-out"]}
    lab.run("train_models", **plates, rois=320, cycles=1, initialisation="random")
    lab.run("promote_model", version=2, reason="the first of the laboratory's own")
    assert lab.champion() == 2


def a_screening_plate_is_segmented_by_the_base_model_when_it_arrives(lab: Month) -> None:
    assert lab.champion() == 1
    lab.arrive(lab.make_plate("screened", "screen", 50))
    lab.wait_until(lambda: lab.run_ids("segment_plate") != [], "the screening plate is segmented")
    (arrived,) = lab.run_ids("segment_plate")
    lab.finish_well("segment_plate", arrived)
    assert lab.segmented_by(arrived).startswith("nucleus-segmenter version 1, ")


def a_person_rejects_a_challenger_that_passed_the_gate(lab: Month) -> None:
    """It is trained on a second plate."""
    lab.arrive(lab.make_plate("second", "train", 2))
    lab.wait_until(lambda: lab.handled("second"), "the second plate is imported")
    lab.unpause("retrain_champion")
    refused = lab.api.trigger("retrain_champion", APPROVED_BY_PERSON)
    lab.wait_until(lambda: lab.is_asked(refused), "approval is asked")
    assert lab.note("retrain_champion", refused).startswith("⏳ Version 3 passed the gate. Approve or reject it")
    lab.answer(refused, "Reject")
    lab.finish_well("retrain_champion", refused)
    assert lab.note("retrain_champion", refused).startswith("A challenger passed the gate, but admin rejected it: I")
    assert lab.champion() == 2
    (rejection,) = (text for name, text in lab.tags(3).items() if name.startswith("rejection/"))
    assert rejection.startswith("admin rejected it: I looked at it (DAG run ")
    assert "challenger" not in lab.mlflow.get_registered_model(MODEL).aliases
    # What arrived while retraining was paused has started none by itself.
    assert lab.run_ids("retrain_champion") == [refused]


def the_same_again_is_skipped_unless_asked_for_and_is_approved(lab: Month) -> None:
    skipped = lab.run("retrain_champion", **APPROVED_BY_PERSON)
    assert lab.states("retrain_champion", skipped)["plan"] == "skipped"
    approved = lab.api.trigger("retrain_champion", APPROVED_BY_PERSON | {"also_without_news": True})
    lab.answer(approved, "Approve")
    lab.finish_well("retrain_champion", approved)
    assert lab.champion() == 4
    assert lab.note("retrain_champion", approved).startswith(
        "Version 4 is champion, approved by admin: I looked at it."
    )
    tags = lab.mlflow.get_model_version(MODEL, "4").tags
    promotions = [text for name, text in tags.items() if name.startswith("promotion/")]
    assert sum(", approved by admin: I looked at it (DAG run " in text for text in promotions) == 1
    assert lab.segmented_by(lab.run("segment_plate", plate="screened")).startswith("nucleus-segmenter version 4, ")


def a_spoiled_plate_starts_a_retraining_when_it_arrives(lab: Month) -> SpoiledPlate:
    before = set(lab.run_ids("retrain_champion"))
    spoiled = lab.make_plate("spoiled", "train", 4)
    right = shutil.copytree(spoiled, lab.home.folder / "beside" / "right")
    widen_labels(spoiled)
    lab.arrive(spoiled)
    lab.wait_until(lambda: set(lab.run_ids("retrain_champion")) > before, "the arrival starts a retraining")
    (by_arrival,) = set(lab.run_ids("retrain_champion")) - before
    return SpoiledPlate(right, before, by_arrival)


def the_scheduler_is_killed_and_the_corrected_labels_arrive_meanwhile(lab: Month, spoiled: SpoiledPlate) -> None:
    lab.wait_until(lambda: "train" in lab.running("retrain_champion", spoiled.retraining), "the training runs")
    lab.kill_scheduler()
    shutil.copytree(spoiled.right, lab.home.inbox / "spoiled", dirs_exist_ok=True)
    local_servers.up(lab.home)


def the_gate_refuses_the_challenger_of_the_spoiled_labels(lab: Month, spoiled: SpoiledPlate) -> None:
    lab.finish_well("retrain_champion", spoiled.retraining)
    note = lab.note("retrain_champion", spoiled.retraining)
    assert note.startswith("No candidate passed the gate; the champion stays.")
    assert "no cell line loses: MCF10A: f1_at_0.7" in note
    assert "held-out (" in note
    assert lab.champion() == 4
    assert lab.tags(5)["gate"] == "failed"
    assert {name for name in lab.tags(5) if name.startswith("plate/")} == {
        "plate/first",
        "plate/second",
        "plate/spoiled",
    }


def the_corrected_labels_are_trained_on_next(lab: Month, spoiled: SpoiledPlate) -> None:
    """They came during the training, and take the place of the spoiled ones."""
    lab.wait_until(
        lambda: len(lab.run_ids("retrain_champion")) > len(spoiled.runs_before) + 1,
        "the corrected labels are trained on",
    )
    (corrected,) = set(lab.run_ids("retrain_champion")) - spoiled.runs_before - {spoiled.retraining}
    lab.finish_well("retrain_champion", corrected)
    tags = lab.mlflow.get_model_version(MODEL, "6").tags
    assert tags["gate"] in ("passed", "failed", "undecided")
    (spoiled_version, right_version) = (tags_of["plate/spoiled"] for tags_of in (lab.tags(5), tags))
    assert spoiled_version != right_version
    assert newest_plates(lab.home.store, "train")[-1].path == f"ingest/spoiled@{right_version}"


def the_same_plate_again_changes_nothing(lab: Month, spoiled: SpoiledPlate) -> int:
    """It is copied and moved in a second time, and looked at. Give the number of retrainings."""
    runs, ingests = (len(lab.run_ids(dag_id)) for dag_id in ("retrain_champion", "ingest_plates"))
    again = shutil.copytree(spoiled.right, lab.home.folder / "beside" / "again", copy_function=shutil.copyfile)
    shutil.rmtree(lab.home.inbox / "spoiled")
    again.rename(lab.home.inbox / "spoiled")
    lab.wait_until(lambda: len(lab.run_ids("ingest_plates")) > ingests, "the folder is looked at again")
    for run_id in lab.run_ids("ingest_plates"):
        lab.finish_well("ingest_plates", run_id)
    assert len(lab.run_ids("retrain_champion")) == runs
    return runs


def two_plates_that_arrive_at_once_start_one_retraining(lab: Month, runs: int) -> None:
    twins = [lab.make_plate(name, "train", seed) for name, seed in (("twin-1", 5), ("twin-2", 6))]
    for twin in twins:
        lab.arrive(twin)
    lab.wait_until(lambda: len(lab.run_ids("retrain_champion")) > runs, "two arrivals start a retraining")
    for run_id in lab.run_ids("retrain_champion"):
        lab.finish_well("retrain_champion", run_id)
    assert len(lab.run_ids("retrain_champion")) == runs + 1
    assert {"plate/twin-1", "plate/twin-2"} <= set(lab.tags(7))
    lab.pause("retrain_champion")


def all_versions_are_compared_on_the_test_plate(lab: Month) -> None:
    lab.unpause("compare_models")
    compared = lab.run("compare_models")
    assert lab.note("compare_models", compared).startswith("7 versions on 1 test plates: ")
    lab.pause("compare_models")


def mlflow_knows_all_runs_as_ended(lab: Month) -> None:
    """A candidate's run lies below that of its DAG run."""
    experiment = lab.mlflow.get_experiment_by_name("retraining")
    assert experiment is not None
    runs_in_mlflow = lab.mlflow.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs_in_mlflow} == {"FINISHED"}
    assert sum("mlflow.parentRunId" in run.data.tags for run in runs_in_mlflow) == len(runs_in_mlflow) / 2


def the_base_model_becomes_champion_again(lab: Month) -> None:
    lab.run("promote_model", version=1, reason="to compare with the beginning of the month")
    assert lab.champion() == 1
    assert lab.segmented_by(lab.run("segment_plate", plate="screened")).startswith("nucleus-segmenter version 1, ")
    assert lab.segmented_by(lab.run("segment_plate", plate="screened", model="4")).startswith(
        "nucleus-segmenter version 4, "
    )
