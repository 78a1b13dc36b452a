"""Image files that are damaged, odd or no files at all: read, or refused in words, the same by every reader."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from corpus import BAD, COLOURS, FILES, SIDES, H, W, exif, pillow, png
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.data.image_index import INDEX
from tlkeras.data.images import encode_path, read_image, read_pixels
from tlkeras.data.pipeline import decode_all, decoded_batches, naming_files, pixel_batches
from tlkeras.data.readable import unreadable
from tlkeras.errors import InputError
from tlkeras.schema import Samples

KINDS = sorted(name for name in FILES if "large" not in name)
ANY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
MORE = settings(max_examples=400, deadline=None, derandomize=True, database=None)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def in_training(path):
    """What a dataset maps over the paths."""
    return read_image(path, (5, 7))


def samples_of(*paths) -> Samples:
    return Samples(images=tuple(os.fspath(path) for path in paths), labels=None, class_names=("a", "b"))


def reason_of(path) -> str:
    found = unreadable(samples_of(path))
    return "" if found.empty else found["reason"].item()


def read_or_refuse(path) -> str:
    """The reason that the check gives, "" where the file is read; whatever is read is held against it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow says more about some damaged files
        reason = reason_of(path)
        if reason:
            with pytest.raises(InputError) as caught:
                read_pixels(path, (5, 7))
            assert os.fspath(path) in str(caught.value)
            assert reason in str(caught.value)
            assert caught.value.__suppress_context__
            with pytest.raises(tf.errors.OpError):
                in_training(encode_path(path))
        else:
            pixels = read_pixels(path, (5, 7))
            assert pixels.shape == (5, 7, 3)
            np.testing.assert_array_equal(pixels, in_training(encode_path(path)))
    return reason


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place") / "image.jpg"


# What `unreadable` says of a file whose bytes were read.
REASONS = (
    "empty file",
    "not an image",
    "truncated",
    "absurd dimensions",
    "of a kind that is not read",
    "transparent everywhere",
)


def any_bytes(place, contents) -> str:
    """The reason why these bytes are no image, one of `REASONS`; "" where every reader gets the same pixels."""
    place.write_bytes(contents)
    reason = read_or_refuse(place)
    assert reason == "" or reason.startswith(REASONS)
    return reason


STARTS = st.sampled_from(sorted({contents[:n] for contents, _, _ in FILES.values() for n in (4, 16, 40)}))


@given(start=STARTS, rest=st.binary(max_size=200))
@ANY
def test_any_bytes_are_pixels_or_a_reason(place, start, rest):
    reason = any_bytes(place, start + rest)
    assert (reason == "empty file") == (start + rest == b"")


@given(kind=st.sampled_from(KINDS), cut=st.floats(0, 1, exclude_max=True))
@ANY
def test_a_file_cut_anywhere_is_pixels_or_a_reason(place, kind, cut):
    contents = FILES[kind][0]
    cut = int(cut * len(contents))
    reason = any_bytes(place, contents[:cut])
    assert (reason == "empty file") == (cut == 0)


@given(kind=st.sampled_from(KINDS), where=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
@ANY
def test_a_file_with_one_other_byte_is_pixels_or_a_reason(place, kind, where, byte):
    contents = bytearray(FILES[kind][0])
    contents[int(where * len(contents))] = byte
    reason = any_bytes(place, bytes(contents))
    assert reason == "" or bytes(contents) != FILES[kind][0]


@pytest.mark.slow
@given(kind=st.sampled_from(KINDS), cut=st.floats(0, 1), where=st.floats(0, 0.1), others=st.binary(max_size=6))
@MORE
def test_a_file_cut_and_changed_at_its_beginning_is_pixels_or_a_reason(place, kind, cut, where, others):
    contents = bytearray(FILES[kind][0])
    start = int(where * len(contents))
    contents[start : start + len(others)] = others
    contents = bytes(contents[: int(cut * len(contents))])
    reason = any_bytes(place, contents)
    assert (reason == "empty file") == (contents == b"")
    assert reason == "" or contents != FILES[kind][0]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
@pytest.mark.parametrize("sides", SIDES)
def test_sides_that_no_photograph_has_are_read(tmp_path, file_format, sides):
    height, width = SIDES[sides]
    colour = np.full((height, width, 3), (200, 100, 50), np.uint8)
    (tmp_path / "a").write_bytes(pillow(colour, file_format))
    assert read_or_refuse(tmp_path / "a") == ""
    tolerance = 4 if file_format in ("JPEG", "WEBP", "GIF") else 0
    np.testing.assert_allclose(read_pixels(tmp_path / "a", (3, 4)), np.broadcast_to(colour[0, 0], (3, 4, 3)), tolerance)
    assert read_pixels(tmp_path / "a", None).shape == (height, width, 3)


@pytest.mark.parametrize("sides", [(1, 65_535), (65_535, 1)])
def test_the_longest_side_is_read(tmp_path, sides):
    (tmp_path / "a").write_bytes(png(np.full(sides, 77, np.uint8), 0))
    assert read_or_refuse(tmp_path / "a") == ""
    (tmp_path / "b").write_bytes(png(np.full([side + (side > 1) for side in sides], 77, np.uint8), 0))
    assert "sides of at most 65,535" in read_or_refuse(tmp_path / "b")


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif animated", "tiff grey 16", "webp"])
def test_the_name_does_not_say_what_a_file_is(tmp_path, kind):
    contents, expected, tolerance = FILES[kind]
    centres = np.s_[H // 4 :: H // 2, W // 4 :: W // 2]
    for name in ("a.png", "a.jpg", "a.tiff", "a"):
        (tmp_path / name).write_bytes(contents)
        np.testing.assert_allclose(read_pixels(tmp_path / name, (H, W))[centres], expected[centres], atol=tolerance)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_tiff_of_planes_is_named_for_what_it_is_where_it_is_not_read(tmp_path, depth):
    levels = np.moveaxis(COLOURS, -1, 0).astype(f"uint{depth}")
    tifffile.imwrite(tmp_path / "a.tiff", levels, photometric="rgb", planarconfig="separate")
    if depth == 8:
        np.testing.assert_array_equal(read_pixels(tmp_path / "a.tiff", None), COLOURS)
        return
    with pytest.raises(InputError, match=r"a\.tiff.* planar TIFF of 16 bits .*PlanarConfiguration 1"):
        read_pixels(tmp_path / "a.tiff", None)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_the_file_is_that_of_the_image_upright(tmp_path, orientation):
    (tmp_path / "a.png").write_bytes(pillow(COLOURS, "PNG", exif=exif(orientation)))
    turned = read_pixels(tmp_path / "a.png", None)
    assert turned.shape == ((H, W, 3) if orientation < 5 else (W, H, 3))
    assert sorted(np.unique(turned.reshape(-1, 3), axis=0).tolist()) == sorted(
        np.unique(COLOURS.reshape(-1, 3), axis=0).tolist()
    )


# --- what lies there in place of a file -----------------------------------------------------------------------------


@pytest.fixture
def strange(tmp_path):
    """{what it is: path} of what no reader may open, or wait for."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(2**30 + 1)  # takes no room
    os.symlink(tmp_path / "circle.jpg", tmp_path / "circle.jpg")
    os.symlink(tmp_path / "gone", tmp_path / "lost.jpg")
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(tmp_path)  # the name of a socket is short
    listener.bind("socket.jpg")
    os.chdir(here)
    yield {
        "a pipe": tmp_path / "pipe.jpg",
        "a folder": tmp_path / "folder.jpg",
        "a device": tmp_path / "device.jpg",
        "a socket": tmp_path / "socket.jpg",
        "absurd size (1.0 GiB": tmp_path / "huge.jpg",
        "Too many levels of symbolic links": tmp_path / "circle.jpg",
        "missing: a link to": tmp_path / "lost.jpg",
        "missing: no file can have this name": "/a\0b.jpg",
    }
    listener.close()


@pytest.mark.parametrize("path", [None, 3, ["a.jpg"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InputError, match=r"image: received .*; accepted is a path"):
        read_pixels(path, (4, 4))


def test_what_is_no_file_is_refused_and_not_waited_for(strange, tmp_path):
    (tmp_path / "good.png").write_bytes(FILES["png"][0])
    samples = samples_of(tmp_path / "good.png", *strange.values())
    found = unreadable(samples)
    assert found["row"].tolist() == list(range(1, len(strange) + 1))
    for said, reason in zip(strange, found["reason"], strict=True):
        assert said in reason
    assert len(set(INDEX.digests(samples))) == len(samples)


def test_every_reader_refuses_it_at_once(strange):
    for said, path in strange.items():
        samples = samples_of(path)
        if "\0" in str(path):
            continue  # TensorFlow takes no such name, and the file system gives none
        for read in (
            lambda: read_pixels(path, (4, 4)),  # noqa: B023
            lambda: decode_all(samples, (4, 4)),  # noqa: B023
            lambda: next(decoded_batches(samples, (4, 4), 2)),  # noqa: B023
            lambda: naming_files(samples, lambda: list(pixel_batches(samples, (4, 4), 2))),  # noqa: B023
        ):
            with pytest.raises(InputError) as caught:
                read()
            assert said in str(caught.value)
            assert repr(os.fspath(path)) in str(caught.value)


# --- what changes between the check and the training ----------------------------------------------------------------


@pytest.fixture
def files(tmp_path, toy_pixels) -> Samples:
    images, labels = toy_pixels
    paths = [str(tmp_path / f"{row}.png") for row in range(len(images))]
    for path, pixels in zip(paths, images, strict=True):
        Image.fromarray(pixels).save(path)
    return Samples(tuple(paths), labels, ("dark", "bright"))


CHANGES = {
    "removed": (lambda path: os.remove(path), "missing"),
    "emptied": (lambda path: os.truncate(path, 0), "empty file"),
    "another file": (lambda path: Path(path).write_bytes(b"%PDF-1.4 and more"), "not an image"),
    "a pipe": (lambda path: (os.remove(path), os.mkfifo(path)), "a pipe"),
    "a folder": (lambda path: (os.remove(path), os.mkdir(path)), "a folder"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_changed_after_the_check_is_named_by_every_reader(files, change):
    act, said = CHANGES[change]
    assert unreadable(files).empty
    act(files.images[3])
    for read in (
        lambda: decode_all(files, (8, 8)),
        lambda: list(decoded_batches(files, (8, 8), 16)),
        lambda: naming_files(files, lambda: list(pixel_batches(files, (8, 8), 16))),
    ):
        with pytest.raises(InputError) as caught:
            read()
        assert f"{files.images[3]!r}: {said}" in str(caught.value)
        assert "1 of 40 image files" in str(caught.value)
        assert caught.value.__context__ is None


def test_a_frozen_forward_pass_names_the_file_it_lost(files, tmp_path):
    act, said = CHANGES["removed"]
    act(files.images[30])
    frozen = tiny_tuner(head=tl.Head(hidden=()), phases=(tl.Phase(1, 1e-2),))
    with pytest.raises(InputError, match=rf"30\.png': {said}"):
        frozen.fit(files, seed=0)


def test_a_file_lost_for_a_moment_is_told_to_start_again(files):
    def lost_once():
        tf.io.read_file(files.images[5] + " under way")

    with pytest.raises(InputError, match=r"5\.png' could not be read, and now can. Start again"):
        naming_files(files, lost_once)


def test_what_is_not_the_files_fault_stays_what_it_is(files):
    def fail():
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    with pytest.raises(tf.errors.ResourceExhaustedError):
        naming_files(files, fail)


@pytest.mark.slow
def test_no_traceback_reaches_the_terminal(tmp_path):
    """One child for all bad files: what it writes to the terminal is ours alone, but for lines of libjpeg's own."""
    paths = []
    for row, contents in enumerate(BAD.values()):
        (tmp_path / f"{row}.jpg").write_bytes(contents)
        paths.append(str(tmp_path / f"{row}.jpg"))
    os.mkfifo(tmp_path / "pipe.jpg")
    paths.append(str(tmp_path / "pipe.jpg"))
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "import tensorflow; print('STARTED', file=sys.stderr, flush=True)\n"
        "import tlkeras as tl\n"
        "from tlkeras.data.pipeline import decode_all, pixel_batches, naming_files\n"
        "samples = tl.Samples(tuple(sys.argv[1:]), None, ('a', 'b'))\n"
        "assert len(tl.check_images(samples)) == len(samples)\n"
        "for row, path in enumerate(samples.images):\n"
        "    one = samples.take([row])\n"
        "    for read in (lambda: tl.read_pixels(path, (8, 8)), lambda: decode_all(one, (8, 8)),\n"
        "                 lambda: naming_files(one, lambda: list(pixel_batches(one, (8, 8), 2)))):\n"
        "        try: read()\n"
        "        except tl.InputError: continue\n"
        "        sys.exit(f'{path} was read')\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *paths],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    assert done.stdout == "done\n", done.stderr[-2000:]
    said = done.stderr.split("STARTED", 1)[1]
    assert "Traceback" not in said
    assert "tensorflow" not in said.lower()
