"""What an expression of a claim may say: functions over committed files, arithmetic and comparisons; no other Python.

Files are named from the folder of the claims. A list in place of one name gives one value for each of its entries.
"""

import ast
import csv
import importlib
import itertools
import json
import operator
import re
import sys
from functools import cache
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[1]
NUMBER = r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e-?\d+)?"
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
}


class EvidenceError(Exception):
    """An expression that cannot be read, or that the files do not answer; the message says why."""


def evaluate(expression, folder):
    """The value of an expression: a number, a text, a truth value, or several of them."""
    try:
        tree = ast.parse(f"({expression})", mode="eval").body
    except SyntaxError as error:
        raise EvidenceError(f"{expression!r} is no expression: {error.msg}") from error
    try:
        return _value(tree, Path(folder))
    except (EvidenceError, TypeError, ValueError, LookupError) as error:
        raise EvidenceError(f"{error}, in {expression}") from error


def _value(node, folder):
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=entries):
            return [_value(entry, folder) for entry in entries]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, folder)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(left, folder), _value(right, folder))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(left, folder), _value(right, folder))
        case ast.Call(func=ast.Name(id=name), args=positional, keywords=keywords):
            arguments = [_value(argument, folder) for argument in positional]
            named = {keyword.arg: _value(keyword.value, folder) for keyword in keywords}
            if name in READERS:
                return READERS[name](folder, *arguments, **named)
            if name in FUNCTIONS:
                return FUNCTIONS[name](*arguments, **named)
            raise EvidenceError(f"there is no function {name}; there are {', '.join([*READERS, *FUNCTIONS])}")
    raise EvidenceError(f"{ast.unparse(node)} is more than a claim may say")


def read_csv(folder, files, columns, **where):
    """The values of a column in the rows where the other columns have the values asked for, as numbers if all are."""
    values = []
    for file in _listed(files):
        rows = _rows(folder / file)
        if missing := {*_listed(columns), *where} - set(rows[0]):
            raise EvidenceError(f"{file} has no column {', '.join(sorted(missing))}")
        for wanted in itertools.product(*map(_listed, where.values())):
            chosen = [row for row in rows if all(row[k] == str(v) for k, v in zip(where, wanted, strict=True))]
            if not chosen:
                raise EvidenceError(f"{file} has no row with {dict(zip(where, wanted, strict=True))}")
            values += [row[column] for row in chosen for column in _listed(columns)]
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return values


def read_score(folder, protocols, metric, part="test", **where):
    """What scores.csv says of a metric, for each cell and seed; of the majority class only where it is the method."""
    values = []
    for file in (f"{protocol}/scores.csv" for protocol in _listed(protocols)):
        methods = dict.fromkeys(row["method"] for row in _rows(folder / file) if row["method"] != "majority class")
        values += [*read_csv(folder, file, "value", **{"method": [*methods], "metric": metric, "part": part} | where)]
    return np.array(values)


def read_paired(folder, protocol, column, first, second, metric="accuracy", backbones=None):
    """A column of the paired tests of a figure, for two methods on the same backbone, for each of those."""
    found = []
    for row in _rows(folder / f"{protocol}/paired.csv"):
        (method_a, backbone_a), (method_b, backbone_b) = (row[f"{n}_method"].split(", ") for n in ("first", "second"))
        if (method_a, method_b, row["metric"]) == (first, second, metric) and backbone_a == backbone_b:
            if backbones is not None and backbone_a not in _listed(backbones):
                continue
            found.append(float(row[column]))
    if not found:
        raise EvidenceError(f"{protocol}/paired.csv has no {metric} of {first} and {second}")
    return np.array(found)


def read_page(folder, file, columns, *keys, under=""):
    """The cell of a generated page, as it is printed: in this column, in the row some cells of which are the keys.

    The row may stand in several tables as long as it says the same in all; `under` is a part of the heading above it.
    """
    found = []
    for *wanted, column in itertools.product(*map(_listed, (*keys, columns))):
        cells = {
            row[column]
            for heading, row in _tables(folder / file)
            if under in heading and column in row and set(map(str, wanted)) <= {*row.values()}
        }
        if len(cells) != 1:
            rows = "no row" if not cells else "rows that differ"
            raise EvidenceError(f"{file} has {rows} with {', '.join(map(repr, wanted))} and a column {column!r}")
        found += cells
    return found[0] if len(found) == 1 else found


def read_said(folder, file, words):
    """The numbers that stand at each `{}` of these words of a page, which it says once."""
    pattern = r"\s+".join(map(re.escape, words.split())).replace(r"\{\}", f"({NUMBER})")
    found = re.findall(pattern, _there(folder / file).read_text())
    if len(found) != 1:
        raise EvidenceError(f"{file} says {words!r} {len(found)} times")
    return numbers(list(found[0]) if isinstance(found[0], tuple) else found)


def read_json(folder, file, *keys):
    """What stands in a JSON file behind these keys, one after the other."""
    value = _json(folder / file)
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            raise EvidenceError(f"{file} has nothing at {keys}") from error
    return np.array(value) if isinstance(value, list) else value


def read_audit(folder, protocols, figure, part=None, seed=0):
    """A figure of the audit of a split; with a part, how many images it has, or how many are known in another part."""
    values = []
    for protocol in _listed(protocols):
        audit = read_json(folder, f"{protocol}/audit.json", str(seed), "audit")
        if part is not None:
            known = [dict(zip(audit["known"]["columns"], row, strict=True)) for row in audit["known"]["rows"]]
            audit = {"images": audit["sizes"][part]} | next((row for row in known if row["part"] == part), {})
        values.append(audit[figure])
    return np.array(values)


def read_reported(_, script, method, backbone, part, metrics, experiment="EXPERIMENT"):
    """The document's own figures, as the script of the experiment declares them; "*" is every backbone it prints."""
    declared = getattr(_script(script), experiment).reported
    if backbone == "*":
        backbone = [*dict.fromkeys(cell[1] for cell, *_ in declared)]
    keys = [((m, b), p, k) for m, b, p, k in itertools.product(*map(_listed, (method, backbone, part, metrics)))]
    if missing := [key for key in keys if key not in declared]:
        raise EvidenceError(f"{script} declares no figure {missing[0]}")
    return np.array([declared[key] for key in keys])


def read_published_grid(_, script, cell):
    """The document's grid, as the script of the experiment declares it, in its order."""
    return np.array([*_script(script).PUBLISHED_GRID[cell].values()])


def numbers(texts):
    """Every number of the texts."""
    return np.array([float(found.replace(",", "")) for text in _listed(texts) for found in re.findall(NUMBER, text)])


READERS = {
    "csv": read_csv,
    "score": read_score,
    "paired": read_paired,
    "page": read_page,
    "said": read_said,
    "json": read_json,
    "audit": read_audit,
    "reported": read_reported,
    "published_grid": read_published_grid,
}
FUNCTIONS = {
    "numbers": numbers,
    "first": lambda texts: np.array([numbers(text)[0] for text in _listed(texts)]),
    "overlap": lambda one, other: (
        min(numbers(one)[-1], numbers(other)[-1]) >= max(numbers(one)[-2], numbers(other)[-2])
    ),
    "last": lambda values: values[-1],
    "mean": np.mean,
    "median": np.median,
    "sd": lambda values: np.std(values, ddof=1),
    "sum": np.sum,
    "min": np.min,
    "max": np.max,
    "abs": np.abs,
    "round": np.round,
    "all": np.all,
    "any": np.any,
    "count": len,
    "at_largest": lambda by, *values: np.array([each[np.argmax(by)] for each in values]),
    "join": lambda *values: np.concatenate([np.atleast_1d(value) for value in values]),
}


def _listed(value):
    return value if isinstance(value, (list, tuple)) else [value]


@cache
def _rows(path):
    with open(_there(path), newline="") as file:
        return list(csv.DictReader(file))


@cache
def _json(path):
    return json.loads(_there(path).read_text())


@cache
def _tables(path):
    """Every row of every Markdown table: (the heading above it, {column: cell})."""
    rows, header, heading = [], None, ""
    for line in _there(path).read_text().splitlines():
        if not line.startswith("|"):
            header, heading = None, line if line.startswith("#") else heading
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
        if header is None:
            header = cells
        elif not set(line) <= set("|-: "):
            rows.append((heading, dict(zip(header, cells, strict=True))))
    return rows


def _there(path):
    if not path.is_file():
        raise EvidenceError(f"there is no file {path}")
    return path


@cache
def _script(name):
    if (folder := str(REPOSITORY / "experiments")) not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)
