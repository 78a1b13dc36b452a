import dataclasses

import numpy as np
import pytest

import tlkeras as tl
from tlkeras.replication.experiment import PIXELS, choose


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
    assert {name: EXPERIMENT.under(name).dataset.name for name in EXPERIMENT.protocols} == {
        "paper": "ham10000",
        "stand_in": "chest_xray",
        "first": "chest_xray",
        "whole": "chest_xray",
    }


def own(**fields):
    """An experiment of one's own images, with no more than it needs."""
    return tl.Experiment(**({"name": "mine", "protocols": {"plain": PROTOCOL}, "data": SAMPLES} | fields))


SAMPLES = tl.Samples(images=("a.png", "b.png"), labels=np.array([0, 1]), class_names=("no", "yes"))


def test_images_of_ones_own_are_samples_or_a_function_of_the_folder_that_data_names(tmp_path):
    asked = []

    def read(folder):
        asked.append(folder)
        return SAMPLES

    assert own().under("plain").load(tmp_path) is SAMPLES
    assert own(data=lambda: SAMPLES).under("plain").load(tmp_path) is SAMPLES
    assert own(data=lambda *folders, step=3: SAMPLES).under("plain").load(tmp_path) is SAMPLES
    asks = [each.reads_folder for each in (own(), own(data=lambda: SAMPLES), own(data=read), EXPERIMENT)]
    assert asks == [False, False, True, True]
    assert own(data=read).under("plain").load(str(tmp_path)) is SAMPLES
    assert asked == [tmp_path]
    selected = {"plain": dataclasses.replace(PROTOCOL, select=FirstImages(1))}
    assert len(own(protocols=selected).under("plain").load(tmp_path)) == 1
    assert own().under("plain").dataset is None
    assert own().under("plain").reported == {}
    assert own().default_backbones == own().smoke_backbones == ("vgg16",)


def test_where_the_images_come_from_is_said_by_the_table_of_data_sets_or_by_the_user():
    row = tl.DATASETS["ham10000"]
    assert EXPERIMENT.under("paper").credit == f"{row.title}, {row.licence}. {row.citation}"
    assert own(about_data="Slides of ward 7, not to be passed on.").under("plain").credit.startswith("Slides of ward 7")
    assert "does not say where they come from" in own().under("plain").credit


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data": None}, "neither data nor dataset"),
        ({"dataset": "ham10000"}, "both data and dataset"),
        ({"data": "images"}, "data: received 'images'; accepted are Samples, or a function"),
        ({"protocols": {}}, "protocols: received none"),
        ({"protocols": {"plain": dataclasses.replace(PROTOCOL, dataset="ham10000")}}, "plain names a data set"),
    ],
)
def test_an_experiment_without_images_or_protocols_is_refused(fields, said):
    with pytest.raises(tl.InputError, match=said):
        own(**fields)


def test_a_function_that_returns_something_else_is_refused(tmp_path):
    with pytest.raises(tl.InputError, match="the function returned list; accepted are Samples"):
        own(data=lambda folder: ["a.png"]).under("plain").load(tmp_path)


def test_the_positive_class_is_the_stand_ins_where_it_names_one():
    assert EXPERIMENT.under("paper").positive_class == "mel"
    assert EXPERIMENT.under("stand_in").positive_class == "PNEUMONIA"
    assert EXPERIMENT.under("first").positive_class == "NORMAL"


def test_samples_are_those_the_protocol_selects(toy_chest_xray):
    whole = EXPERIMENT.under("whole").load(toy_chest_xray, check_counts=False)
    assert len(whole) == 60
    drawn = EXPERIMENT.under("stand_in").load(toy_chest_xray, check_counts=False)
    assert drawn.class_counts() == {"NORMAL": 3, "PNEUMONIA": 3}
    assert set(drawn.sample_ids) < set(whole.sample_ids)
    first = EXPERIMENT.under("first").load(toy_chest_xray, check_counts=False)
    assert first.sample_ids.tolist() == whole.sample_ids[:7].tolist()


def test_a_smaller_copy_of_a_set_is_refused_unless_it_is_asked_for(toy_chest_xray):
    with pytest.raises(tl.InputError, match="does not hold the expected images"):
        EXPERIMENT.under("stand_in").load(toy_chest_xray)


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


def test_a_protocol_that_is_not_there_is_refused_and_those_that_are_are_named():
    with pytest.raises(tl.InputError, match=r"protocol: received 'papr'; toy has paper, stand_in, first, whole\."):
        EXPERIMENT.under("papr")


def test_a_set_of_two_classes_without_the_positive_one_is_refused(toy_chest_xray):
    protocol = dataclasses.replace(PROTOCOL, dataset="chest_xray", positive_class="tumor")
    experiment = dataclasses.replace(EXPERIMENT, protocols={"paper": protocol})
    with pytest.raises(tl.InputError, match="its classes are NORMAL and PNEUMONIA, and the tables of toy speak of the"):
        experiment.under("paper").load(toy_chest_xray, check_counts=False)
