import pytest

from tlkeras.errors import InputError
from tlkeras.machine import format_size, parse_size


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("20GB", 20 * 10**9),
        ("500 MB", 500 * 10**6),
        ("1.5kb", 1500),
        (" 2  tb ", 2 * 10**12),
        ("0.25 GB", 250 * 10**6),
        ("4096", 4096),
        (4096, 4096),
        (0, 0),
        ("0GB", 0),
        (1e9, 10**9),
    ],
)
def test_a_size_in_words_is_a_number_of_bytes(size, expected):
    found = parse_size("limit", size)
    assert found == expected
    assert type(found) is int


@pytest.mark.parametrize(
    "size",
    ["", "GB", "4G", "4GiB", "-4GB", -4, "4 GB each", "1,5GB", "four GB", "1.GB", ".5GB", True, None, 2.5e-7, 1.5],
)
def test_what_is_no_size_is_refused_in_words(size):
    with pytest.raises(InputError) as refusal:
        parse_size("store limit", size)
    assert str(refusal.value) == (
        f'store limit: received {size!r}; accepted is a size such as "4GB" or "500MB", or a number of bytes.'
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0.0 KB"),
        (640, "0.6 KB"),
        (9_940, "9.9 KB"),
        (10_000, "10 KB"),
        (999_400, "999 KB"),
        (1_000_000, "1.0 MB"),
        (64 * 10**6, "64 MB"),
        (1_600_000_000, "1.6 GB"),
        (20 * 10**9, "20 GB"),
        (999 * 10**9, "999 GB"),
        (10**12, "1.0 TB"),
        (25 * 10**14, "2500.0 TB"),
    ],
)
def test_a_number_of_bytes_is_said_for_people(size, expected):
    assert format_size(size) == expected


@pytest.mark.parametrize("size", ["9.9 KB", "10 KB", "1.0 MB", "64 MB", "1.6 GB", "20 GB", "1.0 TB"])
def test_what_is_said_reads_back(size):
    assert format_size(parse_size("limit", size)) == size
