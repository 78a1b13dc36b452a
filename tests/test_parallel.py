import subprocess
import sys
from importlib.util import find_spec

import joblib
import pytest

import tlkeras as tl


def test_without_ray_the_backend_says_in_words_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.util.joblib.ray_backend", None)
    with pytest.raises(tl.InputError, match=r'"ray" needs the package ray.*pip install "tlkeras\[ray\]".*"loky"'):
        joblib.parallel_config(backend="ray", n_jobs=2)


def test_importing_the_package_registers_the_backend_and_imports_no_ray():
    code = (
        "import sys, joblib, tlkeras; from joblib.parallel import BACKENDS;"
        "print('ray' in BACKENDS, 'ray' in sys.modules, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False", "False"]


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_with_ray_the_backend_is_rays():
    # In a process of its own: Ray's backend changes joblib's pools for the rest of a process.
    code = (
        "import tlkeras, joblib\n"
        "with joblib.parallel_config(backend='ray', n_jobs=2) as config: print(type(config['backend']).__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["ray.util.joblib.ray_backend"]
