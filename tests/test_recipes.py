import inspect

import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.training.recipe import Recipe

NAMES = [name for name, value in vars(tl.recipes).items() if inspect.isfunction(value) and not name.startswith("_")]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_tuner_that_is_described_and_takes_fields(name):
    recipe = getattr(tl.recipes, name)(TINY, weights=None)
    assert isinstance(recipe, tl.Tuner)
    assert Recipe.from_description(recipe.describe()).describe() == recipe.describe()
    other = getattr(tl.recipes, name)(TINY, weights=None, imbalance="class_weights", head=tl.Head((), pooling="max"))
    assert other.imbalance == "class_weights"
    assert other.head.pooling == "max"


@pytest.mark.parametrize(
    "name", [name if name == "fine_tune" else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_each_learns_a_toy_task(name, toy_pixels):
    images, labels = toy_pixels
    recipe = getattr(tl.recipes, name)(TINY, weights=None, image_size=(16, 16), batch_size=4).for_smoke(16)
    fitted = recipe.fit((images[:28], labels[:28]), (images[28:], labels[28:]), seed=0)
    assert fitted.predict_pixels(tl.read_pixels(images[0], (16, 16))[None]).shape == (1, 2)


def test_the_documents_recipe_is_what_they_say():
    recipe = tl.recipes.two_phase("vgg16")
    assert [phase.epochs for phase in recipe.phases] == [10, 10]
    assert [phase.unfreeze for phase in recipe.phases] == [0, "all"]
    assert recipe.phases[1].learning_rate == pytest.approx(recipe.phases[0].learning_rate / 10)
    assert (recipe.head.hidden, recipe.head.pooling) == ((128,), "flatten")


def test_fine_tuning_begins_with_the_linear_probe():
    probe, tuned = tl.recipes.linear_probe("vgg16"), tl.recipes.fine_tune("vgg16")
    assert probe.phases == tuned.phases[:1]
    assert probe.head == tuned.head
