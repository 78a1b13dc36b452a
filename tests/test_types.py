"""What editors and type checkers see of the package."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tlkeras

ROOT = Path(tlkeras.__file__).parent
CALL = "import tlkeras as tl\n\ntl.Tuner("


def test_the_stub_lists_the_public_names_with_their_homes():
    imports = [node for node in ast.parse((ROOT / "__init__.pyi").read_text()).body if isinstance(node, ast.ImportFrom)]
    seen = {
        # A module of the package is its own home.
        alias.asname: alias.name if node.module == "tlkeras" else node.module.removeprefix("tlkeras.")
        for node in imports
        for alias in node.names
    }
    assert seen == tlkeras._HOME
    assert all(alias.name == alias.asname for node in imports for alias in node.names)


def test_an_installed_package_is_typed():
    assert (ROOT / "py.typed").read_text() == ""
    assert "tlkeras = py.typed, *.pyi\n" in (ROOT.parent / "setup.cfg").read_text()


def test_every_name_in_the_code_of_the_readme_is_there():
    script = ROOT.parent / ".ci" / "readme_code.py"
    code = subprocess.check_output([sys.executable, str(script)], text=True, encoding="utf-8")
    attributes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)]
    found = {node.attr for node in attributes if getattr(node.value, "id", "") == "tl"}
    assert "Tuner" in found
    assert found <= set(tlkeras.__all__)


def functions(body, within=""):
    """(name, node) of every public function of a module and every public method of its public classes."""
    for node in body:
        public = not node.name.startswith("_") or node.name.endswith("__") if hasattr(node, "name") else False
        if public and isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{within}{node.name}.")
        elif public and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield within + node.name, node


def unannotated(function):
    """The parameters without an annotation, and "return" where that is missing; `__init__` returns nothing anyway."""
    given = function.args
    parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    missing = [found.arg for found in parameters if found and not found.annotation and found.arg not in ("self", "cls")]
    returns = function.returns or function.name in ("__init__", "__post_init__")
    return missing if returns else [*missing, "return"]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_public_signatures_are_annotated(path):
    found = {name: unannotated(node) for name, node in functions(ast.parse(path.read_text()).body)}
    assert not {name: missing for name, missing in found.items() if missing}


def needs(module):
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


def asked(command, code, folder):
    """What a checker prints about `code`, seen from a folder in which only the package's own folder is known."""
    (folder / "asked.py").write_text(code)
    environment = os.environ | {
        "MYPYPATH": str(ROOT.parent),
        "PYTHONPATH": os.pathsep.join([str(ROOT.parent), *sys.path]),
    }
    done = subprocess.run([*command, "asked.py"], cwd=folder, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


@needs("jedi")
def test_jedi_shows_signature_and_docstring():
    import jedi

    script = jedi.Script(CALL, project=jedi.Project(ROOT.parent))
    (signature,) = script.get_signatures()
    names = [parameter.name for parameter in signature.params]
    assert names[0] == "backbone"
    assert {"weights", "image_size", "head", "phases"} <= set(names)
    assert tlkeras.Tuner.__doc__.splitlines()[0] in signature.docstring()
    (explain,) = jedi.Script(CALL.replace("Tuner", "explain"), project=jedi.Project(ROOT.parent)).get_signatures()
    assert [parameter.name for parameter in explain.params][:2] == ["classifier", "image"]


@pytest.mark.slow
@needs("mypy")
def test_mypy_knows_the_type_of_a_fitted_classifier(tmp_path):
    code = "import tlkeras as tl\n\nreveal_type(tl.Tuner.fit)\nreveal_type(tl.explain)\n"
    said = asked([sys.executable, "-m", "mypy", "--follow-imports=silent", "--ignore-missing-imports"], code, tmp_path)
    assert "-> tlkeras.training.tuned_classifier.TunedClassifier" in said
    assert "-> tlkeras.schema.Explanation" in said


@pytest.mark.slow
@needs("pyright")
def test_pyright_knows_signatures_and_names(tmp_path):
    pyright = [sys.executable, "-m", "pyright"]
    if subprocess.run([*pyright, "--version"], capture_output=True).returncode:
        pytest.skip("Pyright cannot start here: it needs node, which it fetches where there is none")
    (tmp_path / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{ROOT.parent.as_posix()}"]}}')
    code = (
        "import tlkeras as tl\n\nreveal_type(tl.Tuner)\nreveal_type(tl.Tuner.fit)\nreveal_type(tl.explain)\ntl.Tunner\n"
    )
    said = asked([*pyright, "--pythonpath", sys.executable], code, tmp_path)
    assert 'Type of "tl.Tuner" is "type[Tuner]"' in said
    assert "-> TunedClassifier" in said
    assert "-> Explanation" in said
    assert '"Tunner" is not a known attribute of module "tlkeras"' in said
