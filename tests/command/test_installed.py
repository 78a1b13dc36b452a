import email
import importlib.metadata
import platform

import pytest

from tlkeras.command.installed import extra_lines, package_problems, package_rows, version_of

ASKED = """\
Name: tlkeras
Version: 9.8.7
Requires-Python: >=3.11
Requires-Dist: keras<3.16,>=3.15.1
Requires-Dist: tensorflow>=2.21
Requires-Dist: opencv-python-headless>=4.10
Requires-Dist: old-python-only>=1; python_version < "3"
Provides-Extra: ray
Requires-Dist: ray>=2.50; extra == "ray"
"""
GOOD = {"keras": "3.15.2", "tensorflow": "2.21.0", "opencv-python-headless": "4.12.0.88"}


@pytest.fixture
def installed(monkeypatch):
    """Pretends that these packages are installed, and that tlkeras asks for those of ASKED."""

    def pretend(versions, asked=ASKED):
        def version(name):
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr(importlib.metadata, "metadata", lambda name: email.message_from_string(asked))

    return pretend


def test_rows_hold_what_is_installed_beside_what_is_asked_for(installed):
    installed({"keras": "3.15.2", "opencv-python-headless": "4.12.0.88"})
    assert package_rows() == [
        ("tlkeras", "9.8.7", ""),
        ("python", platform.python_version(), ">=3.11"),
        ("keras", "3.15.2", "<3.16,>=3.15.1"),
        ("tensorflow", "missing", ">=2.21"),
        ("opencv-python-headless", "4.12.0.88", ">=4.10"),
    ]


def test_what_fits_is_no_problem_and_extras_need_not_be_there(installed):
    installed(GOOD)
    assert package_problems() == []
    assert extra_lines() == ["extra ray: ray missing (where it is wanted: pip install 'tlkeras[ray]')"]
    installed(GOOD | {"ray": "2.60.0"})
    assert extra_lines() == ["extra ray: ray 2.60.0"]


def test_a_keras_with_loading_holes_is_a_problem_with_a_remedy(installed):
    installed(GOOD | {"keras": "3.12.0"})
    (problem,) = package_problems()
    assert "keras is 3.12.0, outside <3.16,>=3.15.1" in problem
    assert "run code" in problem
    assert "pip install 'keras<3.16,>=3.15.1'" in problem


def test_a_missing_package_is_a_problem(installed):
    installed({name: version for name, version in GOOD.items() if name != "keras"})
    (problem,) = package_problems()
    assert problem == "keras is not installed. Install it: pip install 'keras<3.16,>=3.15.1'"


def test_tensorflow_without_cuda_does_as_well(installed):
    installed({"tensorflow-cpu" if name == "tensorflow" else name: version for name, version in GOOD.items()})
    assert package_problems() == []
    assert version_of("tensorflow") == "2.21.0"


def test_two_kinds_of_opencv_are_a_problem(installed):
    installed(GOOD | {"opencv-python": "4.12.0.88"})
    (problem,) = package_problems()
    assert "opencv-python and opencv-python-headless are installed together" in problem
    assert "pip uninstall opencv-python opencv-python-headless" in problem


def test_a_python_outside_the_range_is_a_problem(installed):
    installed(GOOD, ASKED.replace(">=3.11", "<3.0"))
    (problem,) = package_problems()
    assert f"Python {platform.python_version()} is not within <3.0" in problem


def test_this_installation_is_read():
    rows = {name: (version, asked) for name, version, asked in package_rows()}
    assert rows["keras"] == (importlib.metadata.version("keras"), "<3.16,>=3.15.1")
    assert "pytest" not in rows
