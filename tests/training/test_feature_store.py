import os
import re
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tiny import TINY

import tlkeras as tl
from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import holding
from tlkeras.models.cut import cut
from tlkeras.models.freezing import set_trainable
from tlkeras.schema import Samples
from tlkeras.training import feature_store, feature_table, table_folder
from tlkeras.training.feature_store import BATCH, FeatureStore, open_store
from tlkeras.training.feature_table import CARD, INDEX, ROWS
from tlkeras.training.feed import Part

SIZE = (32, 32)
N = BATCH + 9
ROW_BYTES = 8 * 4  # TINY ends in 8 channels


def make_images(n=N, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def make_encoder(seed=0, size=SIZE):
    return tl.build_encoder(TINY, image_size=size, seed=seed)


def sources_of(images):
    """As many digests of 16 bytes."""
    return [number.to_bytes(16, "big") for number in range(len(images))]


class Pixels:
    """Gives pixels in small batches and notes which positions were asked for."""

    def __init__(self, images, batch_size=7):
        self.images, self.batch_size, self.asked = images, batch_size, []

    def __call__(self, positions):
        self.asked.extend(positions.tolist())
        starts = range(0, len(positions), self.batch_size)
        return (self.images[positions[start : start + self.batch_size]] for start in starts)


def nothing(positions):
    raise AssertionError(f"{len(positions)} images are computed again")


def ask(store, trunk, images, pixels=None, **options):
    """One trunk's rows, image by image."""
    found = store.features([trunk], sources_of(images), pixels or Pixels(images), **options)[0]
    return found.table[found.rows]


def own_rows(trunk, images):
    """What the trunk itself makes of the images, in batches of one size."""
    padding = -len(images) % BATCH
    padded = np.concatenate([images, np.zeros((padding, *images.shape[1:]), images.dtype)]).astype(np.float32)
    batches = [trunk.predict_on_batch(padded[start : start + BATCH]) for start in range(0, len(padded), BATCH)]
    return np.concatenate(batches)[: len(images)]


def bits(array):
    return np.ascontiguousarray(array).tobytes()


def age(store, *trunks):
    """Makes their tables look unused since long ago, the first one since longest."""
    for when, trunk in enumerate(trunks):
        os.utime(table_of(store, trunk) / CARD, (1000 + when, 1000 + when))


def table_of(store, trunk):
    return store._place(trunk, "float32")[0]


@pytest.fixture(scope="module")
def images():
    return make_images()


@pytest.fixture(scope="module")
def encoder():
    return make_encoder()


@pytest.fixture(scope="module")
def encoders(encoder):
    return [encoder, *(make_encoder(seed) for seed in (1, 2))]


@pytest.fixture(scope="module")
def trunks():
    """A shallow and a deep one of the same model."""
    model = tl.build_classifier(TINY, n_classes=2, image_size=SIZE, head=tl.Head(hidden=(4,)))
    found = []
    for unfreeze in ("block3",), 0:
        set_trainable(model, TINY, unfreeze=unfreeze)
        found.append(cut(model).trunk)
    return found


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


# --- what is found ---------------------------------------------------------------------------------------------------


def save_all(folder, images):
    """PNG files of all images, the first one's pixels once more as a BMP file, its file once more by another name."""
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03d}.png")
    Image.fromarray(images[0]).save(folder / "encoded.bmp")
    shutil.copy(folder / "000.png", folder / "copied.png")
    paths = tuple(str(path) for path in sorted(folder.iterdir()))
    return Samples(images=paths, labels=None, class_names=("a", "b"))


def test_features_of_files_are_the_trunks_own_one_row_per_distinct_image(tmp_path, store, trunks, images):
    part, trunk = Part(save_all(tmp_path / "files", images), SIZE), trunks[1]
    found = store.features([trunk], part.sources, part.stream)[0]
    assert not found.table.flags.owndata  # mapped
    assert (len(found.table), found.table.dtype) == (N, np.float32)
    assert (found.rows.dtype, found.rows.tolist()) == (np.int64, [*range(N), 0, 0])
    assert bits(found.table) == bits(own_rows(trunk, images))
    np.testing.assert_allclose(found.table, trunk(images.astype(np.float32)), rtol=1e-4, atol=1e-5)
    # Another process, order and split finds them, and whether the pixels are held makes no difference.
    half = Part(part.samples.take(np.arange(N + 2)[::-2]), SIZE)
    assert half.pixels.shape[0] == len(half.sources)
    again = FeatureStore(tmp_path / "store").features([trunk], half.sources, nothing)[0]
    assert bits(again.table[again.rows]) == bits(found.table[found.rows[::-2]])
    other = FeatureStore(tmp_path / "other").features([trunk], half.sources, half.stream)[0]
    assert bits(other.table[other.rows]) == bits(found.table[found.rows[::-2]])


def test_only_what_is_not_there_is_computed(store, encoder, images):
    expected = own_rows(encoder, images)
    first = Pixels(images)
    assert bits(ask(store, encoder, images[:10], first)) == bits(expected[:10])
    assert first.asked == list(range(10))
    more = Pixels(images)
    assert bits(ask(store, encoder, images, more)) == bits(expected)
    assert more.asked == list(range(10, N))
    assert bits(ask(store, encoder, images, nothing)) == bits(expected)
    assert bits(ask(store, encoder, images[:0], nothing)) == b""


def test_a_source_that_comes_twice_is_read_once(store, encoder, images):
    sources, pixels = sources_of(images), Pixels(images[[3, 5, 3]])
    found = store.features([encoder], [sources[3], sources[5], sources[3]], pixels)[0]
    assert len(pixels.asked) == 2
    assert found.rows.tolist() == [0, 1, 0]
    assert bits(found.table) == bits(own_rows(encoder, images)[[3, 5]])


def test_a_row_has_the_same_bits_whichever_images_it_is_computed_with(tmp_path, encoder, images):
    # A matrix product of one row sums in another order than that of many: its bits show the size of the batch.
    many = keras.layers.Flatten()(encoder.get_layer("relu1").output)
    trunk = keras.Model(encoder.input, keras.layers.Dense(16, kernel_initializer=keras.initializers.Ones())(many))
    expected, sources = own_rows(trunk, images), sources_of(images)
    order = np.random.default_rng(1).permutation(N)
    for folder, groups, batch_size in (("shuffled", [order], 2 * N), ("groups", np.split(order, [1, 6, 40, 41]), 3)):
        store = FeatureStore(tmp_path / folder)
        for group in groups:
            found = store.features([trunk], [sources[i] for i in group], Pixels(images[group], batch_size))[0]
            assert bits(found.table[found.rows]) == bits(expected[group])


def test_the_key_holds_all_that_decides_the_bits(store, encoder, images, monkeypatch):
    weights = encoder.get_weights()
    one_bit = make_encoder()
    one_bit.set_weights([*weights[:-1], np.nextafter(weights[-1], 2)])
    shallow = keras.Model(encoder.input, encoder.layers[-2].output)
    threads = feature_store.n_cores() + 1
    asked = {}

    def count(case, trunk=encoder, images=images[:3], **options):
        pixels = Pixels(images)
        ask(store, trunk, images, pixels, **options)
        asked[case] = len(pixels.asked)

    count("first")
    count("built again", make_encoder())
    count("weights", one_bit)
    count("image size", make_encoder(size=(16, 16)), make_images(3, (16, 16)))
    count("layer", shallow)
    count("dtype", dtype="float16")
    with monkeypatch.context() as patch:
        patch.setattr(feature_store, "n_cores", lambda: threads)
        count("threads")
    count("again")
    assert [case for case, n in asked.items() if n == 0] == ["built again", "again"]
    assert len(store.entries()) == 6


def test_weights_that_change_later_change_no_features_of_the_network_they_were(store, images):
    """A phase trains the very layers whose features the store gave; the next fit begins with the first weights."""
    trained = make_encoder()
    ask(store, trained, images[:3])
    trained.set_weights([2 * weight for weight in trained.get_weights()])
    fresh = make_encoder()
    assert bits(ask(store, fresh, images[:6])) == bits(own_rows(fresh, images[:6]))
    assert bits(ask(store, trained, images[:6])) == bits(own_rows(trained, images[:6]))


def test_two_trunks_take_one_pass_and_are_found_apart(store, trunks, images):
    expected = [own_rows(trunk, images) for trunk in trunks]
    pixels = Pixels(images)
    first = store.features(trunks, sources_of(images[:70]), pixels)
    assert pixels.asked == list(range(70))
    assert [found.table.shape for found in first] == [(70, *trunk.output_shape[1:]) for trunk in trunks]
    for trunk, found, rows in zip(trunks, first, expected, strict=True):
        assert bits(found.table) == bits(rows[:70])
        assert bits(ask(store, trunk, images[:70], nothing)) == bits(rows[:70])
    # One table has an image that the other lacks, in another row than the other will have.
    alone = Pixels(images)
    ask(store, trunks[0], images[:72], alone)
    assert alone.asked == [70, 71]
    turned = Pixels(images[::-1])
    both = store.features(trunks, sources_of(images)[::-1], turned)
    assert sorted(turned.asked) == [0, 1, 2]
    for found, rows in zip(both, expected, strict=True):
        assert bits(found.table[found.rows]) == bits(rows[::-1])


# --- half precision, and what is refused -----------------------------------------------------------------------------


def test_float16_takes_half_the_bytes_and_rounds(store, encoder, images):
    exact = ask(store, encoder, images)
    rounded = ask(store, encoder, images, dtype="float16")
    assert rounded.dtype == np.float16
    assert bits(rounded) == bits(exact.astype(np.float16))
    assert (rounded != exact).any()
    assert {entry["dtype"]: entry["bytes"] for entry in store.entries()} == {"float32": N * 32, "float16": N * 16}


def scaled(factor):
    """Every feature times `factor`: the last weights are those of a BatchNorm before a ReLU."""
    encoder = make_encoder()
    last = encoder.get_layer("bn3")
    last.set_weights([factor * weight for weight in last.get_weights()[:2]] + last.get_weights()[2:])
    return encoder


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        ("float16", r'gives [\d.e+]+, beyond the 65504 that float16 can hold\. .*feature_dtype="float32"'),
        ("float32", "gives values that are not finite"),
    ],
)
def test_values_that_do_not_fit_are_refused_and_their_batch_is_not_kept(
    store, encoder, images, monkeypatch, dtype, said
):
    monkeypatch.setattr(feature_table, "_COMMIT_BYTES", 1)  # the first batch is on the disk when the second is refused
    images = images[np.argsort(own_rows(encoder, images).max(axis=1))].astype(np.float32)
    if dtype == "float16":
        highest = own_rows(encoder, images).max(axis=1)
        encoder = scaled(65504 / highest[-2:].mean())  # beyond it is the last image alone
    else:
        images[-1, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match=said) as refusal:
        ask(store, encoder, images, dtype=dtype)
    assert encoder.layers[-1].name in str(refusal.value)
    expected = own_rows(encoder, images)[:-1].astype(dtype)
    assert bits(ask(store, encoder, images[:BATCH], nothing, dtype=dtype)) == bits(expected[:BATCH])
    pixels = Pixels(images)
    assert bits(ask(store, encoder, images[:-1], pixels, dtype=dtype)) == bits(expected)
    assert pixels.asked == list(range(BATCH, N - 1))
    if dtype == "float16":  # as they are in float32
        assert bits(ask(store, encoder, images)) == bits(own_rows(encoder, images))


def test_a_file_that_cannot_be_read_is_named_and_those_before_it_are_not_lost(tmp_path, store, encoder, images):
    samples = save_all(tmp_path / "files", images[:5])
    Path(samples.images[2]).write_text("no image")
    part = Part(samples, SIZE)
    with pytest.raises(InputError, match=r"002\.png"):
        store.features([encoder], part.sources, part.stream)
    readable = Part(samples.take([0, 1, 3]), SIZE)
    found = store.features([encoder], readable.sources, readable.stream)[0]
    assert bits(found.table[found.rows]) == bits(own_rows(encoder, images)[[0, 1, 3]])


def a_file_in_its_place(tmp_path, monkeypatch):
    (tmp_path / "store").write_text("no folder")
    return "Not a directory|File exists"


def a_disk_that_is_full(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_table, "write_at", full)
    return "No space left on device"


def links_in_its_place(tmp_path, monkeypatch):
    (tmp_path / "store").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store" / "locks").symlink_to(tmp_path / "elsewhere")
    return "symbolic links"


@pytest.mark.parametrize("what_is_wrong", [a_file_in_its_place, a_disk_that_is_full, links_in_its_place])
def test_a_store_that_cannot_be_written_costs_time_only(tmp_path, store, encoder, images, monkeypatch, what_is_wrong):
    reason, said = what_is_wrong(tmp_path, monkeypatch), []
    pixels = Pixels(images)
    for _ in range(2):
        assert bits(ask(store, encoder, images, pixels, say=said.append)) == bits(own_rows(encoder, images))
    assert len(pixels.asked) == 2 * N
    assert (
        sum(re.search(f"feature store {store.folder} keeps nothing .*({reason})", text) is not None for text in said)
        == 2
    )
    if (tmp_path / "elsewhere").exists():
        assert list((tmp_path / "elsewhere").iterdir()) == []


# --- what is damaged -------------------------------------------------------------------------------------------------


def flipped_bit(table, elsewhere):
    with open(table / ROWS, "r+b") as rows:
        rows.seek(3 * ROW_BYTES + 1)
        byte = rows.read(1)[0]
        rows.seek(3 * ROW_BYTES + 1)
        rows.write(bytes([byte ^ 1]))
    return "1 rows of .*rows.bin are not what was written"


def zeroed_rows(table, elsewhere):
    with open(table / ROWS, "r+b") as rows:
        rows.write(bytes(2 * ROW_BYTES))
    return "2 rows of .*rows.bin are not what was written"


def cut_index(table, elsewhere):
    os.truncate(table / INDEX, 100)
    return "index.bin is not what was written"


def damaged_card(table, elsewhere):
    (table / CARD).write_text("[")
    return "table.json is damaged"


def linked_table(table, elsewhere):
    table.rename(elsewhere)
    table.symlink_to(elsewhere)
    return "is a link"


def linked_rows(table, elsewhere):
    (table / ROWS).rename(elsewhere)
    (table / ROWS).symlink_to(elsewhere)
    return "rows.bin is a link"


DAMAGES = [flipped_bit, zeroed_rows, cut_index, damaged_card, linked_table, linked_rows]


def contents_of(path):
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return [file.read_bytes() for file in files]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_computed_again_and_said(tmp_path, store, encoder, images, damage):
    ask(store, encoder, images[:10])
    reason, said, pixels = damage(table_of(store, encoder), tmp_path / "elsewhere"), [], Pixels(images)
    before = contents_of(tmp_path / "elsewhere")
    for _ in range(2):
        rows = ask(store, encoder, images[:10], pixels, say=said.append)
        assert bits(rows) == bits(own_rows(encoder, images[:10]))
    assert pixels.asked == list(range(10))
    assert re.search(f"feature store: .*{reason}.*; all its features are computed again", said[0])
    assert contents_of(tmp_path / "elsewhere") == before  # no link is followed, neither to write nor to remove
    assert not table_of(store, encoder).is_symlink()


@pytest.mark.parametrize("damage", [damaged_card, linked_table])
def test_a_damaged_table_of_another_network_stops_nothing_and_goes_first(tmp_path, store, encoders, images, damage):
    other, new, last = encoders
    ask(store, other, images[:10])
    reason, said = damage(table_of(store, other), tmp_path / "elsewhere"), []
    before = contents_of(tmp_path / "elsewhere")
    assert store.has_room([new], 10)
    assert bits(ask(store, new, images[:10], say=said.append)) == bits(own_rows(new, images[:10]))
    assert [text for text in said if re.search(reason, text)]
    told = {entry["folder"]: entry.get("damaged") for entry in store.entries()}
    assert told[table_of(store, new)] is None
    assert re.search(reason, told[table_of(store, other)])
    store.limit = 20 * ROW_BYTES
    ask(store, last, images[:10])
    assert [os.path.lexists(table_of(store, each)) for each in encoders] == [damage is linked_table, True, True]
    assert store.clear() == (2 + (damage is linked_table), 0)
    assert store.entries() == []
    assert contents_of(tmp_path / "elsewhere") == before


def test_what_a_killed_eviction_left_is_counted_and_cleared(store, encoder, images):
    ask(store, encoder, images[:10])
    pid = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    left = store.folder / f".writing-{pid}-grave" / "table"
    left.mkdir(parents=True)
    (left / ROWS).write_bytes(bytes(5 * ROW_BYTES))
    store.limit = 15 * ROW_BYTES
    assert (store._size(), store.has_room([encoder], 15)) == (15 * ROW_BYTES, True)
    ask(store, encoder, images[:15])  # no table has to go for it
    assert not left.parent.exists()
    assert [entry["rows"] for entry in store.entries()] == [15]


def test_what_is_not_a_table_is_left_alone(store, encoder, images):
    store.limit = 1
    mine = store.folder / "my results"
    mine.mkdir(parents=True)
    (mine / CARD).write_text('{"row_shape": [3], "dtype": "float32"}')
    ask(store, encoder, images[:10])
    assert store.clear() == (1, 0)
    assert (mine / CARD).is_file()


def test_without_a_home_folder_there_is_no_store_which_is_said(monkeypatch):
    for name in ("TLKERAS_STORE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda user: {}[user])
    said = []
    assert open_store(True, said.append) is None
    assert re.search("no home folder .*HOME.*TLKERAS_STORE", said[0])
    with pytest.raises(MissingInputError, match="no home folder"):
        FeatureStore()
    fitted = tl.Extractor(TINY, weights=None, image_size=SIZE).fit((make_images(8), np.arange(8) % 2), seed=0)
    assert fitted.store is None


# --- how much it holds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["found", "extended"])
def test_the_table_not_used_for_longest_goes_first(store, encoders, images, use):
    store.limit = 26 * ROW_BYTES
    used, unused, new = encoders
    ask(store, used, images[:10])
    ask(store, unused, images[:10])
    age(store, used, unused)
    ask(store, used, images[: 10 if use == "found" else 11])
    ask(store, new, images[:10])
    assert [table_of(store, each).is_dir() for each in encoders] == [True, False, True]
    ask(store, used, images[:10], nothing)
    assert bits(ask(store, unused, images[:3])) == bits(own_rows(unused, images[:3]))


def test_no_more_tables_go_than_have_to(store, encoders, images):
    store.limit = 30 * ROW_BYTES
    for each in encoders:
        ask(store, each, images[:10])
    assert len(store.entries()) == 3
    age(store, *encoders)
    ask(store, encoders[2], images[:11])
    assert [table_of(store, each).is_dir() for each in encoders] == [False, True, True]


def test_a_tables_own_earlier_rows_go_last(store, encoders, images):
    own, other, _ = encoders
    store.limit = 30 * ROW_BYTES
    ask(store, own, images[:10])
    ask(store, other, images[:10])
    age(store, own, other)
    held = store.features([own], sources_of(images[:10]), nothing)[0]
    assert bits(ask(store, own, images[:25])) == bits(own_rows(own, images[:25]))
    assert [table_of(store, each).is_dir() for each in (own, other)] == [True, False]
    ask(store, own, images[:10], nothing)
    sources, pixels = sources_of(images), Pixels(images[25:45])
    found = store.features([own], sources[25:45], pixels)[0]
    assert bits(found.table[found.rows]) == bits(own_rows(own, images[:45])[25:])
    assert [(entry["rows"], entry["bytes"]) for entry in store.entries()] == [(20, 20 * ROW_BYTES)]
    assert bits(held.table) == bits(own_rows(own, images[:10]))  # who has them mapped keeps them
    again = Pixels(images)
    ask(store, own, images[:10], again)
    assert again.asked == list(range(10))


def test_trunks_of_one_call_do_not_push_each_other_out(store, trunks, encoders, images):
    ask(store, encoders[0], images[:10])
    store.features(trunks, sources_of(images[:10]), Pixels(images))
    age(store, *trunks, encoders[0])
    store.limit = 12 * sum(int(np.prod(trunk.output_shape[1:])) for trunk in trunks) * 4
    again = Pixels(images)
    found = store.features(trunks, sources_of(images[:12]), again)
    assert again.asked == [10, 11]
    assert not table_of(store, encoders[0]).exists()
    for trunk, features in zip(trunks, found, strict=True):
        assert bits(features.table[features.rows]) == bits(own_rows(trunk, images[:12]))


def test_a_table_that_another_process_fills_is_left_alone(store, encoders, images):
    filled, free, new = encoders
    for each in (filled, free):
        ask(store, each, images[:10])
    age(store, filled, free)
    store.limit = 1
    with holding(store.folder / "locks" / table_of(store, filled).name):
        ask(store, new, images[:10])
        assert [table_of(store, each).is_dir() for each in encoders] == [True, False, True]
        assert store.clear() == (1, 1)
        assert bits(ask(store, filled, images[:10], nothing)) == bits(own_rows(filled, images[:10]))
    assert store.clear() == (1, 0)
    assert store.entries() == []


def test_entries_tell_what_there_is_and_clear_takes_it_away(store, encoder, trunks, images):
    assert (store.entries(), store.clear()) == ([], (0, 0))
    held = ask(store, encoder, images[:10])
    mapped = store.features([trunks[0]], sources_of(images[:4]), Pixels(images), dtype="float16")[0]
    age(store, encoder)
    (store.folder / ".writing-grave" / "table").mkdir(parents=True)  # of a process killed while it removed a table
    told = ("layer", "image_size", "row_shape", "dtype", "rows", "bytes")
    shape = list(trunks[0].output_shape[1:])
    assert [[entry[name] for name in told] for entry in store.entries()] == [
        [trunks[0].layers[-1].name, [32, 32], shape, "float16", 4, 4 * int(np.prod(shape)) * 2],
        [encoder.layers[-1].name, [32, 32], [8], "float32", 10, 10 * 8 * 4],
    ]
    assert store.entries()[1]["used"] == 1000
    assert store.clear() == (2, 0)
    assert (store.entries(), store.clear()) == ([], (0, 0))
    assert [path.name for path in store.folder.iterdir()] == ["locks"]
    assert bits(mapped.table) == bits(own_rows(trunks[0], images[:4]).astype(np.float16))  # until its reader ends
    again = Pixels(images)
    assert bits(ask(store, encoder, images[:10], again)) == bits(held)
    assert len(again.asked) == 10


def test_there_is_room_below_the_limit_and_on_the_disk(store, encoders, trunks, images, monkeypatch):
    both = sum(int(np.prod(trunk.output_shape[1:])) for trunk in trunks) * 4
    store.limit = 5 * both
    assert [store.has_room(trunks, n) for n in (5, 6)] == [True, False]
    usage = namedtuple("usage", "free")
    disk = usage(10**9 + 100 * ROW_BYTES)  # beside what is left to others
    monkeypatch.setattr(table_folder.shutil, "disk_usage", lambda path: Path(path).stat() and disk)
    fits = lambda *arguments: [store.has_room(encoders[:1], n, *arguments) for n in (10, 20, 21, 100, 110, 111)]  # noqa: E731
    store.limit = 20 * ROW_BYTES
    assert fits() == [True, True, False, False, False, False]
    assert fits("float16") == [True, True, True, False, False, False]
    store.limit = 10**12
    assert fits() == [True, True, True, True, False, False]
    ask(store, encoders[1], images[:10])  # they can be given up
    assert fits() == [True, True, True, True, True, False]


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [(None, None, 20 * 10**9), (None, "3GB", 3 * 10**9), ("4MB", "3GB", 4 * 10**6), (500, "3GB", 500), (0, "3GB", 0)],
)
def test_the_limit_is_that_of_the_call_then_of_the_environment(monkeypatch, argument, variable, expected):
    monkeypatch.delenv("TLKERAS_STORE_LIMIT", raising=False)
    if variable is not None:
        monkeypatch.setenv("TLKERAS_STORE_LIMIT", variable)
    assert FeatureStore(limit=argument).limit == expected


def test_a_limit_that_is_no_size_is_refused():
    with pytest.raises(InputError, match="store limit: received 'plenty'"):
        FeatureStore(limit="plenty")


def test_the_folder_is_that_of_the_call_then_of_the_environment_then_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_STORE", str(tmp_path / "named"))
    assert FeatureStore(tmp_path / "given").folder == tmp_path / "given"
    assert FeatureStore().folder == open_store(True).folder == tmp_path / "named"
    monkeypatch.delenv("TLKERAS_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert FeatureStore().folder == tmp_path / "cache" / "tlkeras"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert FeatureStore().folder == tmp_path / "home" / ".cache" / "tlkeras"
    assert list(tmp_path.iterdir()) == []  # naming one makes none


def test_what_stands_for_a_store(tmp_path):
    store = FeatureStore(tmp_path)
    assert open_store(store) is store
    assert open_store(False) is None
    assert open_store(str(tmp_path)).folder == open_store(tmp_path).folder == tmp_path
    with pytest.raises(InputError, match="store: received 3; accepted: True, False, a folder, or a FeatureStore"):
        open_store(3)


# --- several processes -----------------------------------------------------------------------------------------------

TESTS = Path(__file__).parents[1]
CHILD = f"""
import sys, time
from pathlib import Path
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "training")!r}]
from test_feature_store import *
folder, images = Path(sys.argv[1]), make_images()

def until(there):
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)

def wait_to_be_killed():
    print("ready", flush=True)
    time.sleep(60)
"""


def child(code, folder):
    return subprocess.Popen([sys.executable, "-c", CHILD + code, str(folder)], stdout=subprocess.PIPE, text=True)


ASKS = """
pixels, waits = Pixels(images), folder / "waits"

def slow(positions):
    until(waits.exists)  # so that both want the same features at once
    yield from pixels(positions)

def said(text):
    if "waiting for it" in text:
        waits.touch()

rows = ask(FeatureStore(folder / "store"), make_encoder(), images, slow, say=said)
print(len(pixels.asked), bits(rows).hex())
"""


@pytest.mark.slow  # it imports TensorFlow twice
def test_two_processes_that_ask_at_once_compute_once(tmp_path, encoder, images):
    both = [child(ASKS, tmp_path) for _ in range(2)]
    told = [each.communicate(timeout=120)[0].split() for each in both]
    assert sorted(int(n) for n, _ in told) == [0, N]
    assert {rows for _, rows in told} == {bits(own_rows(encoder, images)).hex()}


KILLED = {
    "while it computes": """
def stops(positions):
    yield images[positions[:BATCH]]
    wait_to_be_killed()
    yield images[positions[BATCH:]]

ask(FeatureStore(folder), make_encoder(), images, stops)
""",
    "between rows and index": """
written = feature_table.atomic_write

def stops(path):
    if path.exists():
        wait_to_be_killed()
    return written(path)

feature_table.atomic_write = stops
ask(FeatureStore(folder), make_encoder(), images)
""",
}


@pytest.mark.slow  # it imports TensorFlow in another process
@pytest.mark.parametrize("when", KILLED)
def test_a_killed_writer_loses_what_it_had_not_committed_and_no_more(tmp_path, encoder, images, when):
    process = child("feature_table._COMMIT_BYTES = 1\n" + KILLED[when], tmp_path / "killed")
    try:
        assert process.stdout.readline() == "ready\n"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    store, pixels = FeatureStore(tmp_path / "killed"), Pixels(images)
    (rows,) = store.folder.glob(f"*/{ROWS}")
    assert rows.stat().st_size == (BATCH if when == "while it computes" else N) * ROW_BYTES
    found = ask(store, encoder, images, pixels)
    assert pixels.asked == list(range(BATCH, N))
    assert bits(found) == bits(ask(FeatureStore(tmp_path / "whole"), encoder, images))
    assert rows.stat().st_size == N * ROW_BYTES
