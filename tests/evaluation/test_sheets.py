import numpy as np
import pytest
from matplotlib.figure import Figure

from tlkeras.errors import InputError
from tlkeras.evaluation.sheets import draw_pairs_sheet, draw_predictions_sheet


def test_sheet_marks_right_and_wrong_by_sign_and_colour():
    axes = Figure().subplots(1, 3)
    draw_predictions_sheet(np.zeros((2, 4, 4, 3), np.float32), ["a", "a"], ["a", "b"], axes)
    assert [ax.get_title() for ax in axes] == ["actual a\n✓ predicted a", "actual a\n✗ predicted b", ""]
    assert axes[0].title.get_color() != axes[1].title.get_color()
    assert not axes[2].axison
    with pytest.raises(InputError, match="received 4 images"):
        draw_predictions_sheet(np.zeros((4, 4, 4, 3)), ["a"] * 4, ["a"] * 4, axes)


def test_a_sheet_of_pairs_numbers_them_and_says_how_alike_they_are():
    axes = Figure().subplots(1, 6)
    draw_pairs_sheet(np.zeros((4, 4, 4, 3)), ["train", "val", "train", "test"], [1.25, 0.5], axes)
    titles = [ax.get_title() for ax in axes]
    assert titles == ["pair 1: 1.25\ntrain", "pair 1: 1.25\nval", "pair 2: 0.50\ntrain", "pair 2: 0.50\ntest", "", ""]
    assert not axes[5].axison
    with pytest.raises(InputError, match="received 3 images, 3 names, 2 pairs"):
        draw_pairs_sheet(np.zeros((3, 4, 4, 3)), ["a"] * 3, [1.0, 0.5], axes)
