"""Does bfloat16 make the frozen network faster here, and what does it change?

Question
    How long does a network take to turn images into features in float32 and in bfloat16, which of the two does
    precision="auto" take, and how far are the features apart?
Command
    python experiments/benchmark_precision.py --out assets/benchmark
Data
    None: random pixels and random weights, for neither changes the arithmetic.
Cost
    About 4 minutes on 2 cores.
Expected
    On processors with avx512_bf16 or AMX, networks of large dense convolutions (VGG, ResNet) gain and depthwise ones
    (MobileNet) lose; elsewhere all lose. --repeats runs alternate; ratios are taken pair by pair.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from tlkeras.terminal import run_guarded


def arguments():
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--backbones", nargs="+", default=["vgg16", "resnet50", "mobilenetv2"], help="default: %(default)s")
    add("--size", type=int, default=128, help="pixels a side (default: %(default)s)")
    add("--images", type=int, default=512, help="default: %(default)s")
    add("--repeats", type=int, default=3, help="of each precision, in turn (default: %(default)s)")
    add("--out", type=Path, default=Path("runs/benchmark"), help="where the table goes (default: %(default)s)")
    return parser.parse_args()


def seconds_and_features(encoder, samples, size):
    """Of all samples through an empty feature store, images as they come from it: seconds, and float32 (n, d)."""
    from tlkeras.training.feature_store import FeatureStore
    from tlkeras.training.feed import Part

    with tempfile.TemporaryDirectory() as folder:
        store, part = FeatureStore(folder), Part(samples, (size, size))
        store.features([encoder], part.sources[:64], part.stream)  # the first batch also compiles
        start = time.perf_counter()
        found = store.features([encoder], part.sources, part.stream)[0]
        return time.perf_counter() - start, found.table[found.rows].copy()


def measure(options):
    """One row per backbone."""
    import numpy as np

    import tlkeras as tl
    from tlkeras.models.precision import milliseconds_per_image
    from tlkeras.training.precision import faster

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
        for repeat in range(options.repeats):
            for precision, encoder in encoders.items():
                spent, features[precision] = seconds_and_features(encoder, samples, options.size)
                seconds[precision].append(spent)
                print(f"{backbone}, {precision}, run {repeat + 1} of {options.repeats}: {spent:.1f} s", flush=True)
        timed = milliseconds_per_image(lambda precision: encoders[precision], pixels[:32])  # noqa: B023 (called at once)
        ratios = sorted(a / b for a, b in zip(seconds["float32"], seconds["bfloat16"], strict=True))
        apart = np.sqrt(((features["float32"] - features["bfloat16"]) ** 2).mean() / (features["float32"] ** 2).mean())
        rest = options.images - 64
        yield {
            "backbone": backbone,
            "float32, ms per image": f"{1000 * np.median(seconds['float32']) / rest:.1f}",
            "bfloat16, ms per image": f"{1000 * np.median(seconds['bfloat16']) / rest:.1f}",
            "times faster": f"{np.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            "auto takes": faster(timed),
            "features apart": f"{100 * apart:.1f} %",
        }


def compare(options):
    """Measures and writes precision.md."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.files import write_text

    table = pd.DataFrame(measure(options)).set_index("backbone")
    said = (
        f"Features of {options.images - 64} images at {options.size} pixels from an empty store, random weights, "
        f"{os.cpu_count()} cores, {options.repeats} runs in turn: medians, ratios pair by pair (smallest to "
        "largest). Features apart: root mean square of the difference, in per cent of that of the features."
    )
    text = f"{said}\n\n{to_markdown(table)}\n"
    print(f"\n{text}\nwritten to {write_text(options.out / 'precision.md', text)}")


def main():
    """Runs the comparison."""
    options = arguments()
    run_guarded(lambda: compare(options))


if __name__ == "__main__":
    main()
