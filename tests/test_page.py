import tlkeras as tl
from tlkeras.page import settings_table
from tlkeras.runs import describe


def test_settings_are_those_of_the_recipes_beside_those_of_the_document():
    phases = (tl.Phase(1, 1e-3), tl.Phase(10, 1e-5, unfreeze=1, schedule="cosine"))
    recipes = [
        tl.Tuner("mobilenetv2", phases=phases, batch_size=size, augmentation=tl.Augmentation(horizontal_flip=True))
        for size in (32, 128)
    ]
    table = settings_table([describe(recipe) for recipe in recipes], {"epochs per phase": "10"})
    assert table.loc["epochs per phase"].tolist() == ["10", "1, then 10"]
    assert table.loc["batch size"].tolist() == ["", "32 / 128"]
    ours = table["ours"]
    assert ours["learning rate"] == "0.001, then 1e-05"
    assert ours["backbone layers that learn"] == "none, then 1"
    assert ours["schedule"] == "none, then cosine"
    assert ours["weights"] == "ImageNet"
    assert ours["augmentation"] == "horizontal_flip=yes, fill_mode=nearest"
