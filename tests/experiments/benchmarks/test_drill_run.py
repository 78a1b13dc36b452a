import pytest
from scripts import BENCHMARKS, load_script

SAID = """the toy run begins
auditing 46 images, 1 split

[1/2] with_val: small/frozen/seed0
phase 1 of 1: backbone frozen; 16,410 of 258,298 parameters learn
frozen layers up to head_flatten: 22 images to compute, 0 are in the feature store
  epoch  1/2     1.0 s  loss 0.6611
  epoch  2/2     0.0 s  loss 0.4657
accuracy val 1.0000; 2 s, peak 773 MB

[2/2] with_val: small/two_phases/seed0
phase 1 of 2: backbone frozen
  epoch  1/1     1.0 s  loss 0.6611
phase 2 of 2: 4 of 8 backbone layers trainable
  epoch  1/1     1.0 s  loss 0.6611
accuracy val 1.0000; 2 s, peak 773 MB
"""


@pytest.fixture(scope="module")
def drill():
    return load_script("drill_run", BENCHMARKS)


def test_what_a_run_was_doing_is_read_off_its_lines(drill):
    lines = SAID.splitlines(keepends=True)
    found = [drill.doing_of("".join(lines[:n])) for n in range(len(lines) + 1)]
    assert list(dict.fromkeys(found)) == [
        "starting",
        "auditing the split",
        "frozen: building",
        "frozen: phase 1",
        "frozen: predicting and writing",
        "reporting",
        "two_phases: building",
        "two_phases: phase 1",
        "two_phases: phase 2",
        "two_phases: predicting and writing",
    ]
    assert len(drill.EPOCH.findall(SAID)) == 4


@pytest.mark.parametrize(
    ("code", "complaint", "outcome"),
    [
        (2, "W0000 00:00:17 noise of TensorFlow\nerror: out/a.csv cannot be written.", "exit 2, one message"),
        (0, "", "NOT AS WANTED: exit 0, no message"),
        (2, "error: something else", "NOT AS WANTED: exit 2, error: something else"),
        (1, "error: out/a.csv cannot be written.", "NOT AS WANTED: exit 1, error: out/a.csv cannot be written."),
        (2, "error: a cannot be written\nTraceback (most recent call last):", "NOT AS WANTED: exit 2, Traceback (most"),
        (0, "Exception ignored in: <function>", "NOT AS WANTED: exit 0, Exception ignored in: <function>"),
        (-9, "", "NOT AS WANTED: exit -9, no message"),
    ],
)
def test_only_the_exit_code_and_the_one_message_that_are_wanted_will_do(drill, tmp_path, code, complaint, outcome):
    (tmp_path / "0.err").write_text(complaint)

    class Ended:
        def poll(self):
            return code

        wait = poll

    child = drill.Child(Ended(), tmp_path / "0.out", tmp_path / "0.err", 0.0)
    event = drill.judged(child, 2, r"error: .* cannot be written")
    assert event.outcome.startswith(outcome)
    assert event.wanted == (not outcome.startswith("NOT"))
    late = drill.judged(child, 2, r"error: .* cannot be written", may_end=True)
    assert late.wanted == (event.wanted or (code, complaint) == (0, ""))
