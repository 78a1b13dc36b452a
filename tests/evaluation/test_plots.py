from __future__ import annotations

import pkgutil
import subprocess
import sys
import warnings

import matplotlib
import pytest
from matplotlib import font_manager
from matplotlib.text import Text

import tlkeras.evaluation
from tlkeras.errors import InputError
from tlkeras.evaluation import plots
from tlkeras.evaluation.plots import new_figure, save_figure

LUNG = "肺"  # in no font of this package's own: matplotlib's DejaVu has no Chinese


@pytest.fixture
def drawn():
    figure, ax = new_figure(3, 3)
    ax.set_title(f"{LUNG} lung")
    return figure


def families(figure):
    (title,) = (text for text in figure.findobj(Text) if LUNG in text.get_text())
    return title.get_fontfamily()


def test_save_figure_writes_whole_and_refuses_an_unknown_suffix(tmp_path):
    figure, ax = new_figure(2, 2)
    ax.plot([0, 1])
    path = save_figure(figure, tmp_path / "new" / "figure.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in path.parent.iterdir()] == ["figure.png"]
    assert figure.axes == []
    with pytest.raises(InputError, match=r"figure\.xyz"):
        save_figure(new_figure(2, 2)[0], tmp_path / "figure.xyz")
    assert [file.name for file in tmp_path.iterdir()] == ["new"]


def test_what_no_installed_font_has_is_said_once_with_the_remedy(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "_font_for", lambda characters: ((), characters))
    with pytest.warns(UserWarning, match=rf"a\.png: no installed font has {LUNG}; boxes.*Noto Sans CJK") as said:
        save_figure(drawn, tmp_path / "a.png")
    assert len(said) == 1
    assert (tmp_path / "a.png").is_file()


def test_a_font_that_has_the_characters_is_asked_after_the_figures_own(drawn, tmp_path, monkeypatch):
    own = font_manager.findfont(font_manager.FontProperties(family=["sans-serif"]))
    before = plots._characters
    # As if matplotlib's default lacked the character and another installed font had it.
    monkeypatch.setattr(
        plots, "_characters", lambda file: before(file) - {LUNG} if file == own else before(file) | {LUNG}
    )
    plots._font_for.cache_clear()
    plots.choose_fonts(drawn, "a.png")
    plots._font_for.cache_clear()
    assert families(drawn)[0] == "sans-serif"
    assert families(drawn)[1] in {font.name for font in font_manager.fontManager.ttflist}


def test_texts_that_their_font_can_write_keep_it(tmp_path):
    figure, ax = new_figure(3, 3)
    ax.set_title("Grüße, ✓ ✗, ± 5 %\nα")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.choose_fonts(figure, "a.png")
    assert ax.title.get_fontfamily() == matplotlib.rcParams["font.family"]


def test_a_font_of_boxes_is_no_font():
    names = plots._font_for(frozenset({LUNG, "\U000e0041"}))[0]
    assert "Last Resort" not in " ".join(names)


def test_pyplot_and_tensorflow_stay_out():
    modules = [f"tlkeras.evaluation.{module.name}" for module in pkgutil.iter_modules(tlkeras.evaluation.__path__)]
    heavy = {"tensorflow", "keras", "skimage", "matplotlib.pyplot"}
    code = f"import sys, {', '.join(modules)}; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
