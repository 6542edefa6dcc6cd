"""Parts of names of which `microscope_patterns` has none: marks of channel, z and time, and a well that all give.

Names that are equal but for their marks are images of one field. A mark stands between separators, or beside others in
one word, as in s2t1z4c1:

- c, ch, w, z, t and a number, such as c1, w2, z=03, t001; but a name that is nothing else is that of a field: t1
- the words channel, wavelength, time, timepoint, frame and plane with what follows, such as ChannelDAPI, TimePoint 1
- a stain or a colour, such as DAPI, AF488, w1DAPI, blue; a time such as 00d02h00m
- a wavelength such as 405, where every name has just one; numbered fields may have such a number by chance
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from tasks.nuclei.plates.microscope_patterns import read_place
from tasks.nuclei.plates.place import Place, time_of
from tasks.nuclei.plates.wells import is_well, parse_well


class _WellInName(NamedTuple):
    well: str
    rest: str
    """The name without it."""


def _between_separators(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?:{text})(?![^\W_])", re.VERBOSE | re.IGNORECASE)


_STAINS = r"""
    DAPI|Hoechst\d*|DRAQ\d|SYTOX\w*|SiR(?:-?(?:DNA|Actin|Tubulin))?|PI|EdU|Ki-?67|DNA|RNA|ER|AGP|Mito(?:tracker)?|
    Actin|Phalloidin|Tubulin|E?GFP|FITC|TRITC|RFP|E?YFP|E?CFP|E?BFP|
    iRFP\d*|mCherry|tdTomato|mScarlet\w*|mNeonGreen|Venus|Cy\d(?:\.5)?|TxRed|Texas[_\ -]?Red|(?:Alexa|AF)[_\ -]?\d{3}|
    BF|Brightfield|Phase|DIC|far[_\ -]?red|red|green|blue|cyan|magenta|yellow|orange|violet|UV|NIR
"""
_WORDS = (
    # Micro-Manager 1.4
    _between_separators(r"img_(?P<time>\d{9})_(?P<channel>.+)_(?P<z>\d{3})"),
    _between_separators(r"(?P<channel>(?:channel|wavelength)[_\ =-]?[^\W_]+|ch[_\ -]\d+)"),
    # MetaMorph
    _between_separators(r"(?P<channel>w\d{1,2}[A-Z][^\W_]*)"),
    _between_separators(rf"(?P<channel>(?:ch[_\ -]?)?(?:{_STAINS})|\d{{3}}\ ?nm)"),
    _between_separators(r"(?:time[_\ -]?point|time|tp|frame)[_\ =-]?(?P<time>\d+)|(?:plane[_\ =-]?|z[_\ -])(?P<z>\d+)"),
    _between_separators(r"(?P<time>\d{1,3}d\d{1,2}h\d{1,2}m)"),
)
_WAVELENGTH = _between_separators(
    r"(?P<channel>365|385|395|405|445|455|470|475|488|505|514|532|546|555|561|568|590|594|633|635|640|647|660|730|750)"
)
# Only letters that microscopes use, and short numbers: hashes such as c7d5467665187035 have others.
_LETTERS_AND_NUMBERS = _between_separators(r"\d{0,2}(?:(?:fov|pos|xy|[sfpmrwtz]|ch?)[=\#]?\d{1,4})+")
_LETTER_AND_NUMBER = re.compile(
    r"(?<![A-Z])(?:(?P<channel>(?:ch?|w)[=#]?\d+)|z[=#]?(?P<z>\d+)|t[=#]?(?P<time>\d+))", re.IGNORECASE
)
_ROW_AND_COLUMN = re.compile(r"r\d+c\d+", re.IGNORECASE)
_FIELD_WITH_LETTER = re.compile(r"[cwzt]\d+", re.IGNORECASE)

_WELL = re.compile(r"(?<![^\W_])(?P<said>(?i:well)[_\ -]?)?(?P<well>(?P<row>A?[A-P])\d{1,2})(?![^\W_])")
_ROWS_THAT_MEAN_OTHERS = ("C", "F", "P")
"""C01 may be a channel, F01 a field, P01 a position."""


def read_places(names: Iterable[str], wells: int | None = None) -> dict[str, Place | None]:
    """Read the names of a plate's images, without their extensions; None for one that says nothing.

    `wells` is how many wells the plate has, 96, 384 or 1536, where names number the wells.
    """
    places = {name: read_place(name, wells) for name in names}
    if any(places.values()):
        return places
    has_wavelengths = all(len(_WAVELENGTH.findall(name)) == 1 for name in places)
    return _places_in_wells(list(places), has_wavelengths) or {
        name: _read_marks(name, has_wavelengths) for name in places
    }


def may_give_well(name: str) -> bool:
    """Whether a part of the name looks like a well."""
    return _WELL.search(name) is not None


def _read_marks(name: str, has_wavelengths: bool) -> Place | None:
    if _FIELD_WITH_LETTER.fullmatch(name):
        return None
    found: dict[str, list[str]] = defaultdict(list)

    def note(match: re.Match[str]) -> str:
        for axis, text in match.groupdict().items():
            found[axis] += [text] if text else []
        return ""

    def note_each(match: re.Match[str]) -> str:
        return match[0] if _ROW_AND_COLUMN.search(match[0]) else _LETTER_AND_NUMBER.sub(note, match[0])

    rest = name
    for pattern in (*_WORDS, _WAVELENGTH) if has_wavelengths else _WORDS:
        rest = pattern.sub(note, rest)
    rest = _LETTERS_AND_NUMBERS.sub(note_each, rest)
    if not found:
        return None
    z, time = (found[axis][-1] if found[axis] else None for axis in ("z", "time"))
    channel = " ".join(found["channel"]) or None
    series = re.sub(r"([\W_])[\W_]*", r"\1", rest).strip("_ .-")
    return Place("", None, channel, int(z) if z else None, time_of(time), None, series)


def _places_in_wells(names: list[str], has_wavelengths: bool) -> dict[str, Place | None]:
    """Read a well and a site in every name; empty if it isn't clear which they are.

    The site is the last number in the rest of the names that tells the fields of every well apart; 1 where wells have
    one field each.
    """
    in_names = _wells_in(names)
    marks = {name: _read_marks(part.rest, has_wavelengths) for name, part in in_names.items()}
    fields = {name: marked.series if (marked := marks[name]) else part.rest for name, part in in_names.items()}
    of_wells = {(part.well, fields[name]) for name, part in in_names.items()}
    sites = _sites(of_wells)
    if not sites:
        return {}
    places: dict[str, Place | None] = {}
    for name, part in in_names.items():
        marked = marks[name] or Place("", None, None, None, None, None)
        places[name] = Place(part.well, sites[fields[name]], marked.channel, marked.z, marked.time, None)
    return places


def _sites(of_wells: Collection[tuple[str, str]]) -> dict[str, int]:
    """Give the site of each field, from (well, field); empty if none tells those of every well apart."""
    numbers = {field: [int(number) for number in re.findall(r"\d+", field)] for _, field in of_wells}
    candidates = [dict.fromkeys(numbers, 1)]
    if len({len(of_field) for of_field in numbers.values()}) == 1:
        in_columns = [dict(zip(numbers, column, strict=True)) for column in zip(*numbers.values(), strict=True)]
        candidates += reversed(in_columns)
    return next(
        (sites for sites in candidates if len({(well, sites[field]) for well, field in of_wells}) == len(of_wells)), {}
    )


def _wells_in(names: list[str]) -> Mapping[str, _WellInName]:
    """Find the one part of all names that is a well; empty if there is none, or several."""
    parts: dict[int, list[re.Match[str]]] = defaultdict(list)
    for name in names:
        for match in _WELL.finditer(name):
            parts[len(re.findall(r"[\W_]+", name[: match.start()]))].append(match)
    of_wells = [matches for matches in parts.values() if len(matches) == len(names) and _are_wells(matches)]
    if len(of_wells) != 1:
        return {}
    return {
        match.string: _WellInName(
            parse_well(match["well"]).name, f"{match.string[: match.start()]} {match.string[match.end() :]}"
        )
        for match in of_wells[0]
    }


def _are_wells(matches: Iterable[re.Match[str]]) -> bool:
    """Whether these are wells and nothing else: the word is there, or several rows, or two digits as in B07."""
    rows = Counter(match["row"] for match in matches)
    if not all(is_well(match["well"]) for match in matches):
        return False
    if all(match["said"] for match in matches) or len(rows) > 1:
        return True
    return all(len(match["well"]) > len(match["row"]) + 1 for match in matches) and not rows.keys() & set(
        _ROWS_THAT_MEAN_OTHERS
    )
