import os

import numpy as np

from tlkeras.machine import n_cores, peak_memory_mb, reset_peak_memory


def test_the_peak_counts_what_was_held_and_starts_anew():
    before = peak_memory_mb()
    held = np.ones((120, 1024, 1024), np.uint8)
    with_array = peak_memory_mb()
    assert with_array >= before + 100 or with_array >= held.nbytes >> 20
    del held
    reset_peak_memory()
    if os.access("/proc/self/clear_refs", os.W_OK):
        assert peak_memory_mb() <= with_array - 100


def test_no_more_cores_than_the_machine_has():
    assert 1 <= n_cores() <= os.cpu_count()
