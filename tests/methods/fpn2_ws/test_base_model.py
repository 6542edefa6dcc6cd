"""The model that comes with the pipeline: its files, what a training makes of it, and how it is kept as it is.

Nothing here depends on how good it is.
"""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.contract import DONE, execute, parse_params
from tasks.files import sha256_of
from tasks.methods.fpn2_ws.method import BASE, Settings
from tasks.methods.fpn2_ws.train import TASK, Params
from tasks.methods.shared.weights_file import copy_in_16_bits, read_weights
from tasks.nuclei.errors import InputError
from tasks.steps import augment
from tests.networks import make_network
from tests.rois import make_roi_file

BUILT = json.loads((BASE / "network.json").read_text())
AS_IT_IS = {"rois": None, "initialisation": "base", "cycles": 0}


def test_the_folder_holds_a_small_model_and_the_card_of_this_very_file():
    assert {path.name for path in BASE.iterdir()} == {"network.json", "weights.h5", "settings.json", "README.md"}
    assert (BASE / "weights.h5").stat().st_size <= 12_000_000
    card = (BASE / "README.md").read_text()
    (said,) = re.findall(r"SHA-256 of weights\.h5 \| `([0-9a-f]{64})`", card)
    assert said == sha256_of(BASE / "weights.h5")


def test_its_settings_are_those_of_the_method():
    settings = json.loads((BASE / "settings.json").read_text())
    assert Settings.model_validate(settings).model_dump(mode="json") == settings


def test_it_sees_fields_as_the_preset_laptop_cuts_rois_of_them():
    assert BUILT["scaling"] == augment.PRESETS["laptop"]["scaling"]
    assert BUILT["zoom"] == augment.Params.model_fields["zoom"].default


def test_it_is_what_trainings_of_the_preset_laptop_begin_from():
    params = Params(rois="rois.h5", target="all", preset="laptop")
    assert (params.initialisation, params.encoder) == ("base", BUILT["encoder"])
    assert params == Params(rois="rois.h5", target="all", preset="laptop", initialisation="base")
    from_random = Params(rois="rois.h5", target="all", preset="laptop", initialisation="random")
    assert params.learning_rate < from_random.learning_rate
    assert Params(rois="rois.h5", target="all").initialisation == "imagenet"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"encoder": "resnet34"}, 'encoder "resnet34", not'),
        ({"target": "blurred_border"}, 'target "blurred_border", not'),
    ],
)
def test_another_network_than_its_own_is_refused_with_what_to_do(other, said):
    given = {"rois": "rois.h5", "target": "all", "preset": "laptop"} | other
    message = (
        f'the initial weights "base" are of another network than is asked for: {said} .*; leave this out, or choose'
    )
    with pytest.raises(InputError, match=message):
        parse_params(Params, json.dumps(given))
    assert parse_params(Params, json.dumps(given | {"initialisation": "random"}))


def test_kept_as_it_is_it_becomes_a_network_of_the_store(tmp_path):
    result = execute(TASK, Params.model_validate(AS_IT_IS), tmp_path)
    folder = tmp_path / result.outputs["network"]
    for name in ("network.json", "weights.h5"):
        assert (folder / name).read_bytes() == (BASE / name).read_bytes()
    assert json.loads((folder / "history.json").read_text()) == []
    assert result.params["rois"] is None


@pytest.mark.parametrize("change", [{"cycles": 1}, {"initialisation": "random", "cycles": 1, "target": "all"}])
def test_a_training_without_rois_is_refused(tmp_path, change):
    message = 'rois: none are given, which is for initialisation "base" with cycles=0 alone, got ".*" with cycles=1'
    with pytest.raises(InputError, match=message):
        execute(TASK, Params.model_validate(AS_IT_IS | change), tmp_path)


def test_what_begins_from_it_depends_on_its_files(tmp_path):
    files = [BASE / "network.json", BASE / "weights.h5"]
    assert TASK.depends_on is not None
    for params in (AS_IT_IS, {"rois": "rois.h5", "target": "all", "preset": "laptop"}):
        assert TASK.depends_on(Params.model_validate(params), tmp_path) == files
    assert TASK.depends_on(Params(rois="rois.h5", target="all", initialisation="random"), tmp_path) == []


def test_weights_in_16_bits_are_smaller_and_are_read_back_in_32_bits(tmp_path):
    from tasks.methods.fpn2_ws.network import load_map_network

    whole = make_network(tmp_path / "whole")
    small = tmp_path / "small"
    small.mkdir()
    (small / "network.json").write_bytes((whole / "network.json").read_bytes())
    copy_in_16_bits(whole / "weights.h5", small / "weights.h5")
    assert (small / "weights.h5").stat().st_size < 0.6 * (whole / "weights.h5").stat().st_size
    expected, got = (load_map_network(folder).model.get_weights() for folder in (whole, small))
    for one, other in zip(expected, got, strict=True):
        assert other.dtype == np.float32
        np.testing.assert_array_equal(other, one.astype(np.float16).astype(np.float32) if one.ndim > 1 else one)


def test_a_kernel_that_16_bits_can_not_hold_is_refused_by_its_name(tmp_path):
    for name, values in (("kernel:0", [[1e6]]), ("bias:0", [1e6])):
        with h5py.File(tmp_path / name, "w") as file:
            file[f"conv/conv/{name}"] = np.array(values, np.float32)
    copy_in_16_bits(tmp_path / "bias:0", tmp_path / "copy.h5")
    assert read_weights(tmp_path / "copy.h5")["conv/bias"] == [1e6]
    with pytest.raises(InputError, match=r"/conv/conv/kernel:0 has values up to 1e.06, too large for 16 bits"):
        copy_in_16_bits(tmp_path / "kernel:0", tmp_path / "copy.h5")


@pytest.mark.slow
def test_a_training_begins_from_its_weights_and_sees_fields_as_its_own_rois(tmp_path: Path):
    make_roi_file(tmp_path / "rois.h5", scaling="minmax")
    begun = {"rois": "rois.h5", "preset": "laptop", "cycles": 1, "batch_size": 4, "learning_rate": 1e-12}
    assert TASK.main(["--params", json.dumps(begun), "--store", str(tmp_path)]) == DONE
    (trained,) = (path.parent for path in tmp_path.glob("train_fpn2_ws/*/result.json"))
    assert json.loads((trained / "network.json").read_text()) == {
        **BUILT,
        "scaling": "minmax",
        "zoom": 1.0,
        "nucleus_px": None,
    }
    expected, got = read_weights(BASE / "weights.h5"), read_weights(trained / "weights.h5")
    assert set(expected) == set(got)
    for name in expected:
        if name.endswith("/kernel"):
            np.testing.assert_allclose(got[name], expected[name].astype(np.float32), atol=1e-6, err_msg=name)
