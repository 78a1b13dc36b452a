import subprocess
import sys

from tlkeras.seeds import derive_seed, generator


def test_a_seed_is_a_function_of_its_words_only():
    assert derive_seed(0, "order", 1, 2) == derive_seed(0, "order", 1, 2)
    # Another process, another hash randomisation.
    code = "from tlkeras.seeds import derive_seed; print(derive_seed(0, 'order', 1, 2))"
    assert int(subprocess.check_output([sys.executable, "-c", code])) == derive_seed(0, "order", 1, 2)


def test_each_word_counts():
    seeds = {
        derive_seed(s, word, p, e) for s in (0, 1) for word in ("order", "dropout") for p in (1, 2) for e in (1, 12)
    }
    assert len(seeds) == 16
    assert derive_seed(0, "order", 1, 12) != derive_seed(0, "order", 11, 2)


def test_seeds_fit_every_generator():
    seeds = [derive_seed(number, "x") for number in range(2000)]
    assert min(seeds) >= 0
    assert max(seeds) < 2**31


def test_generators_of_different_purposes_are_their_own():
    a, b = generator(0, "a").random(4), generator(0, "b").random(4)
    assert (a != b).all()
    assert (a == generator(0, "a").random(4)).all()
