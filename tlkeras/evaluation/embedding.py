"""Features in two dimensions: what lies close together in many stays close together in two.

t-SNE: van der Maaten & Hinton, Visualizing Data using t-SNE, JMLR 9, 2008; by trees: van der Maaten, Accelerating t-SNE
using Tree-Based Algorithms, JMLR 15, 2014. Neighbours can be read from the picture; the size of a cluster and the
distance between two cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from tlkeras.checks import check_whole, real
from tlkeras.errors import InputError
from tlkeras.evaluation.plots import COLORS, GREY, new_grid
from tlkeras.seeds import derive_seed, generator
from tlkeras.user_text import in_figure

FEWEST_ROWS = 5
_FEW = 2000  # rows that take one thread some seconds
# Nine colours for the nine classes of colorectal tissue: Okabe & Ito's and two of Paul Tol's (Colour Schemes, 2021).
# Any two differ by a CIEDE2000 of 10.9 or more in simulated colour blindness, as the first seven do. With twelve shapes
# a pair returns at the 37th class.
CLASS_COLORS = (*COLORS, "#882255", "#332288")
MARKERS = ("o", "^", "s", "X", "v", "D", "P", "*", "<", "p", ">", "h")
OPACITY = 0.6
MOST_COLUMNS = 3
SIDE, LEGEND_LINE = 3.1, 0.2  # inches
Panel = tuple[np.ndarray, np.ndarray]


def embed(features: np.ndarray, *, seed: int, n_components_first: int = 50, perplexity: float = 30.0) -> np.ndarray:
    """The features' principal components, and of these t-SNE, which starts from the first two.

    The same bits on one machine with the same versions and number of threads; `n_jobs` of scikit-learn, which is left
    alone, changes nothing, and t-SNE of 3,000 rows was the same with 1, 2 and 8 threads. The seed enters through
    randomised linear algebra alone; another one still moves points, as every small change does. No global generator is
    touched.

    Args:
        features: numbers (n, d), a row per image, at least 5 rows.
        seed: the points are a function of the features and this.
        n_components_first: principal components that t-SNE is given, at least 2; fewer where n or d is smaller.
        perplexity: how many neighbours a row is thought to have, at least 1; (n - 1) / 3 where that is smaller.

    Returns:
        float32 (n, 2), without unit. All 0 where all rows are the same.

    Raises:
        InputError: another shape, too few rows, values that are no finite numbers, or a setting out of range.
    """
    values = _checked_features(features)
    n_components_first = check_whole("n_components_first", n_components_first, 2, also=", such as 50")
    perplexity = real(least=1).also(", such as 30").check("perplexity", perplexity)
    spread = np.ptp(values, axis=0).max()
    if spread == 0:
        return np.zeros((len(values), 2), np.float32)
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # t-SNE is the same at any scale, single precision is not.
    values = (values - values.mean(axis=0)) / spread
    components = PCA(
        n_components=min(n_components_first, *values.shape), random_state=derive_seed(seed, "embed", "components")
    ).fit_transform(values)
    if components.shape[1] == 1:  # t-SNE's start needs two
        components = np.pad(components, ((0, 0), (0, 1)))
    tsne = TSNE(
        init="pca",
        perplexity=min(perplexity, (len(values) - 1) / 3),
        random_state=derive_seed(seed, "embed", "t-SNE"),
    )
    # The threads wait for each other so often that beside other work few points take minutes; the result is the same.
    with threadpool_limits(1 if len(values) <= _FEW else None):
        points = tsne.fit_transform(components)
    return points.astype(np.float32, copy=False)


def draw_embedding(
    points: np.ndarray, labels: np.ndarray, class_names: Sequence[str], ax: Axes, *, title: str | None = None
) -> Axes:
    """A point per image; each class has a colour and a marker of its own, which `ax.legend()` names.

    The points lie over each other in an order drawn once for all, so that no class hides another. The axes have no
    unit and so no ticks; both have the same scale.

    Args:
        points: (n, 2), from `embed`.
        labels: int (n,), each in 0..len(class_names)-1.
        class_names: the k class names.
        ax: where to draw.
        title: what stands above, or None.

    Raises:
        InputError: points or labels of another shape, points that are not finite, or a label without a name.
    """
    points, labels = _checked_points(points, labels, class_names)
    order = generator(0, "draw_embedding").permutation(len(points))
    shapes = [MarkerStyle(_marker(label)) for label in range(len(class_names))]
    paths = [shape.get_path().transformed(shape.get_transform()) for shape in shapes]
    drawn = ax.scatter(
        *points[order].T,
        s=np.clip(15_000 / max(len(points), 1), 5, 30),
        c=[_color(label) for label in labels[order]],
        alpha=OPACITY,
        linewidths=0,
    )
    drawn.set_paths([paths[label] for label in labels[order]])  # one scatter knows one marker
    for label, name in enumerate(class_names):
        ax.plot([], [], _marker(label), color=_color(label), ms=6, mew=0, label=in_figure(name))
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel("t-SNE 1", fontsize=8, color=GREY)
    ax.set_ylabel("t-SNE 2", fontsize=8, color=GREY)
    ax.margins(0.04)
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[:].set_color("0.8")
    if title is not None:
        ax.set_title(in_figure(title), fontsize=10)
    return ax


def embedding_figure(panels: Mapping[str, Panel], class_names: Sequence[str]) -> Figure:
    """Embeddings of the same classes side by side, at most three in a row, and one legend for all.

    The legend tells how many points a class has: "Gland (500)", or "Gland (480 to 500)" where panels differ. It stands
    in the place that the last row leaves free, or below.

    Args:
        panels: {title: (points (n, 2), labels (n,))}, at least one; see `draw_embedding`.
        class_names: the k class names of all panels. Sets with other classes are another figure.

    Returns:
        The figure, to be written with `plots.save_figure`.

    Raises:
        InputError: no panel, or one that `draw_embedding` refuses.
    """
    if not panels:
        raise InputError("panels: received none; accepted is {title: (points, labels)}, at least one.")
    columns = 2 if len(panels) == 4 else min(len(panels), MOST_COLUMNS)
    figure, axes = new_grid(-(-len(panels) // columns), columns, side=SIDE)
    used, free = axes.flat[: len(panels)], axes.flat[len(panels) :]
    for ax, (title, (points, labels)) in zip(used, panels.items(), strict=True):
        draw_embedding(points, labels, class_names, ax, title=title)
    for ax in free:
        ax.set_axis_off()
    counts = np.array([np.bincount(labels, minlength=len(class_names)) for _, labels in panels.values()])
    words = [in_figure(f"{name} ({_range(of_class)})") for name, of_class in zip(class_names, counts.T, strict=True)]
    handles: list[Line2D] = used[0].get_legend_handles_labels()[0]
    style = {"frameon": False, "fontsize": 9, "markerscale": 1.2}
    if len(free):
        free[0].legend(handles, words, loc="center", ncols=-(-len(words) // 14), **style)
        return figure
    fit = max(1, int(figure.get_figwidth() / (0.45 + 0.075 * max(map(len, words)))))
    lines = -(-len(words) // fit)
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * lines)
    figure.legend(handles, words, loc="outside lower center", ncols=-(-len(words) // lines), **style)
    return figure


def _checked_features(features: np.ndarray) -> np.ndarray:
    """`features` as float64 (n, d), or an InputError that says what is wrong with them."""
    features = np.asarray(features)
    if features.dtype.kind not in "fiu":
        raise InputError(f"features: received dtype {features.dtype}; accepted are real numbers, such as float32.")
    if features.ndim != 2 or features.shape[1] < 1:
        raise InputError(
            f"features: received shape {features.shape}; accepted is (n, d), a row of d features per image. Pool or "
            "flatten feature maps before: features.reshape(len(features), -1)."
        )
    if len(features) < FEWEST_ROWS:
        raise InputError(
            f"features: received {len(features)} rows; accepted are at least {FEWEST_ROWS}, for fewer have no "
            "neighbourhoods to keep."
        )
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise InputError(
            f"features: {np.count_nonzero(~finite)} of {len(features)} rows hold NaN or infinity, the first is row "
            f"{np.argmin(finite)}; accepted are finite numbers. Features that overflowed in half precision are finite "
            "in float32."
        )
    return features.astype(np.float64)


def _checked_points(points: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Panel:
    points, labels = np.asarray(points), np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise InputError(
            f"points: received shape {points.shape}; accepted are finite numbers (n, 2), as `embed` gives."
        )
    if labels.shape != points.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels: received dtype {labels.dtype}, shape {labels.shape}; accepted are integers ({len(points)},), one "
            "for each point."
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(class_names)):
        raise InputError(
            f"labels: received values {labels.min()}..{labels.max()}; with {len(class_names)} class names accepted are "
            f"0..{len(class_names) - 1}."
        )
    return points, labels


def _color(label: int) -> str:
    return CLASS_COLORS[label % len(CLASS_COLORS)]


def _marker(label: int) -> str:
    return MARKERS[label % len(MARKERS)]


def _range(counts: np.ndarray) -> str:
    low, high = counts.min(), counts.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
