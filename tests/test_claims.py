import json
import re

import pytest
from claims import GENERATED, Claim, ClaimError, documents, mend, printed, problems, read_claims
from evidence import REPOSITORY, EvidenceError, evaluate

DOCUMENT = """# A study

At a rate of 1e-3 the frozen network, mobilenetv2_035 at 96x96, reaches
80.1 [75.2, 84.9] %, on 3 seeds; `n = 12`.

| method | accuracy |
|---|---|
| frozen | 80.1 |
| tuned | 85.4 ± 1.2 [81, 88] |

Two of two lose.
"""
CLAIMS = """
document = "README.md"

[[claim]]
says = "the frozen network, mobilenetv2_035 at 96x96, reaches {:.1f} [{:.1f}, {:.1f}] %"
from = ['100 * csv("scores.csv", ["value", "low", "high"], method="frozen")']
holds = ['csv("scores.csv", "value", method="frozen") < 0.9']

[[claim]]
says = '''
| frozen | {:.1f} |
| tuned | {} |
'''
from = ['100 * csv("scores.csv", "value", method="frozen")', 'page("table.md", "accuracy", "tuned")']

[[exempt]]
because = "setting"
says = ["rate of 1e-3", "3 seeds"]
"""


@pytest.fixture
def study(tmp_path):
    """A document, its claims and the files they name: write(name=text) changes one of the three."""
    folder = tmp_path / "assets" / "study"
    folder.mkdir(parents=True)
    (tmp_path / "README.md").write_text(DOCUMENT)
    (folder / "claims.toml").write_text(CLAIMS)
    (folder / "scores.csv").write_text("method,value,low,high\nfrozen,0.8006,0.752,0.849\ntuned,0.854,0.81,0.88\n")
    (folder / "table.md").write_text("| method | accuracy |\n|---|---|\n| tuned | 85.4 ± 1.2 [81, 88] |\n")
    (folder / "cell.json").write_text(json.dumps({"fit": {"seconds": [1, 2]}}))
    return tmp_path


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_figure_of_the_documents_is_what_its_files_say():
    assert "\n".join(problems()) == ""


@pytest.mark.parametrize("figure", ["?", "-98,765.4321"])
def test_mending_brings_every_figure_of_the_documents_back(figure):
    claims, _ = read_claims()
    for document in {claim.document for claim in claims}:
        of_document = [claim for claim in claims if claim.document == document]
        text = spoilt = (REPOSITORY / document).read_text()
        for start, end in sorted({span for claim in of_document for span in claim.find(text).regs[1:]}, reverse=True):
            spoilt = spoilt[:start] + figure + spoilt[end:]
        mended, refused = mend(spoilt, of_document)
        assert refused == []
        assert mended == text


def test_pages_that_scripts_write_name_their_script():
    for page, scripts in GENERATED.items():
        for script in scripts.split(", "):
            assert page in (REPOSITORY / script).read_text()


def test_a_document_that_says_what_the_files_say_has_no_problem(study):
    assert [*problems(study)] == []


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("README.md", "[75.2,", "[75.1,", ["README.md:4: 75.1 stands in", "75.2 says", 'csv("scores.csv"']),
        ("assets/study/scores.csv", "0.8006", "0.8106", ["README.md:4: 80.1 stands", "README.md:8: 80.1", "81.1 says"]),
        ("assets/study/table.md", "± 1.2", "± 1.3", ["README.md:9: 85.4 ± 1.2 [81, 88] stands", "85.4 ± 1.3 [81, 88]"]),
        ("README.md", "the frozen network", "a frozen network", ["README.md no longer says 'the frozen network"]),
        ("README.md", "At a rate of 1e-3", "At a low rate", ["no longer says 'rate of 1e-3': remove the exemption"]),
        ("README.md", "3 seeds", "13 seeds", ["README.md:4: neither claim nor exemption for 13 in: 80.1"]),
        ("README.md", "96x96", "128x128", ["README.md no longer says 'the frozen network, mobilenetv2_035 at 96x96"]),
        ("README.md", "Two of two lose", "Two lose 5.5 %, 1e-4, 16x", ["README.md:11: neither", "for 5.5 1e-4 16 in"]),
        ("README.md", "Two of two lose", "A ` in 5.5 %.\n\nA ` more", ["README.md:11: neither", "for 5.5 in"]),
        ("README.md", "rate of 1e-3", "rate of 1e-35", ["for 1e-35 in: At a rate", "remove the exemption"]),
        (
            "assets/study/claims.toml",
            '"rate of 1e-3", "3 seeds"',
            '"rate of 1e-3"',
            ["README.md:4: neither", "for 3 in"],
        ),
        ("README.md", "| tuned |", "| extra | 71.2 |\n| tuned |", ["no longer says '| frozen |", "exemption for 71.2"]),
        (
            "README.md",
            "lose.",
            "lose.\n\n| frozen | 1 |\n| tuned | 2 |\n",
            ["stands in 2 places (lines 8, 13); make it"],
        ),
        ("assets/study/claims.toml", "< 0.9", "< 0.8", ["README.md:3:", "does not hold", "< 0.8"]),
        ("assets/study/claims.toml", '["value", "low", "high"]', '"value"', ["room for 3 figures, its sources give 1"]),
        ("assets/study/claims.toml", """'page("table.md", "accuracy", "tuned")'""", "'85'", ["reads no file: 85"]),
        ("assets/study/claims.toml", "scores.csv", "gone.csv", ["there is no file", "gone.csv"]),
        ("assets/study/claims.toml", "README.md", "gone.md", ["there is no document gone.md"]),
    ],
)
def test_what_does_not_agree_is_said(study, file, old, new, words):
    change(study / file, old, new)
    said = "\n".join(problems(study))
    for each in words:
        assert each in said


def test_digits_of_a_fragment_prove_nothing(study):
    change(study / "assets/study/claims.toml", '{:.1f}] %"', '{:.1f}] %, on 3 seeds"')
    change(study / "assets/study/claims.toml", ', "3 seeds"', "")
    assert [*problems(study)] == [
        "README.md:4: neither claim nor exemption for 3 in: 80.1 [75.2, 84.9] %, on 3 seeds; `n = 12`."
    ]


def test_a_row_that_a_page_has_twice_has_to_say_the_same(tmp_path):
    table = "| method | accuracy |\n|---|---|\n| tuned | 85.4 |\n"
    (tmp_path / "same.md").write_text(f"# Once\n\n{table}\n# Again\n\n{table}")
    (tmp_path / "other.md").write_text(f"# Once\n\n{table}\n# Again\n\n{table.replace('85', '86')}")
    assert evaluate('page("same.md", "accuracy", "tuned")', tmp_path) == "85.4"
    with pytest.raises(EvidenceError, match="rows that differ with 'tuned'"):
        evaluate('page("other.md", "accuracy", "tuned")', tmp_path)
    assert evaluate('page("other.md", "accuracy", "tuned", under="Again")', tmp_path) == "86.4"


def test_an_entry_may_be_of_another_document(study):
    (study / "CONTRIBUTING.md").write_text("At 80.1 %, and 12 of it.")
    assert documents(study) == ["README.md", "CONTRIBUTING.md"]
    claims = study / "assets/study/claims.toml"
    claims.write_text(
        claims.read_text()
        + """
[[claim]]
document = "CONTRIBUTING.md"
says = "At {:.1f} %"
from = ['100 * csv("scores.csv", "value", method="tuned")']

[[exempt]]
document = "CONTRIBUTING.md"
because = "setting"
says = ["and 12 of"]
"""
    )
    (said,) = problems(study)
    assert said.startswith("CONTRIBUTING.md:1: 80.1 stands in")
    assert "85.4 says" in said


def test_of_a_script_only_the_claims_are_checked(study):
    (study / "note.py").write_text('"""At a rate of 3e-4 it reaches 80.1 %."""\n')
    claims = study / "assets/study/claims.toml"
    entry = """
[[claim]]
document = "note.py"
says = "it reaches {:.1f} %"
from = ['100 * csv("scores.csv", "value", method="frozen")']
"""
    claims.write_text(claims.read_text() + entry)
    assert [*problems(study)] == []
    change(study / "note.py", "80.1", "80.2")
    assert [said.split("\n")[0] for said in problems(study)] == [
        'note.py:1: 80.2 stands in: """At a rate of 3e-4 it reaches 80.2 %."""'
    ]


def test_a_page_that_no_script_writes_needs_claims_too(study):
    (study / "assets/study/README.md").write_text("It reached 99.9 %.")
    assert documents(study) == ["README.md", "assets/study/README.md"]
    assert [*problems(study)] == [
        "assets/study/README.md:1: neither claim nor exemption for 99.9 in: It reached 99.9 %."
    ]


def test_mending_writes_what_the_files_say_and_leaves_the_rest(study):
    change(study / "assets/study/scores.csv", "frozen,0.8006,0.752,0.849", "frozen,-0.0612,-0.1,1.25")
    claims, _ = read_claims(study)
    mended, refused = mend(DOCUMENT, claims)
    assert refused == []
    assert mended == DOCUMENT.replace("80.1 [75.2, 84.9]", "-6.1 [-10.0, 125.0]").replace("| 80.1 |", "| -6.1 |")


def test_mending_refuses_what_stands_twice_and_mends_the_others(study):
    twice = DOCUMENT.replace("80.1 [", "1 [") + "\nAgain: | frozen | 3 |\n| tuned | 4 |\n"
    mended, refused = mend(twice, read_claims(study)[0])
    assert mended == twice.replace("1 [", "80.1 [", 1)
    assert len(refused) == 1
    assert "stands in 2 places (lines 8, 13); make it longer" in refused[0]


def test_lines_spaces_and_links_of_a_fragment_are_free():
    claim = Claim(REPOSITORY / "claims.toml", "README.md", "| [all]() | {:.1f} | and in {:d} of them", ("1",))
    assert claim.find("|  [all](a/b.md)| 2.5|  and\n  in 3 of\nthem").groups() == ("2.5", "3")


def test_a_figure_is_not_found_inside_a_longer_one():
    claim = Claim(REPOSITORY / "claims.toml", "README.md", "{:.1f} of {:d}", ("1",))
    assert [*claim.find("block2.5 of 3, v1.2.5 of 3, 12.5 of 36 and").groups()] == ["12.5", "36"]
    with pytest.raises(ClaimError, match="no longer says"):
        claim.find("block2.5 of 3")


@pytest.mark.parametrize(
    ("value", "spec", "figure"),
    [
        (0.6194, ".3p", ".619"),
        (-0.25, ".2p", "-.25"),
        (1.0, ".3p", "1.000"),
        (2003.0, ",", "2,003"),
        (4, "w", "four"),
        (21, "w", "21"),
        (0.001, ".0e", "1e-3"),
        (-0.04, ".1f", "0.0"),
        (-0.04, "+.1f", "0.0"),
        (2.5, "+.1f", "+2.5"),
        ("85.4 ± 1.2", "", "85.4 ± 1.2"),
        (7, "", "7"),
    ],
)
def test_figures_are_printed_as_documents_print_them(value, spec, figure):
    assert printed(value, spec) == figure


@pytest.mark.parametrize(("value", "spec"), [(2.5, "d"), (2.5, ""), (0.5, "w"), ("2.5", ".1f")])
def test_a_figure_that_its_format_would_change_is_refused(value, spec):
    with pytest.raises(ClaimError):
        printed(value, spec)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('csv("scores.csv", "value", method=["tuned", "frozen"])', [0.854, 0.8006]),
        ('sum(csv("scores.csv", "value") > 0.85)', 1),
        ('max(csv("scores.csv", "high") - csv("scores.csv", "low"))', 0.097),
        ('json("cell.json", "fit", "seconds", 1) / 2', 1),
        ('numbers(page("table.md", "accuracy", "tuned"))', [85.4, 1.2, 81, 88]),
        ('said("table.md", "± {} [{},")', [1.2, 81]),
        ('at_largest(csv("scores.csv", "value"), csv("scores.csv", "low"))', 0.81),
        ('reported("liang2024_tumor", "baseline", "resnet50", ["test1", "test2"], "accuracy")', [100, 52.1]),
    ],
)
def test_expressions_read_files_and_reckon(study, expression, value):
    assert evaluate(expression, study / "assets/study") == pytest.approx(value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ('__import__("os")', "there is no function __import__"),
        ("(1).real", "more than a claim may say"),
        ("[x for x in [1]]", "more than a claim may say"),
        ("1 +", "is no expression"),
        ('csv("scores.csv", "value", method="gone")', "has no row with"),
        ('csv("scores.csv", "gone")', "has no column gone"),
        ('page("table.md", "gone", "tuned")', "no row with 'tuned' and a column 'gone'"),
        ('said("table.md", "gone {}")', "0 times"),
        ('json("cell.json", "gone")', "has nothing at"),
        ('csv("scores.csv", "value") - [1, 2, 3]', "broadcast"),
    ],
)
def test_an_expression_that_has_no_answer_says_why(study, expression, words):
    with pytest.raises(EvidenceError, match=re.escape(words)):
        evaluate(expression, study / "assets/study")
