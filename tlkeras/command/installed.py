"""The packages that are installed beside those tlkeras asks for."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

# All four bring the same cv2 and overwrite each other's files.
_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_SAME_AS = {"tensorflow": ("tensorflow-cpu",)}  # {asked for: what does as well}


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or of one that does as well; None where there is none."""
    for name in (package, *_SAME_AS.get(package, ())):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def package_rows() -> list[tuple[str, str, str]]:
    """(package, installed version or "missing", what is asked for) of tlkeras, Python and every required package.

    What is asked for is what setup.cfg said when tlkeras was installed.
    """
    asked = importlib.metadata.metadata("tlkeras")
    rows = [("tlkeras", asked["Version"], ""), ("python", platform.python_version(), asked["Requires-Python"] or "")]
    for requirement, extra in _requirements():
        if extra is None:
            rows.append((requirement.name, version_of(requirement.name) or "missing", str(requirement.specifier)))
    return rows


def package_problems() -> list[str]:
    """What is missing or of a version that does not fit, and what to do about it; without the extras."""
    python, wanted = platform.python_version(), importlib.metadata.metadata("tlkeras")["Requires-Python"] or ""
    problems = []
    if not SpecifierSet(wanted).contains(python, prereleases=True):
        problems.append(f"Python {python} is not within {wanted}. Make an environment with one that is.")
    for requirement, extra in _requirements():
        version = version_of(requirement.name)
        if extra is not None or (version and requirement.specifier.contains(version, prereleases=True)):
            continue
        found = f"is {version}, outside {requirement.specifier}" if version else "is not installed"
        if requirement.name == "keras" and version:
            found += " (below 3.15.1 a model file can run code when it is loaded)"
        problems.append(
            f"{requirement.name} {found}. Install it: pip install '{requirement.name}{requirement.specifier}'"
        )
    several = [name for name in _OPENCV if version_of(name)]
    if len(several) > 1:
        problems.append(
            f"{' and '.join(several)} are installed together and overwrite each other's files. Remove them all (pip "
            f"uninstall {' '.join(several)}), then pip install opencv-python-headless."
        )
    return problems


def extra_lines() -> list[str]:
    """For every extra what of it is installed, in words."""
    extras: dict[str, list[str]] = {}
    for requirement, extra in _requirements():
        if extra is not None and requirement.name != "tlkeras":
            extras.setdefault(extra, []).append(requirement.name)
    lines = []
    for extra, names in extras.items():
        told = ", ".join(f"{name} {version_of(name) or 'missing'}" for name in names)
        install = "" if all(map(version_of, names)) else f" (where it is wanted: pip install 'tlkeras[{extra}]')"
        lines.append(f"extra {extra}: {told}{install}")
    return lines


def _requirements() -> Iterator[tuple[Requirement, str | None]]:
    """What tlkeras asks for, each with the extra it belongs to, None for what is always needed."""
    asked = importlib.metadata.metadata("tlkeras")
    for text in asked.get_all("Requires-Dist") or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement, None
            continue
        for extra in asked.get_all("Provides-Extra") or ():
            if requirement.marker.evaluate({"extra": extra}):
                yield requirement, extra
