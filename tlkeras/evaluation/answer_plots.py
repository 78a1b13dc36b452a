"""What predictions are used for, drawn: net benefit, the risk that is left, subgroups, how a figure grows with data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlkeras.evaluation.decisions import decision_curve, risk_coverage
from tlkeras.evaluation.intervals import FEW_GROUPS
from tlkeras.evaluation.plots import BLUE, COLORS, GREY, LINE_STYLES, light_grid, new_grid
from tlkeras.evaluation.tables import METRICS
from tlkeras.schema import Predictions
from tlkeras.user_text import in_figure

_FEW = "0.6"  # the grey of a subgroup of few groups


def draw_decision_curves(tables: Mapping[str, pd.DataFrame], ax: Axes) -> Axes:
    """Net benefit over the threshold, a line for each classifier, and what acting on all and on nobody brings.

    Args:
        tables: {name: as `decisions.decision_curve` makes it, of the same thresholds and images}.
        ax: where to draw.
    """
    first = next(iter(tables.values()))
    ax.axhline(0, color=GREY, lw=0.9, ls=":", label="act on nobody")
    ax.plot(first.index, first["everyone"], color=GREY, lw=1.1, ls="--", label="act on all")
    for name, table, color, style in _lines(tables):
        ax.plot(table.index, table["net_benefit"], color=color, ls=style, lw=1.6, label=in_figure(name))
        if len(tables) == 1:
            ax.fill_between(table.index, table["low"], table["high"], color=color, alpha=0.18, lw=0)
    highest = max(first["everyone"].max(), *(table["net_benefit"].max() for table in tables.values()))
    ax.set(xlabel="threshold probability", ylabel="net benefit", xlim=(0, 1), ylim=(-0.15 * highest, 1.08 * highest))
    light_grid(ax)
    return _legend_below(ax)


def decisions_figure(parts: Mapping[str, Predictions | Sequence[Predictions]], positive_class: str | None) -> Figure:
    """Errors over the share of images that is answered and, of two classes, net benefit beside it.

    Args:
        parts: {name of a classifier: its predictions of the same images, or those of each seed}.
        positive_class: the class that is acted on; None of more than two classes.
    """
    figure, axes = new_grid(1, 2 if positive_class else 1, side=4.4)
    figure.set_size_inches(10.5 if positive_class else 6.0, 4.6)
    draw_risk_coverage({name: risk_coverage(of) for name, of in parts.items()}, axes[0, -1])
    if positive_class:
        draw_decision_curves({name: decision_curve(of, positive_class) for name, of in parts.items()}, axes[0, 0])
    return figure


def draw_risk_coverage(tables: Mapping[str, pd.DataFrame], ax: Axes) -> Axes:
    """The share of the answers that is wrong over the share of the images that is answered, a line for each classifier.

    Args:
        tables: {name: as `decisions.risk_coverage` makes it}.
        ax: where to draw.
    """
    for name, table, color, style in _lines(tables):
        answered, risk = 100 * table["answered"], 100 * table["risk"]
        ax.plot(answered, risk, color=color, ls=style, lw=1.6, marker="o", ms=3.5, label=in_figure(name))
        if len(tables) == 1:
            ax.fill_between(answered, 100 * table["low"], 100 * table["high"], color=color, alpha=0.18, lw=0)
    ax.set(xlabel="images answered, the surest first, %", ylabel="of these wrong, %", xlim=(0, 101))
    ax.set_ylim(bottom=0)
    light_grid(ax)
    return _legend_below(ax)


def draw_subgroups(table: pd.DataFrame, axes: Sequence[Axes], *, overall: Mapping[str, float] | None = None) -> None:
    """A row for every subgroup with its figures and their intervals, one Axes for each metric; hollow and grey where
    there are few groups.

    Args:
        table: as `subgroups.subgroups` makes it.
        axes: as many as there are metrics.
        overall: {metric: of all images}, a line.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    rows = table[table["metric"] == metrics[0]]
    place = -(np.arange(len(rows)) + 0.8 * pd.factorize(rows["column"])[0])
    for number, (metric, ax) in enumerate(zip(metrics, axes, strict=True)):
        of_metric = table[table["metric"] == metric]
        title, factor, _ = METRICS.get(metric, (metric, 1, ""))
        if overall and metric in overall:
            ax.axvline(factor * overall[metric], color=GREY, lw=0.9, ls="--", zorder=1)
        for y, row in zip(place, of_metric.itertuples(), strict=True):
            few = row.groups < FEW_GROUPS
            color = _FEW if few else BLUE
            ax.hlines(y, factor * row.low, factor * row.high, color=color, lw=1.2, zorder=2)
            ax.plot(factor * row.value, y, "o", mfc="white" if few else color, mec=color, ms=5.5, zorder=3)
            if np.isnan(row.value):
                ax.text(0.02, y, "not defined", transform=ax.get_yaxis_transform(), va="center", fontsize=7, color=GREY)
        names = [f"{row.column}: {row.subgroup} ({row.images:,})" for row in rows.itertuples()]
        ax.set_yticks(place, [in_figure(name) for name in names] if number == 0 else [""] * len(rows), fontsize=8)
        ax.set(xlabel=title, ylim=(place.min() - 0.7, 0.7))
        light_grid(ax, "x")


def draw_learning_curve(
    table: pd.DataFrame,
    ax: Axes,
    *,
    metric: str,
    curve: pd.Series | None = None,
    ahead: Mapping[float, tuple] | None = None,
) -> Axes:
    """A figure over the number of groups learnt from, on a logarithmic scale, with its interval and its power law.

    Args:
        table: as `learning_curve.LearningCurve` has it: index groups, columns value, low, high.
        ax: where to draw.
        metric: of `tl.score`.
        curve: the power law, index groups; None draws none.
        ahead: {groups: (value, low, high)} of what more groups would bring.
    """
    title, factor, _ = METRICS.get(metric, (metric, 1, ""))
    if curve is not None:
        ax.plot(curve.index, factor * curve, color=GREY, lw=1.1, ls="--", label="power law", zorder=1)
    ax.vlines(table.index, factor * table["low"], factor * table["high"], color=BLUE, lw=1.2, zorder=2)
    ax.plot(table.index, factor * table["value"], "o", color=BLUE, ms=5.5, label="learnt from so many", zorder=3)
    for n_groups, (value, low, high) in (ahead or {}).items():
        ax.vlines(n_groups, factor * low, factor * high, color=GREY, lw=1.2, zorder=2)
        ax.plot(
            n_groups, factor * value, "o", mfc="white", mec=GREY, ms=5.5, label=f"{n_groups:,.0f}: a guess", zorder=3
        )
    ax.set_xscale("log")
    ticks = [*table.index, *(ahead or {})]
    ax.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks], rotation=45, ha="right", fontsize=8)
    ax.minorticks_off()
    ax.set(xlabel="patients or lesions learnt from", ylabel=title)
    light_grid(ax)
    return _legend_below(ax)


def _lines(tables: Mapping[str, pd.DataFrame]):
    styles = (style for style in LINE_STYLES for _ in COLORS)
    return [
        (name, table, color, style)
        for (name, table), color, style in zip(tables.items(), cycle(COLORS), styles, strict=False)
    ]


def _legend_below(ax: Axes) -> Axes:
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False, fontsize=8)
    return ax
