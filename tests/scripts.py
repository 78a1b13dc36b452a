"""Scripts of experiments/ as modules: they are no package."""

import importlib.util
import sys
from pathlib import Path

import tlkeras

EXPERIMENTS = Path(tlkeras.__file__).parent.parent / "experiments"


def load_script(name):
    """The module experiments/<name>.py."""
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # a dataclass looks its own module up
    spec.loader.exec_module(module)
    return module
