from __future__ import annotations

import numpy as np
import pytest
from ham10000_exploration import plots
from ham10000_exploration.tables import counts_table, exploration_table, lesion_table
from matplotlib.colors import same_color

from tlkeras.errors import InputError
from tlkeras.evaluation.plots import new_figure


@pytest.fixture(scope="module")
def tables(toy_lesions):
    return dict(iter(exploration_table(lesion_table(toy_lesions)).groupby("figure")))


@pytest.fixture
def ax():
    return new_figure(5, 4)[1]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_bars_are_named_in_full_and_carry_counts_and_shares(tables, ax):
    plots.draw_counts(tables["class_counts"], ax)
    assert [bar.get_width() for bar in ax.patches] == [3, 2, 1]
    assert texts(ax) == ["3  (50.0 %)", "2  (33.3 %)", "1  (16.7 %)"]
    assert ticks(ax.yaxis) == ["Melanocytic nevi (nv)", "Benign keratosis-like lesions (bkl)", "Melanoma (mel)"]
    assert ax.get_xlabel() == "images (n = 6)"
    bottom, top = ax.get_ylim()
    assert bottom > top  # the first row on top


def test_a_class_has_one_colour_in_every_figure(tables):
    one_way, stacked = (new_figure(5, 4)[1] for _ in range(2))
    plots.draw_counts(tables["class_counts"], one_way)
    plots.draw_counts_by(tables["localization_by_cell_type"], stacked, stacked=True)
    for bar, segments in zip(one_way.patches, stacked.containers, strict=True):
        assert all(same_color(bar.get_facecolor(), segment.get_facecolor()) for segment in segments)
    assert len({bar.get_facecolor() for bar in one_way.patches}) == 3


def test_filled_ages_stand_on_top_of_the_recorded_ones(tables, ax):
    plots.draw_ages(tables["age"], ax)
    recorded, filled = ax.containers
    # Bins from 40 to 80; the mean of 40, 40, 45, 50 and 80 is 51, in the bin from 50 on top of its one image.
    assert [bar.get_height() for bar in recorded] == [2, 1, 1, 0, 0, 0, 0, 0, 1]
    assert [(bar.get_y(), bar.get_height()) for bar in filled][2] == (1, 1)
    assert texts(ax) == ["2", "1", "2", "0", "0", "0", "0", "0", "1"]
    assert ticks(ax.xaxis) == ["40", "45", "50", "55", "60", "65", "70", "75", "80"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["recorded, 5", "filled with the mean, 1"]


def test_wedges_are_as_large_as_their_share(tables, ax):
    plots.draw_diagnosis_methods(tables["diagnosis_method"], ax)
    angles = [abs(wedge.theta2 - wedge.theta1) for wedge in ax.patches]
    assert angles == pytest.approx([120, 120, 60, 60], rel=1e-5)
    assert [text for text in texts(ax) if text] == [
        "follow-up examination\n2 (33.3 %)",
        "histopathology\n2 (33.3 %)",
        "confocal microscopy\n1 (16.7 %)",
        "expert consensus\n1 (16.7 %)",
    ]


def test_groups_lie_beneath_each_other_or_end_to_end(tables):
    beneath, end_to_end = (new_figure(5, 4)[1] for _ in range(2))
    plots.draw_counts_by(tables["localization_by_sex"], beneath)
    male, female, unknown = beneath.containers
    assert [[bar.get_width() for bar in bars] for bars in (male, female, unknown)] == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert ticks(beneath.yaxis) == ["back", "face", "unknown"]
    assert texts(beneath) == ["2", "1", "0", "1", "1", "0", "0", "0", "1"]
    plots.draw_counts_by(tables["localization_by_cell_type"], end_to_end, stacked=True)
    nv, bkl, mel = end_to_end.containers
    assert [(bar.get_x(), bar.get_width()) for bar in mel] == [(2, 1), (2, 0), (1, 0)]
    assert [bar.get_width() for bar in nv] == [2, 1, 0]
    assert [bar.get_x() for bar in bkl] == [2, 1, 0]
    assert texts(end_to_end) == ["3", "2", "1"]


def test_grid_cells_hold_counts_and_are_shaded_by_share_of_the_column(tables, ax):
    plots.draw_two_way_counts(tables["localization_by_cell_type"], ax)
    assert (ticks(ax.xaxis), ticks(ax.yaxis)) == (["nv", "bkl", "mel"], ["back", "face", "unknown"])
    assert texts(ax) == ["2", "0", "1", "1", "1", "0", "0", "1", "0"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 0, 1], [1 / 3, 1 / 2, 0], [0, 1 / 2, 0]])


def test_a_value_without_a_colour_of_its_own_is_drawn(toy_lesions, ax):
    lesions = lesion_table(toy_lesions).assign(sex=["other", "male", "female", "female", "unknown", "male"])
    plots.draw_counts_by(counts_table(lesions, "localization", by="sex"), ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "female, 2",
        "male, 2",
        "other, 1",
        "unknown, 1",
    ]


def test_columns_of_lesions_tell_lesions_and_images(tables, ax):
    plots.draw_images_per_lesion(tables["images_per_lesion"], ax)
    assert [bar.get_height() for bar in ax.patches] == [4, 1]
    assert texts(ax) == ["4 lesions\n4 images", "1 lesions\n2 images"]


def test_the_sheet_rounds_and_leaves_missing_places_white(ax):
    light, dark = np.full((4, 5, 3), 200.6), np.full((4, 5, 3), 10, np.uint8)
    plots.draw_sheet([[light, dark], [dark]], ["a", "b"], ax, gap=1)
    sheet = ax.images[0].get_array()
    assert sheet.shape == (9, 11, 3)
    assert [int(sheet[row, column, 0]) for row, column in [(0, 0), (0, 6), (5, 0), (5, 6), (4, 0)]] == [
        201, 10, 10, 255, 255,
    ]  # fmt: skip
    assert ticks(ax.yaxis) == ["a", "b"]
    with pytest.raises(InputError, match="1 labels"):
        plots.draw_sheet([[light], [dark]], ["a"], ax)
    with pytest.raises(InputError, match=r"shapes \[\(4, 4, 3\), \(4, 5, 3\)\]"):
        plots.draw_sheet([[light, dark[:, :4]]], ["a"], ax)
