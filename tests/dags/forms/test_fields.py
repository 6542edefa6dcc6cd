"""Fields of forms are what the manifest says of params and settings."""

import re
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from nucleus_dags.forms.retrain_champion import retrain_champion_form
from nucleus_dags.forms.train_models import train_models_form
from nucleus_dags.manifest import Schema, manifest, settings_params, short_title, training_params
from nucleus_dags.planning.methods import titled
from tests.dags.forms.filled import SPOTS, add_method

METHODS = list(manifest()["methods"])
AUGMENT = manifest()["tasks"]["augment"]["params"]["properties"]
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


def for_people(schemas: Schema) -> Schema:
    """Give those params that have a title."""
    return {name: schema for name, schema in schemas.items() if "title" in titled(schema)}


TITLED = [
    *((name, schema) for method in METHODS for name, schema in for_people(settings_params(method)).items()),
    *((name, schema) for method in METHODS for name, schema in for_people(training_params(method)).items()),
    *for_people(AUGMENT).items(),
]


@pytest.mark.parametrize(("name", "schema"), TITLED, ids=lambda value: value if isinstance(value, str) else "")
def test_everything_with_a_title_is_in_the_form_under_it(name: str, schema: Schema) -> None:
    assert train_models_form()[name].schema["title"] == titled(schema)["title"]


def test_limits_of_area_padding_and_tiles_are_in_the_form() -> None:
    fields = {"min_area_px", "max_area_px", "padding", "max_tile_px", "halo_px"}
    form = train_models_form()
    assert {form[name].schema["section"] for name in fields} == {"Segmentation"}


def bounds_of(schema: Schema) -> dict[str, float]:
    contents = [schema, *schema.get("anyOf", ())]
    return {bound: content[bound] for content in contents for bound in BOUNDS if bound in content}


@pytest.mark.parametrize("name", sorted({name for name, _ in TITLED} - {"initialisation", "tool"}))
def test_bounds_and_choices_are_those_of_the_manifest(name: str) -> None:
    schemas = [schema for other, schema in TITLED if other == name]
    field = train_models_form()[name].schema
    all_bounds = [bounds_of(schema) for schema in schemas]
    for bound, value in field.get("allOf", [{}])[0].items():
        assert value == (min if "inimum" in bound else max)(bounds[bound] for bounds in all_bounds)
    for bounds in all_bounds:
        assert set(field.get("allOf", [{}])[0]) == set(bounds)
    for schema in schemas:
        assert [choice for choice in field.get("enum", []) if choice is not None] == schema.get("enum", [])


def test_epochs_have_the_bounds_of_the_method_that_allows_most() -> None:
    least = {method: bounds_of(training_params(method).get("cycles", {})).get("minimum") for method in METHODS}
    assert (least["fpn2_ws"], least["jacobkie"], least["external"]) == (0, 0, None)
    assert train_models_form()["cycles"].schema["allOf"] == [{"minimum": 0, "maximum": 10_000}]


@pytest.mark.parametrize("method", METHODS)
def test_the_help_of_a_field_has_the_text_of_the_manifest(method: str) -> None:
    form = train_models_form()
    for name, schema in for_people(settings_params(method)).items():
        assert schema["description"] in (form[name].description or "")


def test_the_help_of_a_setting_says_what_an_empty_field_means() -> None:
    form = train_models_form()
    for method in METHODS:
        for name, schema in for_people(settings_params(method)).items():
            text = form[name].description or ""
            if name in manifest()["methods"][method]["search"]:
                assert "Empty: the best on fields kept back from training" in text
            elif schema["default"] is not None and schema.get("type") != "boolean":
                assert re.search(rf"(Empty:|, else) {re.escape(str(schema['default']))}\.", text)


def test_the_help_of_a_setting_that_not_all_methods_search_says_which_do() -> None:
    text = train_models_form()["min_area_px"].description or ""
    assert "Empty: the best on fields kept back from training (FPN2-WS), else 20." in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("min_area_px", "Allowed: at least 0."),
        ("marker_threshold", "Allowed: more than 0, less than 1."),
        ("max_tile_px", "Allowed: at least 128, at most 8192, a multiple of 32."),
        ("min_score", "Allowed: at least 0.3, less than 1."),
    ],
)
def test_the_help_of_a_number_says_what_is_allowed(name: str, said: str) -> None:
    assert (train_models_form()[name].description or "").endswith(said)


def test_the_help_of_a_field_says_whose_it_is_unless_all_methods_have_it() -> None:
    form = train_models_form()
    assert "FPN2-WS, Jacobkie only." in (form["padding"].description or "")
    assert " only." not in (form["min_area_px"].description or "")


def test_where_a_method_is_not_trained_in_epochs_the_form_says_what_decides_instead() -> None:
    form = train_models_form()
    assert "Third-party tools" not in (form["cycles"].description or "")
    assert "is trained, its command there says." in (form["tool"].description or "")


def test_every_empty_field_stays_empty_and_every_switch_has_its_default() -> None:
    form = train_models_form()
    for name, schema in TITLED:
        is_switch = schema.get("type") == "boolean"
        assert form[name].value == (schema["default"] if is_switch else [] if name == "tool" else None)


def test_the_presets_and_their_texts_are_those_of_the_manifest() -> None:
    preset = train_models_form()["preset"]
    assert preset.schema["enum"] == list(manifest()["presets"])
    assert preset.schema["values_display"] == {name: f"{name}: {text}" for name, text in manifest()["presets"].items()}
    assert retrain_champion_form()["preset"].schema["enum"] == preset.schema["enum"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("preset", manifest()["presets"])
def test_the_help_of_the_presets_says_what_each_sets(method: str, preset: str) -> None:
    text = train_models_form()["preset"].description or ""
    of_preset = text.partition(f" {preset}: ")[2].partition("). ")[0]
    rois = AUGMENT["rois"]["default"] if preset == "paper" else manifest()["presets_of_augment"][preset]["rois"]
    assert of_preset.startswith(f"{rois} ROIs; ")
    params = manifest()["methods"][method]["presets"][preset]["params"]
    weights = manifest()["methods"][method]["initial_weights"].get(params.get("initialisation", ""))
    if weights and weights["is_whole"]:
        params = params | weights["params"]
    for name, schema in for_people(training_params(method)).items():
        value = params.get(name, schema.get("default"))
        if value is not None:
            assert f"{titled(schema)['title'].lower()} {value}" in of_preset


@pytest.mark.parametrize("method", METHODS)
def test_the_help_of_initial_weights_names_every_kind_and_the_file_that_it_needs(method: str) -> None:
    text = train_models_form()["initialisation"].description or ""
    for name, weights in manifest()["methods"][method]["initial_weights"].items():
        file = f"; needs the file {weights['file']} in NUCLEUS_WEIGHTS" if weights["file"] else ""
        said = re.search(rf"\b{name} \(([^)]*)\): {re.escape(weights['title'] + file)}\.", text)
        assert said
        assert short_title(method) in said[1]


def test_a_method_that_is_installed_is_in_the_forms_with_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    level: dict[str, Any] = {"type": "number", "title": "Level", "description": "How bright.", "default": 0.5}
    settings = {"spot_level": level | {"exclusiveMinimum": 0}}
    add_method(monkeypatch, settings, {"cycles": {"type": "integer", "title": "E"}})
    form = train_models_form()
    assert SPOTS in form["methods"].schema["items"]["enum"]
    assert form["spot_level"].description == "Spots only. How bright. Empty: 0.5. Allowed: more than 0."
    assert form["spot_level"].schema["allOf"] == [{"exclusiveMinimum": 0}]
    form["initialisation"].resolve("train_spots/0123456789abcdef")
    assert SPOTS in retrain_champion_form()["method"].schema["enum"]


def test_a_field_that_methods_share_takes_what_one_of_them_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "min_area_px": {"type": "integer", "title": "Minimum area", "minimum": 5, "default": 5},
        "min_score": {"type": "number", "title": "Minimum score", "minimum": 0.1, "maximum": 0.5, "default": 0.4},
        "padding": {"type": "string", "title": "Padding", "enum": ["zero", "mean"], "default": "mean"},
    }
    add_method(monkeypatch, settings, {})
    form = train_models_form()
    assert form["min_area_px"].schema["allOf"] == [{"minimum": 0}]
    # One says "below 1", the other "at most 0.5"; each refuses what is too much for it by its name.
    assert form["min_score"].schema["allOf"] == [{"minimum": 0.1}]
    assert form["padding"].schema["enum"] == [None, "zero", "reflect", "mean"]
    with pytest.raises(ParamValidationError):
        form["min_score"].resolve(0.05)
