import dataclasses

import numpy as np
import pytest

import tlkeras as tl
from tlkeras.experiment import PIXELS, choose


@dataclasses.dataclass(frozen=True)
class FirstImages:
    """A selection of one's own: any callable on samples is one."""

    n: int

    def __call__(self, samples):
        """The first images."""
        return samples.take(np.arange(self.n))


TUNER = tl.Tuner("vgg16")
PROTOCOL = tl.Protocol(split=tl.Predefined(), cells={("a", "vgg16"): TUNER})
EXPERIMENT = tl.Experiment(
    name="toy",
    paper=tl.Paper(title="A toy", authors="Nobody", venue="nowhere"),
    dataset="ham10000",
    default_backbones=("vgg16",),
    smoke_backbones=("vgg16",),
    positive_class="mel",
    protocols={
        "paper": PROTOCOL,
        "stand_in": dataclasses.replace(
            PROTOCOL, dataset="chest_xray", positive_class="PNEUMONIA", select=tl.Selection(per_class=3)
        ),
        "first": dataclasses.replace(PROTOCOL, dataset="chest_xray", positive_class="NORMAL", select=FirstImages(7)),
        "whole": dataclasses.replace(PROTOCOL, dataset="chest_xray", positive_class="NORMAL"),
    },
    reported={},
)


def test_a_protocol_runs_on_the_experiments_data_set_or_the_one_that_stands_in():
    assert {name: EXPERIMENT.dataset_of(name) for name in EXPERIMENT.protocols} == {
        "paper": "ham10000",
        "stand_in": "chest_xray",
        "first": "chest_xray",
        "whole": "chest_xray",
    }


def test_the_positive_class_is_the_stand_ins_where_it_names_one():
    assert EXPERIMENT.positive_class_of("paper") == "mel"
    assert EXPERIMENT.positive_class_of("stand_in") == "PNEUMONIA"
    assert EXPERIMENT.positive_class_of("first") == "NORMAL"


def test_samples_are_those_the_protocol_selects(toy_chest_xray):
    whole = EXPERIMENT.load("whole", toy_chest_xray, check_counts=False)
    assert len(whole) == 60
    drawn = EXPERIMENT.load("stand_in", toy_chest_xray, check_counts=False)
    assert drawn.class_counts() == {"NORMAL": 3, "PNEUMONIA": 3}
    assert set(drawn.sample_ids) < set(whole.sample_ids)
    first = EXPERIMENT.load("first", toy_chest_xray, check_counts=False)
    assert first.sample_ids.tolist() == whole.sample_ids[:7].tolist()


def test_a_smaller_copy_of_a_set_is_refused_unless_it_is_asked_for(toy_chest_xray):
    with pytest.raises(tl.InputError, match="does not hold the expected images"):
        EXPERIMENT.load("stand_in", toy_chest_xray)


def test_a_protocol_carries_on_where_any_kind_of_recipe_starts_from_an_earlier_run():
    earlier = tl.EarlierRun("other", "all")
    tuner = tl.Tuner("vgg16", weights=earlier, phases=tl.Phase(1, 1e-3, keep="last"))
    for recipe, carries_on in (
        (TUNER, False),
        (tuner, True),
        (tl.Extractor("vgg16", weights=earlier), True),
        (tl.Extractor("vgg16"), False),
        (tl.Search(tuner, {"batch_size": (8, 16)}), True),
        (tl.PixelBaseline("decision_tree"), False),
    ):
        protocol = dataclasses.replace(
            PROTOCOL, cells={("a", PIXELS): tl.PixelBaseline("decision_tree"), ("b", "vgg16"): recipe}
        )
        assert protocol.carries_on == carries_on, recipe


def test_options_are_checked_in_words_and_keep_the_users_order():
    known = ("a", "b", "c")
    assert choose("--x", ["c", "a", "c"], known, ("b",)) == ("c", "a")
    assert choose("--x", None, known, ("b",)) == ("b",)
    with pytest.raises(tl.InputError, match=r"--x: received 'd'; accepted: a, b, c\."):
        choose("--x", ["a", "d"], known, ())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"embedded": {"b": "a title"}}, r"Experiment.embedded: received \['b'\]"),
        ({"published_grid": {"b": {}}}, r"Experiment.published_grid: received \['b'\]"),
    ],
)
def test_methods_that_no_protocol_has_are_refused(fields, said):
    with pytest.raises(tl.InputError, match=said):
        dataclasses.replace(EXPERIMENT, **fields)


def test_trees_have_no_features_to_embed():
    protocol = tl.Protocol(split=tl.Predefined(), cells={("trees", PIXELS): tl.PixelBaseline("decision_tree")})
    with pytest.raises(tl.InputError, match="trees look at pixels, and have no features"):
        dataclasses.replace(EXPERIMENT, protocols={"paper": protocol}, embedded={"trees": "pixels"})


def test_a_set_of_two_classes_without_the_positive_one_is_refused(toy_chest_xray):
    protocol = dataclasses.replace(PROTOCOL, dataset="chest_xray", positive_class="tumor")
    experiment = dataclasses.replace(EXPERIMENT, protocols={"paper": protocol})
    with pytest.raises(tl.InputError, match="its classes are NORMAL and PNEUMONIA, and the tables of toy speak of the"):
        experiment.load("paper", toy_chest_xray, check_counts=False)
