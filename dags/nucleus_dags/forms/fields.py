"""Fields of forms, made of what the manifest says of params: title, text, bounds, choices, defaults.

A value that breaks the schema is refused before anything runs. For an empty field, the preset, the
calibration or the task's own default holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.sdk import Param

from nucleus_dags.manifest import (
    Schema,
    manifest,
    method_entry,
    settings_params,
    short_title,
    tasks_of_networks,
    training_params,
)
from nucleus_dags.planning.methods import titled

# The page opens this section by itself, and only this one.
MAIN = "Run Parameters"
TRAINING, SEGMENTATION = "Training", "Segmentation"
AS_PRESET = "Empty: as the preset."
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
LOWER_BOUNDS = ("minimum", "exclusiveMinimum")
ParamsOf = Callable[[str], Schema]
"""From a method to the schemas of its params."""
TYPES = {"integer", "number", "string", "boolean"}


def field_of(schema: Mapping[str, Any], section: str, prefix: str = "", if_empty: str = "") -> Param:
    """Give the field of a param that has a title. It may stay empty, unless it is a switch."""
    shown = titled(schema)
    description = " ".join(filter(None, [prefix, shown.get("description", schema.get("description", "")), if_empty]))
    texts = {"title": shown["title"], "description": f"{description}{_bounds_in_words(schema)}", "section": section}
    content = _content(schema)
    if content["type"] == "boolean":
        return Param(schema["default"], type="boolean", **texts)
    if "enum" in content:
        choices = content["enum"]
        # With a label for one of them, the page needs labels for all.
        labels = {"null": "as the preset" if if_empty == AS_PRESET else "default"} | {str(c): str(c) for c in choices}
        return Param(None, type=["null", content["type"]], enum=[None, *choices], values_display=labels, **texts)
    return Param(None, type=["null", content["type"]], **bounds_of(content), **texts)


def plate_field(needs: str) -> Param:
    """Give the choice of one plate; `needs` is a sentence on which plates may be chosen."""
    return Param(
        None,
        type="string",
        minLength=1,
        title="Plate",
        description="Name of a plate in the inbox or in the store, or name@digest of one version in the store. "
        f"{needs}",
        section=MAIN,
    )


def experiment_field() -> Param:
    """Give the field for the experiment that runs are listed under."""
    return Param(
        "experiments",
        type="string",
        minLength=1,
        maxLength=200,
        title="Experiment",
        description="Experiment in MLflow that the runs are listed under.",
        section=MAIN,
    )


def reason_field(description: str, most_letters: int = 500) -> Param:
    """Give the field that asks why something is changed."""
    return Param(
        None, type="string", minLength=5, maxLength=most_letters, title="Reason", description=description, section=MAIN
    )


def lines_field(title: str, description: str, examples: Sequence[str] = ()) -> Param:
    """Give the field for several words, one per line, which may stay empty; `names_in` reads it."""
    offered: dict[str, Any] = {"examples": list(examples)} if examples else {}
    return Param(
        [],
        type=["array", "null"],
        items={"type": "string"},
        uniqueItems=True,
        **offered,
        title=title,
        description=description,
        section=MAIN,
    )


def between(least: float, most: float) -> dict[str, Any]:
    """Bounds that refuse a number outside. With plain ones, the page moves it to the nearest without a word."""
    return {"allOf": [{"minimum": least, "maximum": most}]}


def bounds_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give the bounds of a param in the same way."""
    bounds = {name: schema[name] for name in BOUNDS if name in schema}
    return {"allOf": [bounds]} if bounds else {}


def param_field(task: str, name: str, section: str, if_empty: str) -> Param:
    """Give the field of a param of a task."""
    return field_of(manifest()["tasks"][task]["params"]["properties"][name], section, if_empty=if_empty)


def training_field(name: str, if_empty: str) -> Param:
    """Give the field of a param of trainings."""
    methods = _methods_by_field(training_params)[name]
    return field_of(_for_all(methods, name, training_params), TRAINING, _only(methods), if_empty)


def training_fields() -> dict[str, Param]:
    """Give a field for every param of a training that a person may set, by name; methods may share one."""
    return {
        name: _candidates_field(name, methods) or training_field(name, AS_PRESET)
        for name, methods in _methods_by_field(training_params).items()
        if name != "initialisation"
    }


def segmentation_fields() -> dict[str, Param]:
    """Give a field for every setting of a segmentation that a person may set, by name; methods may share one."""
    return {
        name: field_of(
            _for_all(methods, name, settings_params),
            SEGMENTATION,
            _only(methods),
            _if_setting_is_empty(settings_params(methods[0])[name], name, methods),
        )
        for name, methods in _methods_by_field(settings_params).items()
    }


def initialisation_field(title: str, description: str, earlier: bool, section: str = TRAINING) -> Param:
    """Give the field for initial weights: a kind that some method knows or, if allowed, an earlier network."""
    kinds = kinds_of_initial_weights()
    tasks = [task for method in manifest()["methods"] for task in tasks_of_networks(method)]
    pattern = f"^({'|'.join(kinds)}{'|(' + '|'.join(tasks) + ')/[0-9a-f]{16}' if earlier else ''})$"
    return Param(
        None,
        type=["null", "string"],
        pattern=pattern,
        examples=list(kinds),
        title=title,
        description=description,
        section=section,
    )


def kinds_of_initial_weights() -> dict[str, list[str]]:
    """Give the kinds of initial weights, each with the methods that know it."""
    kinds: dict[str, list[str]] = {}
    for name, method in manifest()["methods"].items():
        for kind in method["initial_weights"]:
            kinds.setdefault(kind, []).append(name)
    return kinds


def initial_weights_in_words() -> str:
    """Say what each kind is, for which methods, and which file it needs."""
    methods: dict[tuple[str, str], list[str]] = {}
    for kind, of_methods in kinds_of_initial_weights().items():
        for name in of_methods:
            weights = method_entry(name)["initial_weights"][kind]
            file = f"; needs the file {weights['file']} in NUCLEUS_WEIGHTS" if weights["file"] else ""
            methods.setdefault((kind, f"{weights['title']}{file}"), []).append(short_title(name))
    return " ".join(f"{kind} ({', '.join(titles)}): {text}." for (kind, text), titles in methods.items())


def preset_field(title: str, description: str, section: str = MAIN) -> Param:
    """Give the choice of a preset."""
    presets = manifest()["presets"]
    return Param(
        next(iter(presets)),
        type="string",
        enum=list(presets),
        values_display={name: f"{name}: {text}" for name, text in presets.items()},
        title=title,
        description=description,
        section=section,
    )


def presets_in_words() -> str:
    """Say what each preset sets, for the ROIs and for each method."""
    return " ".join(f"{name}: {'; '.join(_preset_in_words(name))}." for name in manifest()["presets"])


def _preset_in_words(preset: str) -> list[str]:
    augment = manifest()["tasks"]["augment"]["params"]["properties"]
    of_rois = manifest()["presets_of_augment"][preset]
    words = [f"{of_rois.get('rois', augment['rois']['default'])} ROIs"]
    words.append(f"augmentation {of_rois.get('augmentation', augment['augmentation']['default'])}")
    words.append(f"nuclei seen {of_rois['nucleus_px']} px wide" if "nucleus_px" in of_rois else "zoom 1")
    for name, method in manifest()["methods"].items():
        chosen = method["presets"][preset]
        schema = training_params(name)
        weights = method["initial_weights"].get(str(chosen["params"].get("initialisation")))
        # A whole network says all that a preset would.
        params = chosen["params"] | (weights["params"] if weights and weights["is_whole"] else {})
        values = {
            titled(field)["title"].lower(): params.get(param, field.get("default"))
            for param, field in schema.items()
            if "title" in titled(field)
        }
        shown = [f"{title} {value}" for title, value in values.items() if value is not None]
        if len(method["networks"]) > 1:
            shown.insert(0, method["networks"][chosen["networks"]]["title"].partition(":")[0])
        words += [f"{short_title(name)} ({', '.join(shown)})"] if shown else []
    return words


def _candidates_field(name: str, methods: Sequence[str]) -> Param | None:
    """Give the field for several values of a param, each of which is a candidate; None for other params."""
    schema = training_params(methods[0])[name]
    choice = method_entry(methods[0])["candidates"]
    if choice is None or choice["param"] != name:
        return None
    shown = titled(schema)
    return lines_field(
        shown["title"],
        f"{_only(methods)} Names, one per line, such as {' or '.join(choice['known'])}; each is compared like a "
        f"method. {shown.get('description', schema.get('description', ''))}",
        choice["known"],
    )


def _for_all(methods: Sequence[str], name: str, params_of: ParamsOf) -> Schema:
    """Give the schema of a field that methods share: texts of the first, every value that one of them allows.

    What a method itself doesn't allow is refused by its name when the form is read.
    """
    schemas = [params_of(method)[name] for method in methods]
    contents = [_content(schema) for schema in schemas]
    widest: Schema = {**titled(schemas[0]), "type": contents[0]["type"], "default": schemas[0].get("default")}
    for bound in BOUNDS:
        widest.pop(bound, None)
        values = [content[bound] for content in contents if bound in content]
        if len(values) == len(contents) and (bound != "multipleOf" or len(set(values)) == 1):
            widest[bound] = min(values) if bound in LOWER_BOUNDS else max(values)
    if "enum" in widest:
        widest["enum"] = list(dict.fromkeys(choice for content in contents for choice in content.get("enum", ())))
    return widest


def _methods_by_field(params_of: ParamsOf) -> dict[str, list[str]]:
    """Give the fields that are for people, each with the methods that have it."""
    found: dict[str, list[str]] = {}
    for method in manifest()["methods"]:
        for name, schema in params_of(method).items():
            if "title" in titled(schema):
                found.setdefault(name, []).append(method)
    return found


def _only(methods: Sequence[str]) -> str:
    if len(methods) == len(manifest()["methods"]):
        return ""
    return f"{', '.join(map(short_title, methods))} only."


def _if_setting_is_empty(schema: Mapping[str, Any], name: str, methods: Sequence[str]) -> str:
    if _content(schema)["type"] == "boolean":
        return ""
    default = schema.get("default")
    searching = [method for method in methods if name in method_entry(method)["search"]]
    if not searching:
        return "" if default is None else f"Empty: {default}."
    best = "Empty: the best on fields kept back from training"
    if searching == methods:
        return f"{best}."
    return f"{best} ({', '.join(map(short_title, searching))}), else {default}."


def _content(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the part of a param's schema that says what a value is like; where None is allowed, that is one of two."""
    return next(part for part in [schema, *schema.get("anyOf", ())] if part.get("type") in TYPES)


def _bounds_in_words(schema: Mapping[str, Any]) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    content = _content(schema)
    bounds = [f"{word} {content[name]}" for name, word in words.items() if name in content]
    steps = [f"a multiple of {content['multipleOf']}"] if "multipleOf" in content else []
    return f" Allowed: {', '.join(bounds + steps)}." if bounds else ""
