import pandas as pd
import pytest
from scripts import load_script

import tlkeras as tl
from tlkeras.replication.script import main

pytestmark = pytest.mark.usefixtures("quick_figures")


@pytest.fixture(scope="module")
def script():
    return load_script("burugupalli_chest_xray")


def test_every_protocol_has_the_networks_of_the_document_and_small_ones(script):
    for protocol in script.EXPERIMENT.protocols.values():
        assert set(protocol.backbones) == {*script.DOCUMENT_BACKBONES, *script.SMALL_BACKBONES} <= set(tl.BACKBONES)
    assert script.EXPERIMENT.protocols["corrected"].methods == ("frozen", "augmented", "fine_tuned")
    assert len(script.EXPERIMENT.reported) == 18
    assert script.EXPERIMENT.reported[("fine_tuned", "densenet201"), "test", "accuracy"] == 56.66


def test_the_protocols_differ_in_what_they_say_they_differ_in(script):
    paper, corrected = (
        script.EXPERIMENT.protocols[name].cells["fine_tuned", "vgg16"] for name in ("paper", "corrected")
    )
    assert (paper.preprocessing, corrected.preprocessing) == ("unit", "backbone")
    assert [phase.batch_norm for phase in paper.phases] == ["frozen", "train"]
    assert [phase.batch_norm for phase in corrected.phases] == ["frozen", "frozen"]
    assert (paper.augment_val, corrected.augment_val) == (True, False)
    assert ({phase.keep for phase in paper.phases}, {phase.keep for phase in corrected.phases}) == ({"last"}, {"best"})
    assert paper.phases[1].unfreeze_from == corrected.phases[1].unfreeze_from == "block4"
    assert (paper.image_size, paper.head, paper.augmentation) == (
        corrected.image_size,
        corrected.head,
        corrected.augmentation,
    )


def test_the_causes_are_all_four_combinations_and_nothing_else(script):
    cells = {method: script.EXPERIMENT.protocols["causes"].cells[method, "resnet50"] for method in script.CAUSES}
    seen = {(cell.preprocessing, cell.phases[1].batch_norm) for cell in cells.values()}
    assert seen == {(p, b) for p in ("unit", "backbone") for b in ("train", "frozen")}
    rest = {(cell.head, cell.augmentation, cell.batch_size, cell.image_size, cell.phases[0]) for cell in cells.values()}
    assert len(rest) == 1


def test_block4_of_vgg16_is_the_documents_block4_conv1(script):
    assert tl.BACKBONES["vgg16"].stages["block4"] == "block4_conv1"


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["paper", "causes"])
def test_the_smoke_run_makes_every_cell_of_the_table(script, protocol, toy_chest_xray, tmp_path):
    arguments = ["--smoke", "--protocol", protocol, "--data", str(toy_chest_xray), "--out", str(tmp_path)]
    main(script.EXPERIMENT, arguments)
    table = pd.read_csv(tmp_path / protocol / "accuracy.csv").set_index("backbone")
    ours = [column for column in table.columns if column.endswith(" ours")]
    assert len(ours) == len(script.EXPERIMENT.protocols[protocol].methods)
    assert table.loc["mobilenet_025", ours].notna().all()
    # The document reports none of the methods of `causes`.
    assert set(table.index) - {"mobilenet_025"} == (set() if protocol == "causes" else set(script.DOCUMENT_BACKBONES))
    assert table.drop(index="mobilenet_025")[ours].isna().all(axis=None)


@pytest.mark.slow
@pytest.mark.real
def test_one_cell_runs_on_real_images_with_real_weights(script, real_data, real_weights, tmp_path):
    samples = tl.load_dataset("chest_xray", real_data)
    splits = script.EXPERIMENT.protocols["corrected"].split.split(samples, seed=0)
    few = {part: samples.take(range(0, len(samples), 20)) for part, samples in splits.parts().items()}
    recipe = script.EXPERIMENT.protocols["corrected"].cells["frozen", "mobilenetv2_035"]
    classifier = recipe.fit(few["train"], few["val"], seed=0, weights_folder=real_weights)
    # Real features of 223 training images: far above the 74 % of always answering PNEUMONIA.
    assert tl.score(classifier.predict(few["val"]))["accuracy"] > 0.85
