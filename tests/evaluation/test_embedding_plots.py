from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba

from tlkeras.errors import InputError
from tlkeras.evaluation.embedding_plots import CLASS_COLORS, MARKERS, draw_embedding, embedding_figure
from tlkeras.evaluation.plots import new_figure, save_figure

NAMES = ("Gland", "Nongland", "Tumor")


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
        (np.full((3, 2), np.nan), [0, 1, 2], "accepted are finite numbers"),
        (np.zeros((3, 2)), [0, 1], r"labels: received dtype int64, shape \(2,\); accepted are integers \(3,\)"),
        (np.zeros((3, 2)), [0.0, 1.0, 2.0], "labels: received dtype float64"),
        (np.zeros((3, 2)), [0, 1, 3], "labels: received values 0..3; with 3 class names accepted are 0..2"),
        (np.zeros((3, 2)), [-1, 1, 2], "labels: received values -1..2"),
    ],
)
def test_points_and_labels_that_do_not_fit_are_refused(points, labels, words):
    with pytest.raises(InputError, match=words):
        draw_embedding(points, np.array(labels), NAMES, new_figure(4, 4)[1])


def test_no_panel_is_refused():
    with pytest.raises(InputError, match="panels: received none"):
        embedding_figure({}, NAMES)
