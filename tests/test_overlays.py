"""What `k8s/check-overlay.sh` says of an overlay, also of one that a laboratory made."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.repository import REPOSITORY

DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    shutil.copytree(REPOSITORY / "k8s", tmp_path / "k8s")
    return tmp_path / "k8s/overlays/gpu-cluster"


def check(overlay: Path) -> tuple[int, str]:
    command = [overlay.parents[1] / "check-overlay.sh", overlay]
    checked = subprocess.run(command, capture_output=True, text=True)
    return checked.returncode, checked.stderr


def test_images_of_an_overlay_that_have_a_tag_alone_are_named_and_they_are_those_that_a_laboratory_builds(
    overlay: Path,
) -> None:
    status, said = check(overlay)
    assert status == 1
    built = [f"registry.example.org/nucleus-{name}:dev" for name in ("cpu", "gpu", "mlflow")]
    assert said.splitlines()[1:-1] == [*built, f"images.airflow in {overlay}/airflow.yaml"]


def test_images_of_an_overlay_that_all_have_their_digest_pass(overlay: Path) -> None:
    kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    kustomization["images"] = [{"name": image["name"], "digest": DIGEST} for image in kustomization["images"]]
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    assert check(overlay)[1].splitlines()[1:-1] == [f"images.airflow in {overlay}/airflow.yaml"]
    values = (overlay / "airflow.yaml").read_text().replace("tag: dev", f"digest: {DIGEST}")
    (overlay / "airflow.yaml").write_text(values)
    assert check(overlay) == (0, "")


def test_the_ingress_lets_plates_through_whatever_their_size_and_waits_until_they_are_unpacked(overlay: Path) -> None:
    ingress = yaml.safe_load((overlay / "airflow.yaml").read_text())["ingress"]["apiServer"]
    # By default, ingress-nginx takes 1 MiB a request, and waits a minute for its answer.
    assert {
        name.removeprefix("nginx.ingress.kubernetes.io/"): value for name, value in ingress["annotations"].items()
    } == {
        "proxy-body-size": "0",
        "proxy-request-buffering": "off",
        "proxy-read-timeout": "3600",
    }


PROFILE = "nvidia.com/mig-1g.10gb"


def test_a_quota_that_counts_gpus_under_another_name_than_the_pods_ask_for_is_told_of_with_what_to_do(
    overlay: Path,
) -> None:
    kustomization = overlay / "kustomization.yaml"
    assert "NUCLEUS_GPU_RESOURCE" not in check(overlay)[1]
    setting = "NUCLEUS_GPU_RESOURCE="
    kustomization.write_text(kustomization.read_text().replace(f"{setting}nvidia.com/gpu", f"{setting}{PROFILE}"))
    status, said = check(overlay)
    assert status == 1
    assert f"NUCLEUS_GPU_RESOURCE is {PROFILE}, but the quota counts nvidia.com/gpu and so doesn't bound them." in said

    patch = "\n".join(said.splitlines()[-2:])
    kustomization.write_text(kustomization.read_text().replace("patches:\n", f"patches:\n{patch}\n"))
    assert "NUCLEUS_GPU_RESOURCE" not in check(overlay)[1]


@pytest.mark.parametrize("folder", ["local", "gpu-cluster"])
def test_the_quota_of_each_overlay_bounds_the_gpus_that_its_pods_ask_for(overlay: Path, folder: str) -> None:
    assert "NUCLEUS_GPU_RESOURCE" not in check(overlay.with_name(folder))[1]
