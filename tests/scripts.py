"""Scripts of experiments/ as modules: they are no package."""

import importlib.util
import sys
from pathlib import Path

import tlkeras

EXPERIMENTS = Path(tlkeras.__file__).parent.parent / "experiments"


def load_script(name):
    """The module experiments/<name>.py; what it imports from its neighbours is found, as in `python script`."""
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # a dataclass looks its own module up
    sys.path.insert(0, str(EXPERIMENTS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(EXPERIMENTS))
    return module
