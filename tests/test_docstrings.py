"""What a docstring names in backquotes as `module.name` or `Class.name` is there: readers follow it."""

import ast
import collections
import re
from pathlib import Path

import tlkeras

ROOT = Path(tlkeras.__file__).parent
# Other packages, and what an argument is called in the docstring itself.
FOREIGN = {"keras", "tf", "torch", "joblib", "pandas", "logging", "Dataset", "ax", "samples"}
REFERENCE = re.compile(r"`([A-Za-z]\w*(?:\.[A-Za-z]\w*)+)(?:\(.*?\))?`")


def names_of(body):
    """What statements define, in branches as well, and what a method gives its object."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield node.id if isinstance(node, ast.Name) else node.attr


def names_in_package(trees):
    """{module, room or class: the names in it}, and what any class has."""
    members, of_classes = collections.defaultdict(set), set()
    for path, tree in trees.items():
        room = path.parent.name
        members[room].add(path.stem)
        members[room if path.stem == "__init__" else path.stem].update(names_of(tree.body))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                members[node.name].update(names_of(node.body), (getattr(base, "id", "") for base in node.bases))
                of_classes |= members[node.name]
    members["tlkeras"].update(tlkeras.__all__, (path.stem for path in ROOT.iterdir()))
    members["tl"] = members["tlkeras"]
    return members, of_classes


def dangling(trees):
    """Where a reference stands, and what it says, of those that lead nowhere."""
    members, of_classes = names_in_package(trees)

    def leads(first, then):  # `recipe.fit` may be the module's or a recipe's
        return then in members[first] or (first[0].islower() and then in of_classes)

    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                for reference in REFERENCE.findall(ast.get_docstring(node) or ""):
                    parts = reference.split(".")
                    if parts[0] not in FOREIGN and not all(map(leads, parts, parts[1:])):
                        yield f"{path.name}:{getattr(node, 'lineno', 1)}: {reference}"


def test_references_lead_somewhere():
    assert list(dangling({path: ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))})) == []


def test_a_reference_that_leads_nowhere_is_found():
    tree = ast.parse('"""See `b.go`, `b.gone`, `b.C.x`, `b.C.z`, `c.x`, `pandas.read_csv` and `gone.go(1)`."""')
    other = ast.parse("def go(): pass\nclass C:\n    def __init__(self): self.x = 1")
    assert list(dangling({Path("a.py"): tree, Path("b.py"): other})) == [
        "a.py:1: b.gone",
        "a.py:1: b.C.z",
        "a.py:1: gone.go",
    ]
