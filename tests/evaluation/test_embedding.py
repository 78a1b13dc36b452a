from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba
from threadpoolctl import threadpool_limits

from tlkeras.errors import InputError
from tlkeras.evaluation.embedding import CLASS_COLORS, MARKERS, draw_embedding, embed, embedding_figure
from tlkeras.evaluation.plots import new_figure, save_figure

NAMES = ("Gland", "Nongland", "Tumor")


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other while other tests run cost more than these few points take."""
    with threadpool_limits(1):
        yield


def blobs(n=60, d=20, distance=10.0, k=3):
    """n rows around k corners, `distance` standard deviations from the origin along an axis of their own."""
    labels = np.arange(n) % k
    return (np.random.default_rng(0).normal(size=(n, d)) + distance * np.eye(k, d)[labels]).astype(np.float32), labels


def test_rows_of_a_class_that_are_close_stay_close():
    features, labels = blobs()
    points = embed(features, seed=0, perplexity=10)
    assert (points.shape, points.dtype) == ((60, 2), np.float32)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).all()
    same = labels[:, None] == labels[None]
    assert distances[same & np.isfinite(distances)].mean() < distances[~same].mean() / 2


def test_the_same_bits_whatever_was_drawn_before():
    features, _ = blobs(d=600)  # of so many columns scikit-learn draws the first components
    np.random.seed(1)
    before = np.random.get_state()
    first = embed(features, seed=3, n_components_first=10)
    for was, now in zip(before, np.random.get_state(), strict=True):
        np.testing.assert_array_equal(was, now)
    np.random.seed(2)
    np.testing.assert_array_equal(embed(features, seed=3, n_components_first=10), first)


def test_the_scale_and_place_of_the_features_do_not_matter():
    features, _ = blobs(n=30)
    points = embed(features, seed=0)
    # A power of two changes no digit of the mantissa.
    np.testing.assert_array_equal(embed(features * np.float32(2.0**90), seed=0), points)
    np.testing.assert_array_equal(embed(features * np.float32(2.0**-90), seed=0), points)


def test_what_the_first_components_do_not_hold_is_not_seen():
    """Two columns tell the classes apart; each of 300 others says a little less, all together much more."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    classes = random.normal(size=(60, 2)) + 12 * np.array([[0, 0], [1, 0], [0, 1]])[labels]
    features = np.hstack([classes, 2 * random.normal(size=(60, 300))])

    def neighbour_is_of_the_class(n_components_first):
        points = embed(features, seed=0, n_components_first=n_components_first)
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        return (labels[distances.argmin(axis=1)] == labels).mean()

    assert neighbour_is_of_the_class(2) == 1
    assert neighbour_is_of_the_class(60) < 0.95
    # As many as there are: no more than rows.
    np.testing.assert_array_equal(
        embed(features, seed=0, n_components_first=1000), embed(features, seed=0, n_components_first=60)
    )


@pytest.mark.parametrize(("n", "d"), [(5, 1), (5, 2), (6, 300), (9, 1)])
def test_few_rows_and_few_columns_lower_the_perplexity(n, d):
    features = np.random.default_rng(0).normal(size=(n, d))
    points = embed(features, seed=0)
    assert points.shape == (n, 2)
    assert np.isfinite(points).all()
    np.testing.assert_array_equal(points, embed(features, seed=0, perplexity=(n - 1) / 3))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_rows_that_are_all_the_same_are_one_point(value):
    np.testing.assert_array_equal(embed(np.full((12, 7), value, np.float32), seed=0), np.zeros((12, 2)))


def test_repeated_rows_and_dead_columns_are_nothing_special():
    features, _ = blobs(n=40)
    features[:, 5:] = 0
    features[20:] = features[:20]
    points = embed(features, seed=0)
    assert np.isfinite(points).all()
    assert np.ptp(points, axis=0).min() > 1


def test_half_precision_and_whole_numbers_are_taken():
    features = np.random.default_rng(0).integers(0, 100, (20, 6))
    points = embed(features, seed=0)
    np.testing.assert_array_equal(embed(features.astype(np.float16), seed=0), points)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.zeros((4, 3)), "features: received 4 rows"),
        (np.zeros(9), r"features: received shape \(9,\)"),
        (np.zeros((9, 2, 2, 8)), r"features: received shape \(9, 2, 2, 8\)"),
        (np.zeros((9, 0)), r"received shape \(9, 0\)"),
        (np.array([["a", "b"]] * 9), "features: received dtype <U1"),
        (np.diag([0, np.nan, 0, 0, np.inf, 0]), "2 of 6 rows hold NaN or infinity, the first is row 1"),
    ],
)
def test_features_that_cannot_be_placed_are_refused(features, words):
    with pytest.raises(InputError, match=words):
        embed(features, seed=0)


@pytest.mark.parametrize(
    "setting",
    [
        {"n_components_first": 1},
        {"n_components_first": 2.0},
        {"n_components_first": True},
        {"perplexity": 0.5},
        {"perplexity": np.nan},
        {"perplexity": np.inf},
        {"perplexity": "30"},
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting):
    (name,) = setting
    with pytest.raises(InputError, match=rf"^{name}: received"):
        embed(np.eye(9), seed=0, **setting)


def test_scikit_learn_is_loaded_by_the_first_call_only():
    code = "import sys, tlkeras.evaluation.embedding; print({'sklearn', 'tensorflow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def cloud(n=90, k=3, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, 2)).astype(np.float32), np.arange(n) % k


def legend_of(figure):
    legends = figure.legends + [ax.get_legend() for ax in figure.axes if ax.get_legend() is not None]
    (legend,) = legends
    return [text.get_text() for text in legend.get_texts()]


def test_every_point_stands_where_it_is_in_the_colour_and_shape_of_its_class():
    points, labels = cloud()
    ax = draw_embedding(points, labels, NAMES, new_figure(4, 4)[1], title="prostate")
    (drawn,) = ax.collections
    entries = {line.get_label(): line for line in ax.lines}
    shape_of = {}
    for place, color, path in zip(drawn.get_offsets(), drawn.get_facecolors(), drawn.get_paths(), strict=True):
        (row,) = np.flatnonzero((points == place).all(axis=1))
        name = NAMES[labels[row]]
        assert to_hex(color) == to_hex(entries[name].get_color())
        shape_of.setdefault(name, set()).add(path.vertices.tobytes())
    assert len(drawn.get_offsets()) == len(points)
    assert [len(shapes) for shapes in shape_of.values()] == [1, 1, 1]
    assert len(set.union(*shape_of.values())) == 3
    assert len({entry.get_marker() for entry in entries.values()}) == 3
    assert ax.get_title() == "prostate"


def test_the_shape_in_the_legend_is_the_shape_of_the_points():
    points, labels = cloud(n=3)
    ax = draw_embedding(points, labels, NAMES, new_figure(4, 4)[1])
    (drawn,) = ax.collections
    reference = new_figure(4, 4)[1]
    for place, path in zip(drawn.get_offsets(), drawn.get_paths(), strict=True):
        (row,) = np.flatnonzero((points == place).all(axis=1))
        alone = reference.scatter([0], [0], marker=ax.lines[labels[row]].get_marker())
        np.testing.assert_array_equal(path.vertices, alone.get_paths()[0].vertices)


def test_no_class_lies_on_top_and_the_order_is_the_same_each_time():
    labels = np.repeat([0, 1, 2], 300)  # as a folder lists them
    points = np.random.default_rng(0).normal(size=(900, 2))
    colors = [
        draw_embedding(points, labels, NAMES, new_figure(4, 4)[1]).collections[0].get_facecolors() for _ in range(2)
    ]
    np.testing.assert_array_equal(*colors)
    last = [to_hex(color) for color in colors[0][-300:]]
    assert all(60 < last.count(to_hex(color)) < 140 for color in CLASS_COLORS[:3])


def test_axes_without_unit_have_no_ticks_and_one_scale():
    ax = draw_embedding(*cloud(), NAMES, new_figure(4, 3)[1])
    assert (len(ax.get_xticks()), len(ax.get_yticks())) == (0, 0)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("t-SNE 1", "t-SNE 2")
    assert ax.get_aspect() == 1


def test_nine_classes_differ_in_colour_and_in_shape():
    assert len(set(CLASS_COLORS[:9])) == len(set(MARKERS[:9])) == 9
    ax = draw_embedding(*cloud(k=36, n=72), [f"class {i}" for i in range(36)], new_figure(4, 4)[1])
    assert len({(to_rgba(line.get_color()), line.get_marker()) for line in ax.lines}) == 36


@pytest.mark.parametrize(("panels", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3))])
def test_panels_side_by_side_share_one_legend_with_counts(panels, shape, tmp_path):
    figure = embedding_figure({f"features {i}": cloud(seed=i) for i in range(panels)}, NAMES)
    assert [ax.get_title() for ax in figure.axes if ax.collections] == [f"features {i}" for i in range(panels)]
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == shape
    assert legend_of(figure) == ["Gland (30)", "Nongland (30)", "Tumor (30)"]
    assert save_figure(figure, tmp_path / "embedding.png").stat().st_size > 5000


def test_counts_that_differ_between_panels_are_told_from_lowest_to_highest():
    few, many = (np.zeros((3, 2)), np.array([0, 0, 0])), (np.zeros((1202, 2)), np.array([0, 0, *[2] * 1200]))
    assert legend_of(embedding_figure({"few": few, "many": many}, NAMES)) == [
        "Gland (2 to 3)",
        "Nongland (0)",
        "Tumor (0 to 1,200)",
    ]


def test_a_long_legend_is_below_the_panels_and_does_not_shrink_them():
    names = [f"a class with a long name {i}" for i in range(9)]
    figure = embedding_figure({"one": cloud(k=9)}, names)
    figure.draw_without_rendering()
    (ax,), (legend,) = figure.axes, figure.legends
    assert legend.get_window_extent().y1 <= ax.get_window_extent().y0
    assert ax.get_window_extent().height > 0.8 * ax.get_window_extent().width


@pytest.mark.parametrize(
    ("points", "labels", "words"),
    [
        (np.zeros((3, 3)), [0, 1, 2], r"points: received shape \(3, 3\)"),
        (np.full((3, 2), np.nan), [0, 1, 2], r"points: received shape \(3, 2\)"),
        (np.zeros((3, 2)), [0, 1], r"labels: received dtype int64, shape \(2,\)"),
        (np.zeros((3, 2)), [0.0, 1.0, 2.0], "labels: received dtype float64"),
        (np.zeros((3, 2)), [0, 1, 3], r"labels: received values 0\.\.3"),
        (np.zeros((3, 2)), [-1, 1, 2], r"labels: received values -1\.\.2"),
    ],
)
def test_points_and_labels_that_do_not_fit_are_refused(points, labels, words):
    with pytest.raises(InputError, match=words):
        draw_embedding(points, np.array(labels), NAMES, new_figure(4, 4)[1])


def test_no_panel_is_refused():
    with pytest.raises(InputError, match="panels: received none"):
        embedding_figure({}, NAMES)
