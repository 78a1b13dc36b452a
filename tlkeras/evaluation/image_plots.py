"""An image's explanation drawn: its regions, the copies LIME made, what spoke for the label and where.

Colours as in `plots`: blue for the label, orange and dashed against it; heat from dark (0) to bright (1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from scipy.ndimage import distance_transform_edt

from tlkeras.checks import check_whole
from tlkeras.errors import InputError
from tlkeras.evaluation.plots import BLUE, ORANGE, new_figure
from tlkeras.schema import Activations, Explanation, Heatmap
from tlkeras.user_text import in_figure

NO_WEIGHT = 1e-9  # a region that does not matter gets 1e-17, not 0
MAPS = "viridis"
HEAT = "inferno"  # perceptually uniform, and its lightness rises all the way
OPACITY = 0.6  # the same everywhere: equal steps of heat stay equal steps of colour
OUTLINED = [patheffects.withStroke(linewidth=2, foreground="black")]


def draw_explanation(explanation: Explanation, ax: Axes | None = None, *, n_regions: int = 4) -> Axes:
    """The image with the regions that spoke most for the label (blue) and most against it (orange, dashed).

    Args:
        explanation: from `explain`.
        ax: where to draw; None makes a figure, reached as `.figure` of what is returned.
        n_regions: how many regions of either kind are drawn, at most.
    """
    if ax is None:
        ax = new_figure(4, 4.6)[1]
    _draw_regions(explanation, ax, n_regions, fontsize=8)
    ax.set_title(f"{_answer(explanation)}\n{_trust(explanation, ', ')}", fontsize=10)
    ax.set_axis_off()
    ax.legend(
        handles=[
            Line2D([], [], color=BLUE, lw=2, label="for"),
            Line2D([], [], color=ORANGE, lw=2, ls="--", label="against"),
        ],
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=2,
        frameon=False,
        fontsize=9,
    )
    return ax


def draw_segments(explanation: Explanation, ax: Axes) -> Axes:
    """The image with the borders of its regions, and in each region its number, 0..n-1."""
    _draw_image(ax, explanation.image)
    borders = _borders(explanation.segments)
    # Black below white, and not as each line's own stroke, which would cut the white at every pixel.
    for color, width in (("black", 2.4), ("white", 1.2)):
        lines = LineCollection(borders, colors=color, linewidths=width, capstyle="projecting")
        ax.add_collection(lines, autolim=False)
    for region in range(len(explanation.weights)):
        _write_in(ax, explanation.segments == region, str(region), 8 if len(explanation.weights) <= 20 else 5)
    return ax


def draw_copies(images: Sequence[np.ndarray], axes: Sequence[Axes]) -> Sequence[Axes]:
    """The perturbed copies, one on each Axes.

    Args:
        images: n of uint8 (H, W, 3), from `perturbed_copies`.
        axes: n Axes.

    Raises:
        InputError: not as many Axes as images.
    """
    if len(images) != len(axes):
        raise InputError(f"received {len(images)} images and {len(axes)} axes; accepted is an Axes for each image.")
    for image, ax in zip(images, axes, strict=True):
        _draw_image(ax, image)
    return axes


def draw_heatmap(heatmap: Heatmap, ax: Axes | None = None) -> Axes:
    """The image in grey with the heat laid over it, and the scale of the heat below.

    In grey, for the colours of the image would change those of the heat.

    Args:
        heatmap: from `grad_cam`.
        ax: where to draw; None makes a figure, reached as `.figure` of what is returned.
    """
    if ax is None:
        ax = new_figure(4, 5.2)[1]  # the layout leaves no room for the scale, which lies outside the axes
    heat = _draw_heat(heatmap, ax)
    ax.set_title(f"{_answer(heatmap)}\nGrad-CAM of {in_figure(heatmap.layer)}", fontsize=10)
    ax.set_axis_off()
    # The scale lies over grey as the heat does, so that its colours are those of the image.
    bar = ax.inset_axes((0.2, -0.07, 0.6, 0.035), facecolor="0.5")
    scale = ax.figure.colorbar(heat, cax=bar, orientation="horizontal")
    scale.set_ticks([0, 1], labels=["not at all", "most"], fontsize=9)
    scale.ax.tick_params(length=0)
    return ax


def draw_activations(activations: Activations, ax: Axes | None = None, *, n_maps: int = 64) -> Axes:
    """The maps of a layer side by side in the order of its channels, on one scale for all, its values beside it.

    On one scale, so that a channel that says little looks so.

    Args:
        activations: from `tl.activations`.
        ax: where to draw; None makes a figure, reached as `.figure` of what is returned.
        n_maps: how many are drawn at most, the first ones.

    Raises:
        InputError: `n_maps` below 1.
    """
    n_maps = check_whole("n_maps", n_maps, 1)
    if ax is None:
        ax = new_figure(4.6, 4.6)[1]
    height, width, channels = activations.maps.shape
    shown = activations.maps[:, :, :n_maps]
    across = math.ceil(math.sqrt(shown.shape[2]))
    down = math.ceil(shown.shape[2] / across)
    gap = max(1, round(0.04 * max(height, width)))
    mosaic = np.full((down * (height + gap) - gap, across * (width + gap) - gap), np.nan, np.float32)
    for channel in range(shown.shape[2]):
        row, column = divmod(channel, across)
        top, left = row * (height + gap), column * (width + gap)
        mosaic[top : top + height, left : left + width] = shown[:, :, channel]
    drawn = ax.imshow(mosaic, cmap=MAPS, interpolation="nearest")
    ax.set_axis_off()
    counted = f"{channels}" if shown.shape[2] == channels else f"{shown.shape[2]} of {channels}"
    ax.set_title(f"{in_figure(activations.layer)}: {counted} maps of {height}x{width}", fontsize=10)
    scale = ax.figure.colorbar(drawn, ax=ax, orientation="horizontal", fraction=0.04, pad=0.02)
    scale.ax.tick_params(labelsize=8)
    return ax


def draw_evidence(
    explanation: Explanation,
    heatmap: Heatmap,
    copies: Sequence[np.ndarray],
    axes: Sequence[Axes],
    *,
    note: str = "",
    n_regions: int = 4,
) -> Sequence[Axes]:
    """One row of a sheet: image, regions, perturbed copies, what LIME says, Grad-CAM.

    The class explained and its probability stand left of the row; what a column shows stands over the first row of the
    grid that `axes` belong to.

    Args:
        explanation: from `explain`.
        heatmap: from `grad_cam`, of the same image and label.
        copies: n of uint8 (H, W, 3), from `perturbed_copies`; 2 or 3 show what is meant.
        axes: a row of n + 4 Axes, e.g. of `new_grid(rows, n + 4)`.
        note: a further line left of the row, e.g. "predicted nv".
        n_regions: how many regions LIME's image shows for the label, and how many against it, at most.

    Raises:
        InputError: not n + 4 Axes, or an explanation and a heat map of different images or labels.
    """
    if len(axes) != len(copies) + 4:
        raise InputError(
            f"axes: received {len(axes)} for {len(copies)} copies; accepted are {len(copies) + 4}: image, regions, the "
            "copies, LIME, Grad-CAM."
        )
    if explanation.label != heatmap.label or not np.array_equal(explanation.image, heatmap.image):
        raise InputError(
            f"explanation and heatmap: received labels {explanation.label} and {heatmap.label}; accepted are those of "
            "one image and one label, for the row has one name. Give both the same image and label."
        )
    image_ax, segments_ax, *copy_axes, lime_ax, heat_ax = axes
    _draw_image(image_ax, explanation.image)
    draw_segments(explanation, segments_ax)
    draw_copies(copies, copy_axes)
    _draw_regions(explanation, lime_ax, n_regions, fontsize=6)
    lime_ax.set_xlabel(_trust(explanation, "\n"), fontsize=7)
    _draw_heat(heatmap, heat_ax)
    heat_ax.set_xlabel(in_figure(heatmap.layer), fontsize=7)
    image_ax.set_ylabel("\n".join(filter(None, [*_answer(explanation).rsplit(", ", 1), in_figure(note)])), fontsize=8)
    titles = ["image", "regions", *(f"perturbed copy {i + 1}" for i in range(len(copies)))]
    titles += ["LIME\nblue for, orange against", "Grad-CAM\nbright for"]
    for ax, title in zip(axes, titles, strict=True):
        place = ax.get_subplotspec()
        if place is None or place.is_first_row():
            ax.set_title(title, fontsize=8)
    return axes


def _draw_image(ax: Axes, image: np.ndarray) -> None:
    ax.imshow(image)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _draw_heat(heatmap: Heatmap, ax: Axes) -> AxesImage:
    _draw_image(ax, np.repeat(np.rint(heatmap.image @ [[0.299], [0.587], [0.114]]).astype(np.uint8), 3, axis=2))
    return ax.imshow(heatmap.heat, cmap=HEAT, vmin=0, vmax=1, alpha=OPACITY)


def _draw_regions(explanation: Explanation, ax: Axes, n_regions: int, fontsize: float) -> None:
    n_regions = check_whole("n_regions", n_regions, 0)
    _draw_image(ax, explanation.image)
    limits = {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
    weights = explanation.weights
    order = np.argsort(-weights)
    favourable = [region for region in order if weights[region] > NO_WEIGHT][:n_regions]
    adverse = [region for region in order[::-1] if weights[region] < -NO_WEIGHT][:n_regions]
    for region in favourable + adverse:
        mask, weight = explanation.segments == region, weights[region]
        color, halo, style = (BLUE, "white", "-") if weight > 0 else (ORANGE, "black", "--")
        depth = _depth(mask)
        # Inside the region, beside the outline of a neighbour and not on it; in a thin region as far in as there is.
        inset = 0.5 + min(0.006 * max(mask.shape), 0.5 * (depth.max() - 0.5))  # the border itself is at depth 0.5
        height, width = mask.shape
        x, y = np.arange(-1, width + 1), np.arange(-1, height + 1)
        ax.contourf(
            x, y, depth, levels=[0.5, depth.max() + 1], colors=[color], alpha=0.35 * abs(weight) / abs(weights).max()
        )
        outline = ax.contour(x, y, depth, levels=[inset], colors=[color], linestyles=[style], linewidths=fontsize / 5)
        outline.set_path_effects([patheffects.withStroke(linewidth=fontsize / 5 + 1, foreground=halo)])
        _write_in(ax, mask, f"{weight:+.3f}", fontsize)
    ax.set(**limits)  # the contours reach one pixel beyond the image


def _write_in(ax: Axes, mask: np.ndarray, text: str, fontsize: float) -> None:
    # The pixel farthest from any border: the centre of mass may lie outside a bent region.
    depth = _depth(mask)[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), mask.shape)
    style = {"ha": "center", "va": "center", "color": "white", "path_effects": OUTLINED, "zorder": 4}
    ax.text(int(column), int(row), text, fontsize=fontsize, **style)


def _depth(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest one outside the region, (H + 2, W + 2): outside includes a frame."""
    return distance_transform_edt(np.pad(mask, 1))


def _borders(segments: np.ndarray) -> list[list[tuple[float, float]]]:
    """The edges between pixels of different regions, as lines from (x, y) to (x, y) in image coordinates."""
    rows, columns = np.nonzero(segments[:, 1:] != segments[:, :-1])
    upright = [[(x + 0.5, y - 0.5), (x + 0.5, y + 0.5)] for y, x in zip(rows.tolist(), columns.tolist(), strict=True)]
    rows, columns = np.nonzero(segments[1:] != segments[:-1])
    flat = [[(x - 0.5, y + 0.5), (x + 0.5, y + 0.5)] for y, x in zip(rows.tolist(), columns.tolist(), strict=True)]
    return upright + flat


def _answer(of: Explanation | Heatmap) -> str:
    return f"{in_figure(of.class_name)}, {100 * of.probability:.1f} %"


def _trust(explanation: Explanation, separator: str) -> str:
    if np.abs(explanation.weights).max() < NO_WEIGHT:
        return "no region moves the answer"
    told = f"r² of the local fit {explanation.r2:.2f}"
    return told if explanation.stability is None else f"{told}{separator}stability {explanation.stability:.2f}"
