"""A matrix of experiments as data: a YAML file read, and refused where it has words that nobody knows.

`dags/experiments/paper.yaml` explains the form. What the words of a row stand for is in `experiment_params`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from nucleus_dags.errors import FormError
from nucleus_dags.planning.experiments_schema import problems_of_shape
from nucleus_dags.planning.types import Params

FOLDER = Path(__file__).parents[2] / "experiments"
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
KEYS = (
    *("title", "based_on", "all", "columns", "without_weights", "test", "prices", "published"),
    *("published_plates", "tables", "experiments", "findings", "random_seed"),
)
OF_PLATES = ("plates", "cell_lines")
OF_TASKS = ("augment", "train", "settings", "calibrate")
OF_WORD = ("method", "networks", "preset", "of_method", *OF_PLATES, *OF_TASKS)
OF_COLUMN = ("axis", "in_names", "words")
OF_TABLE = ("title", "kind", "rows", "by", "at", "figures")
KINDS = ("f1", "replicates", "annotations", "training", "plates")
"""Of tables: F1 by experiment; mean and interval of replicates; scores against each kind of labels, or on training
plates too; the images."""
OF_ONE = ("annotations", "training")
"""Kinds of tables that compare two scores of each experiment."""
FORMS = ("curves", "dots", "replicates", "errors", "agreement", "panels")
"""Of figures."""
OF_FINDING = ("paper", "table", "of", "against", "expected", "cell_lines")
EXPECTED = ("more", "less", "same", "not less")
"""What a statement says of F1 of one experiment, measured against another."""
OF_PRICES = ("currency", "core_hour", "gpu_hour")
IOU_THRESHOLDS = [hundredths / 100 for hundredths in range(5, 100, 5)]
"""Those that `score` counts at."""
REPLICATES = "replicates"
MOST_REPLICATES = 100


@dataclass(frozen=True)
class Column:
    """What differs between experiments, and what each of its words stands for."""

    axis: str
    in_names: str | None
    """Before its word in the name of an experiment, which leaves out the first one; None for words that say it all."""
    words: Mapping[str, Params]


@dataclass(frozen=True)
class Row:
    """An experiment: a word of every column, and which replicate it is, from 1."""

    words: Mapping[str, str]
    replicate: int = 1

    @property
    def key(self) -> tuple[str, ...]:
        return (*self.words.values(), str(self.replicate))


@dataclass(frozen=True)
class Matrix:
    """A file of experiments."""

    name: str
    content: Mapping[str, Any]
    columns: Mapping[str, Column]
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def rows_of(self, table: str) -> list[Row]:
        """Give the experiments that a table shows."""
        return list(expanded(self.tables[table].get("rows", ()), self.columns))

    def findings(self) -> list[dict[str, Any]]:
        """Give the statements of the paper, each of two experiments: all their words, of every column.

        Those on one experiment name it twice; they need their table, which another matrix may lack that says the same.
        """
        return [
            {**_told(finding), "of": [*row.words.values()], "against": [*(row.words | finding["against"]).values()]}
            for finding in self.content.get("findings") or ()
            if finding["against"] or finding["table"] in self.tables
            for row in expanded([finding["of"]], self.columns)
        ]

    def rows(self) -> list[Row]:
        """Give all experiments, each once, in the order of the tables."""
        of_tables = [row for table in self.tables for row in self.rows_of(table)]
        others = expanded(self.content.get("experiments", ()), self.columns)
        return list({row.key: row for row in [*of_tables, *others]}.values())


def read_matrix(name: str) -> Matrix:
    """Read a matrix by its name. Raises FormError that names all that is wrong with it."""
    content = _content_of(name)
    problems = list(_problems_of_keys(content))
    if problems:
        raise _refusal(name, problems)
    columns = {title: _column(title, spec) for title, spec in content["columns"].items()}
    problems = [
        *_problems_of_words(content, columns),
        *_problems_of_tables(content, columns),
        *_problems_of_findings(content, columns),
    ]
    if problems:
        raise _refusal(name, problems)
    return Matrix(name, content, columns, content.get("tables") or {})


def known_matrices() -> list[str]:
    """Give the names of the matrices that there are: those that come with the pipeline and a laboratory's own."""
    return sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml")})


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known word may be meant, or which there are."""
    known = list(known)
    close = get_close_matches(word, known, 1, 0.5) or [k for k in known if k.lower() == word.lower()]
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"


def expanded(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]) -> Iterator[Row]:
    """Give every experiment of rows that may have several words of a column, and replicates."""
    for row in rows:
        choices = [_words_in(row, name, column) for name, column in columns.items()]
        for words in product(*choices):
            for replicate in range(1, row.get(REPLICATES, 1) + 1):
                yield Row(dict(zip(columns, words, strict=True)), replicate)


def names_of(rows: Sequence[Row], columns: Mapping[str, Column]) -> list[str]:
    """Name experiments by what differs between them, such as "MCF10A · MRCNN · Random · Full"."""
    differing = [name for name in columns if len({row.words[name] for row in rows}) > 1]
    repeated = {row.key[:-1] for row in rows if row.replicate > 1}
    names = []
    for row in rows:
        parts = [_in_name(columns[name], row.words[name]) for name in differing]
        parts += [f"no. {row.replicate}"] if row.key[:-1] in repeated else []
        names.append(" · ".join(filter(None, parts)) or "the experiment")
    return names


def _told(finding: Mapping[str, Any]) -> dict[str, Any]:
    """Give what stands in a finding as it is."""
    return {key: finding[key] for key in ("paper", "table", "expected", "cell_lines") if key in finding}


def _in_name(column: Column, word: str) -> str:
    if column.in_names is None:
        return word
    return "" if word == next(iter(column.words)) else f"{column.in_names} {word}"


def _words_in(row: Mapping[str, Any], name: str, column: Column) -> list[str]:
    given = row.get(name, next(iter(column.words)))
    return list(given) if isinstance(given, list) else [given]


def _folders() -> list[Path]:
    own = os.environ.get("NUCLEUS_EXPERIMENTS")
    return [Path(own), FOLDER] if own else [FOLDER]


def _content_of(name: str, inner: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a file, and what it is based on below it."""
    if not re.fullmatch(NAME, name) or name not in known_matrices():
        raise FormError(f"There is no matrix {name!r:.100}; {nearest(name, known_matrices())}")
    if name in inner:
        raise FormError(f"{' is based on '.join([*inner, name])}: a matrix can't be based on itself.")
    path = next(folder / f"{name}.yaml" for folder in _folders() if (folder / f"{name}.yaml").exists())
    try:
        content = yaml.load(path.read_bytes(), _Loader)
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise FormError(f"{path} can't be read ({' '.join(str(error).split())}); correct it.") from None
    if not isinstance(content, dict):
        raise FormError(f"{path} must have keys such as columns and tables; paper.yaml explains the form.")
    if problems := list(problems_of_shape(content)):
        raise _refusal(name, problems)
    based = "based_on" in content
    whole = _laid_over(_content_of(str(content["based_on"]), (*inner, name)), content) if based else content
    # Statements that are taken over name tables of the matrix that they come from.
    if problems := list(_problems_of_stated_tables(content.get("findings") or (), whole.get("tables") or {})):
        raise _refusal(name, problems)
    return whole


def _laid_over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a matrix says over what the one says that it is based on; its tables and experiments replace all."""
    both = {**base, **own}
    if "experiments" in own and "tables" not in own:
        both["tables"] = {}
    if "tables" in own and "experiments" not in own:
        both["experiments"] = []
    return both | {key: merged([base.get(key) or {}, own.get(key) or {}]) for key in ("all", "columns", "prices")}


def merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Give dicts as one; later values win, dicts within are merged."""
    result: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged([result[key], value]) if both else value
    return result


def _column(title: str, spec: Mapping[str, Any]) -> Column:
    return Column(spec.get("axis", title), spec.get("in_names"), {w: p or {} for w, p in spec["words"].items()})


def _problems_of_keys(content: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(content, KEYS, "the file")
    yield from _unknown(content.get("all") or {}, OF_WORD, "all")
    yield from _unknown(content.get("prices") or {}, OF_PRICES, "prices")
    yield from _unknown(content.get("test") or {}, OF_PLATES, "test")
    columns = content.get("columns")
    if not columns:
        yield "columns: at least one is needed, with its words"
        return
    for name, spec in columns.items():
        if not spec or not spec.get("words"):
            yield f"columns: {name} needs words, each with what it stands for"
            continue
        yield from _unknown(spec, OF_COLUMN, f"columns: {name}")
        for word, params in spec["words"].items():
            where = f"columns: {name}: {word}"
            if not isinstance(word, str):
                yield f"{where}: write the word in quotes; without them YAML reads a {type(word).__name__}"
            yield from _unknown(params or {}, OF_WORD, where)
            for method, own in ((params or {}).get("of_method") or {}).items():
                yield from _unknown(own or {}, OF_TASKS, f"{where}: of_method: {method}")


def _problems_of_words(content: Mapping[str, Any], columns: Mapping[str, Column]) -> Iterator[str]:
    rows = [("experiments", row) for row in content.get("experiments") or ()]
    rows += [(name, row) for name, table in (content.get("tables") or {}).items() for row in table.get("rows") or ()]
    rows += [("without_weights", content["without_weights"])] if content.get("without_weights") else []
    if not rows:
        yield "neither tables nor experiments have rows; there is nothing to do"
    for where, row in rows:
        if not isinstance(row, dict):
            yield f"{where}: {row!r:.80} is no row; a row has words by column, such as {{{next(iter(columns))}: …}}"
            continue
        yield from _unknown(row, (*columns, REPLICATES), where)
        for name in columns.keys() & row.keys():
            yield from _problems_of_choice(where, name, _words_in(row, name, columns[name]), columns)
        count = row.get(REPLICATES, 1)
        if not isinstance(count, int) or not 1 <= count <= MOST_REPLICATES:
            yield f"{where}: replicates is {count!r}; allowed are 1 to {MOST_REPLICATES}"


def _problems_of_tables(content: Mapping[str, Any], columns: Mapping[str, Column]) -> Iterator[str]:
    for name, table in (content.get("tables") or {}).items():
        yield from _unknown(table, OF_TABLE, name)
        kind, figures = table.get("kind", "f1"), table.get("figures") or {}
        if kind not in KINDS:
            yield f"{name}: kind {kind!r} isn't known; {nearest(str(kind), KINDS)}"
        if kind != "plates" and not (table.get("by") and table.get("rows")):
            yield f"{name}: needs rows, and by, the columns that tell them apart"
        yield from (
            f"{name}: by: no column {c!r}; {nearest(str(c), columns)}"
            for c in table.get("by") or ()
            if c not in columns
        )
        at = table.get("at") or [0.7]
        if wrong := [t for t in at if t not in IOU_THRESHOLDS]:
            yield f"{name}: at has {', '.join(map(str, wrong))}; allowed are the IoU thresholds 0.05, 0.1, … 0.95"
        yield from (
            f"{name}: {figure}: no form {f!r}; {nearest(str(f), FORMS)}"
            for figure, f in figures.items()
            if f not in FORMS
        )


def _problems_of_stated_tables(findings: Sequence[Mapping[str, Any]], tables: Iterable[str]) -> Iterator[str]:
    for number, finding in enumerate(findings, start=1):
        if "table" in finding and finding["table"] not in [*tables]:
            named = finding["table"]
            yield f"findings: no. {number}: there is no table {named!r}; {nearest(str(named), tables)}"


def _problems_of_findings(content: Mapping[str, Any], columns: Mapping[str, Column]) -> Iterator[str]:
    for number, finding in enumerate(content.get("findings") or (), start=1):
        where = f"findings: no. {number}"
        yield from _unknown(finding, OF_FINDING, where)
        if lacking := [key for key in OF_FINDING[:-1] if key not in finding]:
            yield f"{where}: needs {', '.join(lacking)}"
            continue
        expected = finding["expected"]
        if expected not in EXPECTED:
            yield f"{where}: expected {expected!r} isn't known; {nearest(str(expected), EXPECTED)}"
        for side in ("of", "against"):
            row = finding[side]
            yield from _unknown(row, list(columns), f"{where}: {side}")
            for name in columns.keys() & (row.keys() if isinstance(row, dict) else set()):
                yield from _problems_of_choice(f"{where}: {side}", name, _words_in(row, name, columns[name]), columns)
        table = (content.get("tables") or {}).get(finding["table"])
        yield from _problems_of_difference(where, finding["of"], finding["against"], table)


def _problems_of_difference(where: str, of: Any, against: Any, table: Mapping[str, Any] | None) -> Iterator[str]:
    if not isinstance(of, dict) or not isinstance(against, dict):
        return
    if not against:
        if table is not None and table.get("kind") not in OF_ONE:
            yield f"{where}: against may be empty only with a table of the kind {' or '.join(OF_ONE)}"
    elif any(isinstance(word, list) for word in against.values()):
        yield f"{where}: against: give one word for each column; only of may have several"
    elif all(of.get(name) == word for name, word in against.items()):
        yield f"{where}: of and against are the same experiment"


def _problems_of_choice(where: str, name: str, given: Sequence[Any], columns: Mapping[str, Column]) -> Iterator[str]:
    known = columns[name].words
    yield from (f"{where}: {name} has no {w!r}; {nearest(str(w), known)}" for w in given if w not in [*known])


def _unknown(content: Any, known: Sequence[str], where: str) -> Iterator[str]:
    if not isinstance(content, dict):
        yield f"{where} must have keys with values"
        return
    yield from (f"{where}: there is no {key!r}; {nearest(str(key), known)}" for key in content if key not in known)


def _refusal(name: str, problems: Sequence[str]) -> FormError:
    return FormError(f"The matrix {name} can't be used: {'; '.join(problems)}.")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which the second would count without a word."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} stands there twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
