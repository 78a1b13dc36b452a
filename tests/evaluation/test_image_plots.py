from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import same_color

from tlkeras.errors import InputError
from tlkeras.evaluation import image_plots as plots
from tlkeras.evaluation.plots import new_figure, new_grid
from tlkeras.schema import Activations, Explanation, Heatmap


def texts(ax):
    return [text.get_text() for text in ax.texts]


def colored(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.fixture
def explanation():
    segments = np.repeat(np.repeat(np.arange(4).reshape(2, 2), 8, axis=0), 8, axis=1)
    return Explanation(
        image=colored(), segments=segments, weights=np.array([0.5, 0.1, -0.2, 0.0]),
        label=1, class_name="nv", probability=0.875, r2=0.5,
    )  # fmt: skip


@pytest.fixture
def heatmap():
    heat = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    return Heatmap(image=colored(), heat=heat, label=1, class_name="nv", probability=0.875, layer="out_relu")


def test_explanation_outlines_the_strongest_regions_of_either_sign(explanation):
    ax = plots.draw_explanation(explanation)
    assert sorted(texts(ax)) == ["+0.100", "+0.500", "-0.200"]
    assert ax.get_title() == "nv, 87.5 %\nr² of the local fit 0.50"
    assert sorted(texts(plots.draw_explanation(explanation, n_regions=1))) == ["+0.500", "-0.200"]
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert all(
        explanation.segments[int(y), int(x)] == region
        for region, (x, y) in enumerate([at["+0.500"], at["+0.100"], at["-0.200"]])
    )
    repeated = plots.draw_explanation(replace(explanation, stability=0.912))
    assert repeated.get_title() == "nv, 87.5 %\nr² of the local fit 0.50, stability 0.91"


def test_neighbours_do_not_share_an_outline(explanation):
    # 128 x 128: the borders lie at -0.5, 63.5 and 127.5, each outline 0.77 pixels inside its region.
    large = explanation.segments.repeat(8, axis=0).repeat(8, axis=1)
    ax = plots.draw_explanation(replace(explanation, image=np.zeros((128, 128, 3), np.uint8), segments=large))
    outlines = [drawn for drawn in ax.collections if drawn.get_facecolor().size == 0]
    boxes = [path.get_extents().extents for outline in outlines for path in outline.get_paths()]
    near, far = (0.27, 62.73), (64.27, 126.73)
    expected = [(x[0], y[0], x[1], y[1]) for x, y in [(near, near), (far, near), (near, far)]]
    np.testing.assert_allclose(boxes, expected, atol=0.01)
    assert [outline.get_linestyle()[0][1] is None for outline in outlines] == [True, True, False]


def test_a_region_of_a_single_pixel_has_an_outline_and_its_weight(explanation):
    segments = np.zeros((16, 16), int)
    segments[5, 9] = 1
    single = replace(explanation, segments=segments, weights=np.array([0.0, 0.5]))
    ax = plots.draw_explanation(single)
    assert [(text.get_text(), text.get_position()) for text in ax.texts] == [("+0.500", (9, 5))]
    points = np.concatenate([path.vertices for path in ax.collections[-1].get_paths()])
    assert (np.abs(points - (9, 5)) < 0.5).all()


def test_a_bent_region_holds_its_own_number():
    # A ring around a square: its centre of mass lies in the square.
    segments = np.zeros((16, 16), int)
    segments[4:12, 4:12] = 1
    bent = Explanation(
        image=colored(), segments=segments, weights=np.array([0.5, -0.5]),
        label=1, class_name="nv", probability=0.875, r2=0.5,
    )  # fmt: skip
    for ax in (plots.draw_explanation(bent), plots.draw_segments(bent, new_figure(2, 2)[1])):
        ring, square = [text.get_position() for text in sorted(ax.texts, key=lambda text: text.get_text())]
        assert segments[ring[1], ring[0]] == 0
        assert segments[square[1], square[0]] == 1


def test_segments_are_numbered_from_zero_with_borders_between_their_pixels(explanation):
    ax = plots.draw_segments(explanation, new_figure(2, 2)[1])
    assert texts(ax) == ["0", "1", "2", "3"]
    below, borders = [drawn for drawn in ax.collections if isinstance(drawn, LineCollection)]
    assert same_color(borders.get_edgecolor(), "white")
    assert same_color(below.get_edgecolor(), "black")
    np.testing.assert_array_equal(below.get_segments(), borders.get_segments())
    points = np.concatenate(borders.get_segments())
    # Two lines of 16 pixels, between the pixels 7 and 8.
    assert len(borders.get_segments()) == 32
    assert ((points[:, 0] == 7.5) | (points[:, 1] == 7.5)).all()
    assert (points.min(), points.max()) == (-0.5, 15.5)


def test_copies_are_shown_as_they_are():
    copies = [colored(1), colored(2)]
    axes = new_grid(1, 2)[1][0]
    for ax, copy in zip(plots.draw_copies(copies, axes), copies, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), copy)
    with pytest.raises(InputError, match="received 3 images and 2 axes"):
        plots.draw_copies([*copies, colored()], axes)


def test_heat_lies_over_the_grey_image_on_a_scale_from_0_to_1(heatmap):
    ax = plots.draw_heatmap(heatmap)
    below, heat = ax.images
    assert ax.get_title() == "nv, 87.5 %\nGrad-CAM of out_relu"
    np.testing.assert_array_equal(heat.get_array(), heatmap.heat)
    assert heat.get_clim() == (0, 1)
    shown = below.get_array()
    assert (shown == shown[..., :1]).all()
    red, green, blue = colored()[3, 5]
    assert shown[3, 5, 0] == round(0.299 * red + 0.587 * green + 0.114 * blue)
    # One colour scale for every image, also for one in which nothing spoke for the label.
    assert plots.draw_heatmap(replace(heatmap, heat=np.zeros((16, 16), np.float32))).images[1].get_clim() == (0, 1)


@pytest.mark.parametrize("shape", [(64, 64), (40, 96), (96, 40)])
def test_nothing_is_cut_off_where_a_figure_is_saved_as_it_is(explanation, heatmap, shape):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    drawn_alone = (
        plots.draw_heatmap(
            replace(heatmap, image=image, heat=rng.random(shape, np.float32), class_name="melanoma in situ")
        ),
        plots.draw_explanation(explanation),
        plots.draw_activations(Activations(image, rng.random((4, 4, 9), np.float32), "block_13_expand")),
    )
    for ax in drawn_alone:
        figure = ax.figure
        figure.canvas.draw()
        figure.set_layout_engine("none")  # else asking for the extent would lay it out anew
        reached = figure.get_tightbbox()  # inches
        width, height = figure.get_size_inches()
        assert min(reached.x0, reached.y0) >= -0.01
        assert reached.x1 <= width + 0.01
        assert reached.y1 <= height + 0.01


def test_the_lightness_of_the_heat_rises_evenly():
    from matplotlib import colormaps

    red, green, blue = colormaps[plots.HEAT](np.linspace(0, 1, 64))[:, :3].T
    assert (np.diff(0.2126 * red + 0.7152 * green + 0.0722 * blue) > 0).all()


def maps_of(channels, height=2, width=3):
    """Each channel is constant: its own number, from -1 on."""
    maps = np.broadcast_to(np.arange(-1, channels - 1, dtype=np.float32), (height, width, channels))
    return Activations(image=colored(), maps=np.ascontiguousarray(maps), layer="conv1")


def drawn(ax):
    """The mosaic as drawn, NaN where nothing is."""
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def test_maps_stand_side_by_side_in_the_order_of_their_channels():
    ax = plots.draw_activations(maps_of(5))
    one, none = np.ones((2, 3)), np.full((2, 3), np.nan)
    beside, below = np.full((2, 1), np.nan), np.full((1, 11), np.nan)  # the gap of one
    expected = np.vstack(
        [
            np.hstack([-one, beside, 0 * one, beside, one]),
            below,
            np.hstack([2 * one, beside, 3 * one, beside, none]),
        ]
    )
    np.testing.assert_array_equal(drawn(ax), expected)
    assert ax.get_title() == "conv1: 5 maps of 2x3"


def test_all_maps_share_one_scale_and_it_stands_beside_them():
    ax = plots.draw_activations(maps_of(5))
    assert len(ax.images) == 1
    assert ax.images[0].get_clim() == (-1, 3)
    (scale,) = [other for other in ax.figure.axes if other is not ax]
    assert scale.get_xlim() == (-1, 3)
    assert ax.images[0].get_interpolation() == "nearest"


def test_no_more_maps_are_drawn_than_asked_for_and_the_title_says_so():
    ax = plots.draw_activations(maps_of(5), n_maps=2)
    assert ax.get_title() == "conv1: 2 of 5 maps of 2x3"
    assert drawn(ax).shape == (2, 7)
    assert np.nanmax(drawn(ax)) == 0  # the first two: -1 and 0
    assert plots.draw_activations(maps_of(5), n_maps=5).get_title() == "conv1: 5 maps of 2x3"
    assert plots.draw_activations(maps_of(65)).get_title() == "conv1: 64 of 65 maps of 2x3"
    assert drawn(plots.draw_activations(maps_of(5), n_maps=1)).shape == (2, 3)


def test_a_layer_that_says_nothing_is_drawn_too():
    nothing = replace(maps_of(4), maps=np.zeros((50, 50, 4), np.float32))
    ax = plots.draw_activations(nothing, new_figure(3, 3)[1])
    ax.figure.canvas.draw()
    assert drawn(ax).shape == (102, 102)  # larger maps, a gap of 4 % of their side


def test_without_a_map_to_draw_it_is_refused():
    for n_maps in (0, -1):
        with pytest.raises(InputError, match=f"n_maps: received {n_maps}"):
            plots.draw_activations(maps_of(5), n_maps=n_maps)


def test_evidence_rows_make_a_sheet_with_column_titles_once(explanation, heatmap):
    axes = new_grid(2, 6)[1]
    copies = np.stack([colored(1), colored(2)])
    for row in axes:
        assert plots.draw_evidence(explanation, heatmap, copies, row, note="predicted mel") is row
    titles = [[ax.get_title().split("\n")[0] for ax in row] for row in axes]
    assert titles == [["image", "regions", "perturbed copy 1", "perturbed copy 2", "LIME", "Grad-CAM"], [""] * 6]
    assert [row[0].get_ylabel() for row in axes] == ["nv\n87.5 %\npredicted mel"] * 2
    assert [ax.get_xlabel() for ax in axes[1]] == [""] * 4 + ["r² of the local fit 0.50", "out_relu"]
    assert [len(ax.images) for ax in axes[0]] == [1, 1, 1, 1, 1, 2]
    assert sorted(texts(axes[0][4])) == ["+0.100", "+0.500", "-0.200"]


def test_evidence_of_different_images_or_labels_is_refused(explanation, heatmap):
    axes = new_grid(1, 5)[1][0]
    for other in (replace(heatmap, label=0), replace(heatmap, image=colored(7))):
        with pytest.raises(InputError, match="explanation and heatmap: received labels"):
            plots.draw_evidence(explanation, other, [colored()], axes)
    with pytest.raises(InputError, match="axes: received 5 for 2 copies"):
        plots.draw_evidence(explanation, heatmap, [colored()] * 2, axes)
