import dataclasses

import numpy as np
import pytest
from cells import KEY, MIXED, ONE, TOY, finished, measured, network, right_in, write_cell

import tlkeras as tl
from tlkeras.data.leakage_findings import Audit
from tlkeras.evaluation.blocks import Bullets, Code, Heading, Table, Text
from tlkeras.replication.provenance import data_parts, data_source, seeded
from tlkeras.replication.provenance import provenance as origin
from tlkeras.replication.run_folder import CellKey

TREE, SMALL = CellKey("tree", "pixels", 0), CellKey("frozen", "mobilenetv2_035", 0)
XRAY, LESIONS = tl.DATASETS["chest_xray"], tl.DATASETS["ham10000"]


@pytest.fixture
def cell(tmp_path):
    """Writes a cell and returns what its cell.json holds."""
    return lambda key, **given: write_cell(tmp_path, key, {"test": right_in(range(8))}, **given)


def under(blocks, title):
    """The first block of another kind below a heading."""
    start = blocks.index(Heading(title))
    return next(block for block in blocks[start + 1 :] if not isinstance(block, Heading))


def tables(blocks):
    """{name of the index: frame}."""
    return {block.frame.index.name: block.frame for block in blocks if isinstance(block, Table)}


def data_blocks(cells, audits, experiment=TOY):
    run = finished(cells, experiment=experiment, audits=audits)
    return [*data_source(run), *data_parts(run)]


def provenance(cells, experiment=TOY):
    return origin(finished(cells, experiment=experiment))


def changed(**fields):
    """The toy experiment with another protocol."""
    protocol = dataclasses.replace(TOY.protocols["corrected"], **fields)
    return dataclasses.replace(TOY, protocols={"corrected": protocol})


# ---- The data


def test_the_data_are_named_with_licence_and_citation(cell):
    title, named, *_ = data_blocks({KEY: cell(KEY)}, {})
    assert (title, named) == (Heading("The data"), Text(f"{XRAY.title}, CC BY 4.0. {XRAY.citation}"))


def test_images_of_every_part_and_class_are_those_of_the_first_cells_seed(cell):
    first, second = dataclasses.replace(KEY, seed=3), dataclasses.replace(KEY, seed=4)
    images = {"train": {"NORMAL": 1000, "PNEUMONIA": 3000}, "test": {"NORMAL": 1, "PNEUMONIA": 2}}
    cells = {first: cell(first, facts={"images": images}), second: cell(second)}
    frame = tables(data_blocks(cells, {}))["part, seed 3"]
    assert frame.to_dict("index") == {
        "train": {"images": "4,000", "NORMAL": "1,000 (25.0%)", "PNEUMONIA": "3,000 (75.0%)"},
        "test": {"images": "3", "NORMAL": "1 (33.3%)", "PNEUMONIA": "2 (66.7%)"},
    }


def test_data_that_stand_in_are_said_to(cell):
    _, named, said, *_ = data_blocks({KEY: cell(KEY)}, {}, changed(dataset="ham10000"))
    assert named.text == f"{LESIONS.title}, CC BY-NC 4.0. {LESIONS.citation}"
    assert said.text.startswith(f"**{LESIONS.title} stands in for {XRAY.title}: ")
    assert "not shown" in said.text


# ---- Pixels


def test_pixels_on_the_disk_and_the_share_that_is_enlarged_stand_part_by_part(cell):
    cells = {KEY: cell(KEY), TREE: cell(TREE)}  # 150x150 and 64x64
    blocks = data_blocks(cells, {0: measured(train=MIXED, val={}, test=ONE)})
    assert tables(blocks)["pixels (width x height), seed 0"].to_dict() == {
        "all": {
            "on disk, smallest": "64x100",
            "on disk, median": "200x150",
            "on disk, largest": "600x450",
            "used, 150x150: enlarged": "1 (12.5%)",
            "used, 64x64: enlarged": "0 (0.0%)",
        },
        "train": {
            "on disk, smallest": "64x100",
            "on disk, median": "200x150",
            "on disk, largest": "600x450",
            "used, 150x150: enlarged": "1 (16.7%)",
            "used, 64x64: enlarged": "0 (0.0%)",
        },
        "val": {
            "on disk, smallest": "",
            "on disk, median": "",
            "on disk, largest": "",
            "used, 150x150: enlarged": "0 (0.0%)",
            "used, 64x64: enlarged": "0 (0.0%)",
        },
        "test": {
            "on disk, smallest": "200x150",
            "on disk, median": "200x150",
            "on disk, largest": "200x150",
            "used, 150x150: enlarged": "0 (0.0%)",
            "used, 64x64: enlarged": "0 (0.0%)",
        },
    }


def test_sizes_are_width_by_height_also_where_they_differ(cell):
    wide = cell(KEY, recipe=network("vgg16").resized((100, 201)))
    blocks = data_blocks({KEY: wide}, {0: measured(train=ONE)})
    assert tables(blocks)["pixels (width x height), seed 0"].loc["used, 201x100: enlarged", "all"] == "2 (100.0%)"
    assert under(blocks, "The split and its audit").items[-1] == (
        "2 of 2 images (100.0%) are lower or narrower than 201x100 and are enlarged to it: 200x150 (width x height)."
    )


def test_each_seed_is_told_of_the_image_sizes_of_its_own_cells(cell):
    second = dataclasses.replace(TREE, seed=1)
    cells = {KEY: cell(KEY), second: cell(second)}  # 150x150 of seed 0, 64x64 of seed 1
    found = under(
        data_blocks(cells, dict.fromkeys((0, 1), measured(train={(32, 200): 1}))),
        "The split and its audit",
    ).items
    assert [line.split(" (100.0%) ")[0] for line in found[-2:]] == ["seed 0: 1 of 1 images", "seed 1: 1 of 1 images"]
    assert ["150x150" in line for line in found[-2:]] == ["64x64" not in line for line in found[-2:]] == [True, False]


def copied(blocks):
    return [block.text for block in blocks if isinstance(block, Text) and " copy: " in block.text]


@pytest.mark.parametrize(
    ("dataset", "sizes", "said"),
    [
        ("ham10000", {(450, 600): 9}, []),
        ("ham10000", ONE, ["**A smaller copy: published at 600x450, here 200x150 (width x height).**"]),
        (
            "ham10000",
            MIXED,
            [
                "**A resized copy: published at 600x450, here smallest 64x100, median 200x150, largest 600x450 "
                "(width x height).**"
            ],
        ),
        ("chest_xray", MIXED, []),
        ("chest_xray", {(224, 224): 1}, []),  # of one image nothing can be told
        (
            "chest_xray",
            {(224, 224): 2},
            ["**A resized copy: published in varying sizes, here all 224x224 (width x height).**"],
        ),
        ("tumor", ONE, []),
    ],
)
def test_a_copy_of_another_size_than_was_published_is_said_to_be_one(cell, dataset, sizes, said):
    experiment = dataclasses.replace(TOY, dataset=dataset)
    assert copied(data_blocks({KEY: cell(KEY)}, {0: measured(train=sizes)}, experiment)) == said


def test_an_audit_that_did_not_measure_pixels_says_what_does(cell):
    cells = {dataclasses.replace(KEY, seed=seed): cell(KEY) for seed in range(3)}
    blocks = data_blocks(cells, {0: measured(), 1: measured(), 2: measured(train=MIXED)})
    lacking = "pixels were not measured; the same command measures them, and keeps the finished cells"
    assert under(blocks, "The split and its audit").items[-1] == f"seeds 0, 1: {lacking}"
    assert tables(blocks)["pixels (width x height), seed 2"].loc["on disk, largest", "train"] == "600x450"
    blocks = data_blocks(cells, dict.fromkeys(range(3), measured()))
    assert under(blocks, "The split and its audit").items[-1] == lacking
    assert not [name for name in tables(blocks) if name.startswith("pixels")]


@pytest.fixture(scope="module")
def audits():
    """{seed: audit}: of 0 and 2 alike with a group on two sides, of 1 without."""
    rng = np.random.default_rng(0)
    samples = tl.from_arrays(
        rng.integers(0, 256, (8, 150, 150, 3)).astype(np.uint8), np.arange(8) % 2, groups=list("aabbccdd")
    )

    def audit(train, test):
        return tl.audit(tl.Splits(samples.take(train), None, {"test": samples.take(test)}))

    leaky, clean = audit([0, 1, 2, 4], [3, 5, 6, 7]), audit([0, 1, 2, 3], [4, 5, 6, 7])
    assert isinstance(clean, Audit)
    return {2: leaky, 0: leaky, 1: clean}


WORDS = "Holdout, groups (patients, lesions) on one side; share of val: 0.2; share of test: 0.2"


def split_of(cell, audits, **facts):
    cells = {dataclasses.replace(KEY, seed=seed): cell(KEY, facts=facts) for seed in range(3)}
    return under(data_blocks(cells, audits), "The split and its audit").items


def test_what_the_audit_found_names_its_seeds_where_it_is_not_of_all(cell, audits):
    found = split_of(cell, audits)
    assert found[0] == WORDS
    assert "seeds 0, 2: 2 groups in all lie on two sides." in found
    assert "seeds 0, 2: 2 of 4 test images (50.0%) are of a group (patient, lesion) that is also in train." in found
    assert "seed 1: No group and no image lies on two sides." in found


def test_what_all_audits_found_stands_once_and_without_seeds(cell, audits):
    assert split_of(cell, dict.fromkeys(range(3), audits[0])) == (WORDS, *audits[0].findings())


def test_what_has_no_audit_says_so_and_shows_what_the_split_noted(cell, audits):
    how = "not audited; the same command audits it, and keeps the finished cells"
    note = "groups were not respected: 3 groups lie in more than one part"
    assert split_of(cell, {}, split_notes=[note]) == (WORDS, note, how)
    found = split_of(cell, {0: audits[0], 1: audits[0]}, split_notes=[note])
    assert f"seed 2: {note}" in found  # the audits of the others say it
    assert found[-1] == f"seed 2: {how}"


def test_of_what_the_split_noted_the_sizes_stand_beside_an_audit(cell, audits):
    notes = ["test has 19.0% of the images; 25.0% were wanted", "class df is 25.0% of test"]
    found = split_of(cell, dict.fromkeys(range(3), audits[0]), split_notes=notes)
    assert found == (WORDS, *audits[0].findings(), notes[0])


# ---- How the cells were made


def test_what_is_declared_is_told(cell):
    blocks = provenance({KEY: cell(KEY)})
    assert [block.text for block in blocks if isinstance(block, Heading)] == [
        "Settings",
        "What differs from the document",
        "Stated by the document",
        "Assumed, for the document does not say",
        "Made with",
        "Environment",
    ]
    assert under(blocks, "What differs from the document") == Bullets(("fewer networks",))
    assert under(blocks, "Stated by the document") == Bullets(("two classes",))
    assert under(blocks, "Assumed, for the document does not say") == Bullets(("the epochs", "the seed"))
    assert tables(blocks)["setting"].loc["epochs per phase", "ours"] == "4, then 6"


def test_weights_with_something_to_say_say_it(cell):
    weights = {"path": "resnet.pth", "sha256": 64 * "1", "note": "BatchNorm folded into the kernels"}
    silent = weights | {"note": ""}
    cells = {KEY: cell(KEY, facts={"weights": weights}), SMALL: cell(SMALL, facts={"weights": silent})}
    assert under(provenance(cells), "Weights") == Bullets(("vgg16: resnet.pth: BatchNorm folded into the kernels",))
    assert Heading("Weights") not in provenance({SMALL: cells[SMALL], TREE: cell(TREE)})


def commands(cells, experiment=TOY):
    (code,) = (block for block in provenance(cells, experiment) if isinstance(block, Code))
    start = "python experiments/toy.py --data DATA --weights WEIGHTS"
    assert all(line.startswith(start) for line in code.lines)
    return [line.removeprefix(start).strip() for line in code.lines]


def test_cells_that_share_their_options_share_a_command(cell):
    keys = [TREE, KEY, dataclasses.replace(KEY, seed=3), SMALL]
    assert commands({key: cell(key) for key in keys}) == [
        "--protocol corrected --backbones vgg16 mobilenetv2_035 --methods tree frozen --seeds 0 3"
    ]


def test_another_image_size_or_precision_has_its_own_command(cell):
    cells = {
        KEY: cell(KEY),
        SMALL: cell(SMALL, recipe=network("mobilenetv2_035").resized((96, 96)).in_precision("bfloat16")),
    }
    assert commands(cells) == [
        "--protocol corrected --backbones vgg16 --methods frozen --seeds 0",
        "--protocol corrected --backbones mobilenetv2_035 --methods frozen --seeds 0 --image-size 96 "
        "--precision bfloat16",
    ]


def test_a_smoke_run_says_smoke_and_not_its_size(cell):
    settings = {"smoke": True, "skip_unreadable": True}
    cells = {KEY: cell(KEY, recipe=network("vgg16").for_smoke(32), settings=settings)}
    assert commands(cells) == [
        "--protocol corrected --backbones vgg16 --methods frozen --seeds 0 --smoke --skip-unreadable"
    ]


def test_one_experiment_of_a_script_of_several_is_named(cell):
    experiment = dataclasses.replace(TOY, script="toy", name="first")
    assert commands({KEY: cell(KEY)}, experiment) == [
        "--only first --protocol corrected --backbones vgg16 --methods frozen --seeds 0"
    ]


def test_time_cores_and_what_made_it_are_told_of_every_cell(cell):
    newer = {
        "environment": {"tlkeras": "0.2.0", "commit": "abcdef0" + 33 * "1" + " + changes", "cores": 4, "packages": {}}
    }
    cells = {KEY: cell(KEY), TREE: cell(TREE, facts=newer)}
    (frame,) = (frame for frame in tables(provenance(cells)).values() if "cores" in frame)
    assert frame.reset_index().to_numpy().tolist() == [
        ["vgg16", "frozen", 0, "12", 2, "tlkeras 0.1.0, no commit recorded"],
        ["pixels", "tree", 0, "12", 4, "tlkeras 0.2.0, abcdef0 + changes"],
    ]


def test_one_environment_is_one_column_without_what_was_not_installed(cell):
    frame = tables(provenance({KEY: cell(KEY), TREE: cell(TREE)}))["environment"]
    assert frame["value"].to_dict() == {
        "device": "CPU",
        "tlkeras": "0.1.0",
        "python": "3.12.1",
        "cores": "2",
        "keras": "3.15.1",  # tensorflow is None
        "data (names, sizes, labels, groups)": "sha256 " + 16 * "d",
    }


def test_cells_of_two_machines_have_a_column_for_each(cell):
    other = {
        "device": "GPU",
        "environment": {"tlkeras": "0.1.0", "cores": 16, "packages": {"keras": "3.15.1", "tensorflow": "2.21.0"}},
    }
    frame = tables(provenance({KEY: cell(KEY), SMALL: cell(SMALL, facts=other)}))["environment"]
    assert list(frame.columns) == ["1", "2"]
    assert frame.loc["cores"].tolist() == ["2", "16"]
    assert frame.loc["tensorflow"].tolist() == ["", "2.21.0"]
    assert frame.loc["python"].tolist() == ["3.12.1", ""]


def test_weights_are_known_by_their_hashes_and_many_are_counted(cell):
    keys = [dataclasses.replace(KEY, seed=seed) for seed in range(5)]
    cells = {key: cell(key, settings={"weights_sha256": 64 * str(key.seed)}) for key in keys}
    frame = tables(provenance(cells | {SMALL: cell(SMALL)}))["environment"]
    words = ", ".join(f"sha256 {16 * str(seed)}" for seed in range(3))
    assert frame.loc["weights, vgg16"].tolist() == [f"{words}, and 2 more"]
    assert "weights, mobilenetv2_035" not in frame.index  # random
    assert frame.loc["data (names, sizes, labels, groups)"].tolist() == ["sha256 " + 16 * "d"]


def test_contents_are_told_beside_names_and_sizes_where_a_cell_knows_them(cell):
    cells = {KEY: cell(KEY), SMALL: cell(SMALL, settings={"contents": 64 * "c"})}
    frame = tables(provenance(cells))["environment"]
    assert frame.loc["data (names, contents, labels, groups)"].tolist() == ["not recorded, sha256 " + 16 * "c"]


def test_what_another_seed_changes_depends_on_the_split():
    assert "other test images" in seeded({"type": "Holdout", "val": 0.2})
    assert "the same for every seed" in seeded({"type": "Predefined"})
    assert seeded({"type": "Mine"}) == seeded("Mine") == "the split is the protocol's own"
