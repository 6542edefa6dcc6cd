"""Which images of a plate are its fields: of channels, planes, times, acquisitions the one that plate.json names.

Afterwards a well and a site are one field, and either all fields have a well or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tasks.nuclei.errors import first_of
from tasks.nuclei.plates.info import PlateInfo
from tasks.nuclei.plates.place import Place

Value = int | str


class Axis(NamedTuple):
    """What images of one field differ in."""

    key: str
    """Of plate.json, and of `Place`."""
    plural: str
    """As in: has 2 …"""
    question: str
    """As in: say in plate.json …"""


AXES = (
    Axis("channel", "channels", "which one shows the nuclei"),
    Axis("z", "planes along z", "which one to use"),
    Axis("time", "time points", "which one to use"),
    Axis("acquisition", "acquisitions", "which one to use"),
)


class Choice(NamedTuple):
    """The images that are the fields of a plate, by their names."""

    names: list[str]
    not_used: Counter[str]
    """How many images were left out, by what they are."""
    problems: list[str]


def choose_images(places: Mapping[str, Place | None], info: PlateInfo) -> Choice:
    """Choose by what plate.json says; `places` holds what the name of each image gives."""
    problems = list(_of_wells(places))
    chosen = {name: place for name, place in places.items() if place is not None}
    not_used: Counter[str] = Counter()
    of_microscope = any(place.well for place in chosen.values())
    or_fields = "" if of_microscope else '; or, if each is a field of its own, "each_name_is_a_field": true'
    for axis in AXES:
        # Each channel may have acquisitions of its own: which there are is known when the channel is.
        if problems and axis.key == "acquisition":
            break
        wanted = getattr(info, axis.key)
        values = _values(axis, chosen.values(), wanted)
        problem = problem_of_choice(axis, wanted, values)
        if problem is not None:
            problems.append(f"images/: {problem}{or_fields}")
        elif wanted is not None:
            kept = {name: place for name, place in chosen.items() if is_wanted(getattr(place, axis.key), wanted)}
            not_used[f"images of other {axis.plural}"] += len(chosen) - len(kept)
            chosen = kept
    if not problems:
        problems += [*_lost_fields(places, chosen), *_fields_twice(chosen)]
    unplaced = [name for name, place in places.items() if place is None]
    return Choice(sorted([*chosen, *unplaced]), +not_used, problems)


def _values(axis: Axis, places: Iterable[Place], wanted: Value | None) -> Counter[Value]:
    """Count the values of an axis.

    Images of no well that differ in it may be of different experiments: if none of them share a field, there is
    nothing to choose.
    """
    known = [(place, value) for place in places if (value := getattr(place, axis.key)) is not None]
    fields = Counter(field for field, _ in {(place.field, value) for place, value in known})
    shared = max(fields.values(), default=0) > 1 or any(place.well for place, _ in known)
    return Counter(value for _, value in known) if shared or wanted is not None else Counter()


def problem_of_choice(axis: Axis, wanted: Value | None, values: Mapping[Value, int]) -> str | None:
    """Say why plate.json doesn't choose one of the values that there are, each of so many images."""
    there_are = ", ".join(
        f"{value or repr(value)} ({_counted(values[value])})" for value in sorted(values, key=in_order)
    )
    example = f'"{axis.key}": {_as_json(min(values, key=in_order, default=1))}'
    if wanted is None:
        if len(values) < 2:
            return None
        return f"has {len(values)} {axis.plural}, {there_are}; say in plate.json {axis.question}, such as {example}"
    if any(is_wanted(value, wanted) for value in values):
        return None
    asked = f"plate.json asks for {axis.key} {wanted}"
    if not values:
        return f"{asked}, and no image says which one it is; remove {axis.key} from plate.json"
    return f"{asked}, and there is only {there_are}; correct plate.json, such as {example}"


def is_wanted(value: Value | None, wanted: Value) -> bool:
    """Whether a channel, z, time or acquisition is the one of plate.json. What a name doesn't give is any."""
    return value is None or _plain(value) == _plain(wanted)


def _counted(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _plain(value: Value) -> str:
    text = str(value).casefold()
    return str(int(text)) if text.isdecimal() else text


def _as_json(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def in_order(value: Value) -> tuple[bool, Value]:
    """Sort numbers before names."""
    return isinstance(value, str), value


class OddNames(NamedTuple):
    """Names that give a well where most others don't, or give none where most others do."""

    names: list[str]
    says: str
    """As in: give no well."""
    other: str
    """One of the others."""
    are_few: bool
    """Whether they are fewer than the others."""


def odd_names(places: Mapping[str, Place | None]) -> OddNames | None:
    """Give the odd ones if some names give a well and some don't."""
    with_well = {name for name, place in places.items() if place is not None and place.well}
    without = places.keys() - with_well
    if not with_well or not without:
        return None
    odd, others, says = (without, with_well, "no") if len(with_well) >= len(without) else (with_well, without, "a")
    return OddNames(sorted(odd), says, min(others), len(odd) < len(others))


def _of_wells(places: Mapping[str, Place | None]) -> Iterator[str]:
    odd = odd_names(places)
    if odd is not None:
        yield (
            f"images/: {len(odd.names)} of {len(places)} file names give {odd.says} well, unlike the others "
            f"({odd.other}, ...): {first_of(odd.names)}; rename or remove them"
        )


def _lost_fields(places: Mapping[str, Place | None], chosen: Mapping[str, Place]) -> Iterator[str]:
    """Name the fields that have images, and none of the channel, z, time and acquisition that were chosen."""
    kept = {place.field for place in chosen.values()}
    lost = {place.field: place.field_name for place in places.values() if place is not None}
    for field, name in lost.items():
        if field not in kept:
            yield (
                f"{name}: has images, and none of what plate.json chooses; copy the plate whole, or remove the "
                "field's other images"
            )


def _fields_twice(chosen: Mapping[str, Place]) -> Iterator[str]:
    """Name images that are of one field."""
    first: dict[object, str] = {}
    for name, place in chosen.items():
        if place.field in first:
            yield f"images/: {first[place.field]} and {name} are both {place.field_name}; remove or rename one of them"
        first.setdefault(place.field, name)
