"""How long does LIME take for one image, beside the lime package itself on the same classifier?

Question
    The same classifier, image, regions, seed and number of copies: what are the seconds of tl.explain and of stock
    LimeImageExplainer as people call it (its default batch of 10, `model.predict` as the classifier, here without its
    progress bar), and do the weights agree?
Commands
    python experiments/benchmarks/benchmark_explain.py --out assets/benchmark        (writes explain.md)
    python experiments/benchmarks/benchmark_explain.py --backbone mobilenetv2_050 --weights FILE --image-size 224
        --repeats 5
Data
    A photograph that comes with scikit-image (chelsea), cut square and resized. Random weights unless --weights says
    otherwise, with BatchNorm statistics taken from pieces of the photograph (without them a deep random network answers
    every image alike), and a random head for 7 classes. What a network has learnt does not change how long it takes.
Rows
    About 10 regions, tl.explain's default: with 8 of them there are only 256 different copies, and only those are
    predicted. About 50 regions: no copy comes twice, so the row shows the rest.
Cost
    Some 25 seconds a repeat on 2 idle cores at 128 pixels and 1,000 copies.
Expected result
    assets/benchmark/explain.md: several times faster, most where few regions leave few different copies, and no
    difference in any weight.
What differs
    Both sides are run once on few copies before the clock starts, so that neither pays for tracing the network. The
    regions are made before as well. Seconds are the best of the repeats, for other work on the machine only adds to
    them; the ratio of the medians stands beside. CPU seconds count all threads. Read the ratio of the wall seconds on
    an idle machine; on a busy one both mislead, since ours keeps all cores at work and stock waits on one. Quote
    ratios, not seconds.
"""

import os
import statistics

from timing import in_turn, machine_line, parser_of, run, say, stopwatch, write_page

from tlkeras.errors import InputError

N_CLASSES = 7
REGIONS = (10, 50)
FEW_COPIES = 75  # more than one batch on either side, the last one smaller: every shape there is


def arguments():
    """The options."""
    parser = parser_of(__doc__, "--weights")
    add = parser.add_argument
    add("--n-samples", type=int, default=1000, help="copies, the whole image among them (default: %(default)s)")
    add("--image-size", type=int, default=128, help="pixels a side (default: %(default)s)")
    add("--backbone", default="mobilenetv2", help="a name of tl.BACKBONES (default: %(default)s)")
    add("--repeats", type=int, default=3, help="runs of each side, in turn (default: %(default)s)")
    add("--seed", type=int, default=0)
    return parser


def read_photograph(side):
    """uint8 (side, side, 3)."""
    import numpy as np
    from PIL import Image, ImageOps
    from skimage import data

    return np.asarray(ImageOps.fit(Image.fromarray(data.chelsea()), (side, side), Image.Resampling.LANCZOS))


def settle_batch_norm(model, side):
    """Gives every BatchNormalization the statistics of 16 pieces of the photograph."""
    import keras
    import numpy as np

    large = read_photograph(2 * side)
    corners = [(top * side // 3, left * side // 3) for top in range(4) for left in range(4)]
    pieces = np.stack([large[top : top + side, left : left + side] for top, left in corners])
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # so that one pass replaces what was there
    model(keras.ops.cast(pieces, "float32"), training=True)


def explain_stock(classifier, image, segments, label, n_samples, seed):
    """The lime package as its tutorials call it: the weights, in the order of the regions."""
    from lime.lime_image import LimeImageExplainer

    fitted = LimeImageExplainer(random_state=seed).explain_instance(
        image,
        lambda images: classifier.model.predict(images, verbose=0),
        labels=(label,),
        top_labels=None,
        num_samples=n_samples,
        segmentation_fn=lambda _: segments,
    )
    weights = dict(fitted.local_exp[label])
    return [weights[region] for region in range(len(weights))]


def explain_ours(classifier, image, segments, label, n_samples, seed):
    """The same from tl.explain."""
    import tlkeras as tl

    return tl.explain(classifier, image, label=label, n_samples=n_samples, seed=seed, segmentation=segments).weights


def count_distinct(segments, n_samples, seed):
    """How many different copies lime draws: those that `perturbed_copies` of a drawn-on image tells apart."""
    import numpy as np

    import tlkeras as tl
    from tlkeras.explaining.lime import perturbed_copies

    n = int(segments.max()) + 1
    # One pixel for each region, white where it is shown.
    pixels = np.full((1, n, 3), 255, np.uint8)
    drawn = tl.Explanation(pixels, np.arange(n)[None], np.zeros(n), label=0, class_name="", probability=0.0, r2=0.0)
    copies = perturbed_copies(drawn, seed=seed, n=n_samples - 1, hide=0)
    return len(np.unique(np.concatenate([pixels[None], copies]).reshape(n_samples, -1), axis=0))


def measure(classifier, image, n_segments, options):
    """One row of the table."""
    import numpy as np

    from tlkeras.explaining.segmentation import segment

    segments = segment(image, n_segments=n_segments)
    label = int(classifier.predict_pixels(image[None])[0].argmax())
    sides = {"stock": explain_stock, "ours": explain_ours}
    for side in sides.values():
        side(classifier, image, segments, label, FEW_COPIES, options.seed)
    wall, cpu, weights = {"stock": [], "ours": []}, {"stock": [], "ours": []}, {}
    for name in in_turn(sides, options.repeats):
        with stopwatch() as spent:
            weights[name] = sides[name](classifier, image, segments, label, options.n_samples, options.seed)
        wall[name].append(spent.wall)
        cpu[name].append(spent.cpu)
    return {
        "segments": int(segments.max()) + 1,
        "distinct copies": count_distinct(segments, options.n_samples, options.seed),
        **row_of_times(wall, cpu),
        "largest weight": f"{np.abs(weights['stock']).max():.1e}",
        "largest difference": f"{np.abs(np.subtract(weights['ours'], weights['stock'])).max():.1e}",
    }


def row_of_times(wall, cpu):
    """{column: text} for {"stock": seconds of every repeat, "ours": ...}, on the clock and of all cores."""
    ratio = lambda pick, seconds: f"{pick(seconds['stock']) / pick(seconds['ours']):.1f}"  # noqa: E731
    return {
        "stock, s": f"{min(wall['stock']):.2f}",
        "ours, s": f"{min(wall['ours']):.2f}",
        "ratio": ratio(min, wall),
        "of medians": ratio(statistics.median, wall),
        "of CPU seconds": ratio(min, cpu),
    }


def compare(options):
    """Builds the classifier, runs both sides in turn, writes and prints the table."""
    for name, least in (("n_samples", 2), ("repeats", 1)):
        if getattr(options, name) < least:
            raise InputError(
                f"--{name.replace('_', '-')}: received {getattr(options, name)}; accepted is at least {least}."
            )
    os.environ["TQDM_DISABLE"] = "1"  # read when lime is imported: it has no argument that silences its bar
    import pandas as pd

    import tlkeras as tl
    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.machine import environment

    size = (options.image_size, options.image_size)
    model = tl.build_classifier(
        options.backbone, n_classes=N_CLASSES, image_size=size, weights=options.weights, seed=options.seed
    )
    if options.weights is None:
        settle_batch_norm(model, options.image_size)
    names = tuple(f"class {label}" for label in range(N_CLASSES))
    classifier = tl.TunedClassifier(model=model, class_names=names, image_size=size)
    image = read_photograph(options.image_size)
    rows = []
    for n_segments in REGIONS:
        say(f"about {n_segments} regions ...")
        rows.append(measure(classifier, image, n_segments, options))
    page = (
        f"# Explaining one image\n\n{to_markdown(pd.DataFrame(rows).set_index('segments'))}\n"
        f"{options.backbone}, {options.image_size}x{options.image_size} pixels, {options.n_samples} copies, repeats: "
        f"{options.repeats}; {machine_line(environment())}. Ratio: stock over ours.\n"
    )
    write_page(options.out / "explain.md", page)


if __name__ == "__main__":
    run(arguments(), compare)
