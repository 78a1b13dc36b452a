"""Scripts of experiments/ as modules: they are no package."""

import importlib.util
import sys
from pathlib import Path

import tlkeras

EXPERIMENTS = Path(tlkeras.__file__).parent.parent / "experiments"
BENCHMARKS = EXPERIMENTS / "benchmarks"


def load_script(name, folder=EXPERIMENTS):
    """The module <name>.py of a folder of scripts; its neighbours are found, as in `python script`."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # a dataclass looks its own module up
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module
