"""Methods of the pipeline and those that installed packages declare."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.methods import registry
from tasks.methods.registry import baseline_method, default_method, found_methods, load_method, method_named, place_of
from tasks.nuclei.errors import InputError
from tests.laboratory import install
from tests.repository import REPOSITORY

OF_THE_PIPELINE = {path.parent.name for path in REPOSITORY.glob("tasks/methods/*/method.py")}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, still empty."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    found_methods.cache_clear()
    yield tmp_path
    found_methods.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("laboratory"):
            del sys.modules[name]


def declare(site: Path, declared: str, content: str | None = None, name: str = "bright") -> None:
    install(site, "laboratory", declared, content, name)
    importlib.invalidate_caches()
    found_methods.cache_clear()


def test_the_methods_of_the_pipeline_are_found_the_default_one_first() -> None:
    assert {"fpn2_ws", "mask_rcnn", "jacobkie", "external", "classical"} <= OF_THE_PIPELINE <= set(found_methods())
    assert next(iter(found_methods())) == default_method().name == "fpn2_ws"


def test_exactly_one_method_is_the_default_one_and_one_that_needs_no_training_the_baseline() -> None:
    assert sum(method.is_default for method in found_methods().values()) == 1
    assert [method.name for method in found_methods().values() if method.is_baseline] == [baseline_method().name]
    assert not baseline_method().has_networks


@pytest.mark.parametrize("name", sorted(OF_THE_PIPELINE))
def test_a_method_is_loaded_again_from_its_place(name: str) -> None:
    place = place_of(method_named(name))
    assert place == f"tasks.methods.{name}.method:METHOD"
    assert load_method(place) is method_named(name)


@pytest.mark.parametrize("name", sorted(OF_THE_PIPELINE))
def test_what_a_method_says_of_itself_fits_together(name: str) -> None:
    method = method_named(name)
    settings = method.settings()
    for setting, values in method.search.items():
        assert getattr(settings, setting) in values, "the default is among the values to try"
        for value in values:
            assert method.settings.model_validate({setting: value})
    if not method.has_networks:
        assert (method.networks, method.initial_weights) == ((), ())
        return
    choices = {networks.name for networks in method.networks}
    for preset in method.presets.values():
        assert preset.networks in choices or (preset.networks == "one" and len(choices) == 1)
    task = importlib.import_module(method.training).TASK
    assert task.name == method.task
    for networks in method.networks:
        for preset in method.presets.values():
            for training in networks.trainings:
                known = set(task.params_type.model_fields)
                assert {*training, *preset.params} <= known


def test_a_method_that_a_package_declares_is_found(site: Path) -> None:
    before = set(found_methods())
    declare(site, "bright")
    assert set(found_methods()) == {*before, "bright"}
    method = method_named("bright")
    assert (method.title, method.task) == ("pixels brighter than a threshold", "train_bright")
    assert place_of(method) == "laboratory.method:METHOD"
    assert load_method("laboratory.method:METHOD") is method
    assert default_method().name == "fpn2_ws"


def test_an_unknown_method_is_refused_with_those_that_there_are() -> None:
    message = f"There is no method 'bright'; there are {', '.join(found_methods())}. Is its package installed"
    with pytest.raises(InputError, match=message):
        method_named("bright")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import no_such_library", r"can't be loaded \(ModuleNotFoundError: No module named 'no_such_library'\)"),
        ("1 / 0", r"can't be loaded \(ZeroDivisionError: division by zero\)"),
        ("", r"can't be loaded \(AttributeError: .*no attribute 'METHOD'\)"),
        ("METHOD = 'bright'", r"is a str; it must be a tasks\.methods\.method\.Method"),
    ],
)
def test_a_declared_method_that_cannot_be_loaded_is_named(site: Path, content: str, message: str) -> None:
    declare(site, "bright", content)
    with pytest.raises(InputError, match=rf"laboratory\.method:METHOD {message}"):
        found_methods()


def test_a_method_with_a_name_that_is_taken_is_refused(site: Path) -> None:
    declare(site, "fpn2_ws", name="fpn2_ws")
    with pytest.raises(InputError, match=r"laboratory\.method:METHOD is .* fpn2_ws, which is taken; rename"):
        found_methods()


def test_a_method_that_is_declared_under_another_name_is_refused(site: Path) -> None:
    declare(site, "brightest")
    with pytest.raises(InputError, match="as the method brightest and calls itself bright, which is another name"):
        found_methods()


def test_methods_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_methods()
    monkeypatch.setattr(registry, "_declared", lambda: pytest.fail("looked for again"))
    assert found_methods() is found


def test_a_folder_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trained network; give an output of a training"):
        registry.method_of_networks([tmp_path])
