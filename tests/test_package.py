import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import tlkeras

ROOT = Path(tlkeras.__file__).parent
REPOSITORY = ROOT.parent
TENSORFLOW_ROOMS = {
    "data/images.py",
    "data/mixing.py",
    "data/pipeline.py",
    "data/policy.py",
    "data/warp.py",
    "explaining/heatmap.py",
}
# A module may import from its own room and from those below it.
LEVELS = {
    "errors": 0,
    "given": 0,
    "user_text": 0,
    "checks": 1,
    "machine": 1,
    "progress": 1,
    "schema": 2,
    "seeds": 2,
    "files": 2,
    "backend": 2,
    "terminal": 3,
    "data": 3,
    "models": 3,
    "evaluation": 3,
    "training": 4,
    "recipes": 5,
    "explaining": 5,
    "reviewing": 5,
    "replication": 6,
    "command": 7,
}


def imports_of(path):
    """Every module named in an import anywhere in the file, those for type checkers alone left out."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and getattr(test.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif node.module == "tlkeras.backend":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield node.module


def modules():
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    for name in imports_of(path):
        if name.startswith("tlkeras."):
            target = name.split(".")[1]
            assert target == room(path) or LEVELS[target] < LEVELS[room(path)], f"{path.name} imports {name}"


def imports_when_loaded(path):
    """The modules of tlkeras that a module imports when it is loaded, not those for type checkers or inside calls."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tlkeras"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_modules_import_each_other_in_a_circle():
    names = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in modules()}
    graph = {name: {one for one in imports_when_loaded(path) if one in names} for name, path in names.items()}
    tuple(TopologicalSorter(graph).static_order())  # CycleError names them


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_tensorflow_stays_in_its_rooms_and_private_keras_out(path):
    for name in imports_of(path):
        if name == "tlkeras.backend.tf":
            assert str(path.relative_to(ROOT)) in TENSORFLOW_ROOMS
        if name.split(".")[0] in ("keras", "tensorflow"):
            assert room(path) == "backend", f"{name}: tlkeras.backend gives both, and refuses other backends in words"
        assert not name.startswith(("keras.src", "tensorflow.python")) or room(path) == "backend"


def modules_after(statement):
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import tlkeras",
        "import tlkeras; tlkeras.Tuner('vgg16'); tlkeras.Holdout; tlkeras.Experiment",
        "import tlkeras.replication.script",
        "import tlkeras.command.main",
        "from tlkeras.training.feature_store import FeatureStore; FeatureStore().entries()",
        "import tlkeras.replication.results",
        "import tlkeras.replication.run_list",
        "import tlkeras; tlkeras.score",
    ],
)
def test_declarations_tables_and_the_command_line_load_no_tensorflow(statement):
    assert not {"tensorflow", "keras"} & modules_after(statement)


SCRIPTS = [path for path in (REPOSITORY / "experiments").rglob("*.py") if "__main__" in path.read_text()]


@pytest.mark.parametrize("script", sorted(SCRIPTS), ids=lambda path: path.name)
def test_help_of_every_script_loads_nothing_heavy(script):
    code = (
        "import os, runpy, sys, atexit; sys.argv = [sys.argv[1], '--help'];"
        "sys.path.insert(0, os.path.dirname(sys.argv[0]));"  # as `python script` does
        "atexit.register(lambda: print('LOADED', *sys.modules));"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    loaded = set(done.stdout.split("LOADED")[1].split())
    assert not {"tensorflow", "keras", "pandas", "matplotlib", "sklearn", "skimage", "cv2"} & loaded


def test_every_public_name_is_there_and_has_a_docstring():
    for name in tlkeras.__all__:
        value = getattr(tlkeras, name)
        assert name in {"__version__", "DATASETS", "BACKBONES"} or value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'Tunner'"):
        tlkeras.Tunner  # noqa: B018


def test_explain_is_a_function_whatever_was_imported_first():
    code = "import tlkeras.explaining.lime, tlkeras as tl; print(type(tl.explain).__name__, isinstance(tl.Tuner, type))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["function", "True"]
