from cells import KEY, finished, right_in

from tlkeras.evaluation.blocks import Figure
from tlkeras.files import write_text
from tlkeras.replication.figures import activation_figures
from tlkeras.replication.run_folder import RunFolder


def test_activations_are_shown_of_networks_that_are_still_there(tmp_path):
    for name in ("activations_resnet50_seed0_conv1.png", "activations_vgg16_seed0_conv1.png", "embedding_test.png"):
        write_text(tmp_path / name, "a figure")
    run = finished({}, folder=RunFolder(tmp_path), predicted={KEY: {"test": right_in(range(4))}})
    (shown,) = activation_figures(run)
    assert isinstance(shown, Figure)
    assert shown.path == tmp_path / "activations_vgg16_seed0_conv1.png"
    assert "vgg16" in shown.alt
