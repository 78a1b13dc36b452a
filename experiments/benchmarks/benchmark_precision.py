"""Does bfloat16 make the frozen network faster here, and what does it change?

Question
    How long does a network take to turn images into features in float32 and in bfloat16, which of the two does
    precision="auto" take, and how far are the features apart?
Command
    python experiments/benchmarks/benchmark_precision.py --out assets/benchmark
Data
    None: random pixels and random weights, for neither changes the arithmetic.
Cost
    About 4 minutes on 2 cores.
Expected
    On processors with avx512_bf16 or AMX, networks of large dense convolutions (VGG, ResNet) gain and depthwise ones
    (MobileNet) lose; elsewhere all lose. --repeats runs alternate; ratios are taken pair by pair.
"""

import os
import tempfile

from timing import in_turn, parser_of, run, say, spread, stopwatch, write_page


def arguments():
    """The options."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--backbones", nargs="+", default=["vgg16", "resnet50", "mobilenetv2"], help="default: %(default)s")
    add("--size", type=int, default=128, help="pixels a side (default: %(default)s)")
    add("--images", type=int, default=512, help="default: %(default)s")
    add("--repeats", type=int, default=3, help="of each precision, in turn (default: %(default)s)")
    return parser


def seconds_and_features(encoder, samples, size):
    """Of all samples through an empty feature store, images as they come from it: seconds, and float32 (n, d)."""
    from tlkeras.training.feature_store import FeatureStore
    from tlkeras.training.feed import Part

    with tempfile.TemporaryDirectory() as folder:
        store, part = FeatureStore(folder), Part(samples, (size, size))
        store.features([encoder], part.sources[:64], part.stream)  # the first batch also compiles
        with stopwatch() as spent:
            found = store.features([encoder], part.sources, part.stream)[0]
        return spent.wall, found.table[found.rows].copy()


def measure(options):
    """One row per backbone."""
    import numpy as np

    import tlkeras as tl
    from tlkeras.training.precision import faster, milliseconds_per_image

    pixels = np.random.default_rng(0).integers(0, 256, (options.images, options.size, options.size, 3), dtype=np.uint8)
    samples = tl.from_arrays(pixels, np.arange(options.images) % 2)
    for backbone in options.backbones:
        encoders = {
            precision: tl.build_encoder(
                backbone, image_size=(options.size, options.size), pooling="avg", precision=precision
            )
            for precision in ("float32", "bfloat16")
        }
        seconds, features = {precision: [] for precision in encoders}, {}
        for precision in in_turn(encoders, options.repeats):
            spent, features[precision] = seconds_and_features(encoders[precision], samples, options.size)
            seconds[precision].append(spent)
            say(f"{backbone}, {precision}, run {len(seconds[precision])} of {options.repeats}: {spent:.1f} s")
        timed = milliseconds_per_image(lambda precision: encoders[precision], pixels[:32])  # noqa: B023 (called at once)
        ratios = [a / b for a, b in zip(seconds["float32"], seconds["bfloat16"], strict=True)]
        apart = np.sqrt(((features["float32"] - features["bfloat16"]) ** 2).mean() / (features["float32"] ** 2).mean())
        rest = options.images - 64
        yield {
            "backbone": backbone,
            "float32, ms per image": f"{1000 * np.median(seconds['float32']) / rest:.1f}",
            "bfloat16, ms per image": f"{1000 * np.median(seconds['bfloat16']) / rest:.1f}",
            "times faster": spread(ratios, 2),
            "auto takes": faster(timed),
            "features apart": f"{100 * apart:.1f} %",
        }


def compare(options):
    """Measures and writes precision.md."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown

    table = pd.DataFrame(measure(options)).set_index("backbone")
    said = (
        f"Features of {options.images - 64} images at {options.size} pixels from an empty store, random weights, "
        f"{os.cpu_count()} cores, {options.repeats} runs in turn: medians, ratios pair by pair (smallest to "
        "largest). Features apart: root mean square of the difference, in per cent of that of the features."
    )
    write_page(options.out / "precision.md", f"{said}\n\n{to_markdown(table)}\n")


if __name__ == "__main__":
    run(arguments(), compare)
