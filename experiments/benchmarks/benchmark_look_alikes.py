"""How many photographs of one lesion do a network's features find, and which copies of an image?

Question
    The audit's perceptual hash finds copies and next to none of the pairs of one lesion. How many does `tl.look_alikes`
    find at a precision of 90 %, drawn on one half of the lesions and judged on the other? Which altered copies does it
    find, each beside all other images of its set?
Command
    python experiments/benchmarks/benchmark_look_alikes.py --data DATA --weights WEIGHTS --out assets/benchmark
Data
    HAM10000, all 10,015 images: 3,207 pairs are of one lesion by its id. Chest X-rays, all 5,856. Of each set 200
    images for every alteration, each altered once.
Cost
    Some 25 minutes on 2 cores, most of it the nine views of every image at 224 pixels; from the feature store one.
Expected result
    assets/benchmark/look_alikes.md.
What is measured
    Precision as if the half were half of the whole set: a pair of lesions of both halves counts half on either side.
    Ids can be wrong, and then so is the count. The alterations are those of benchmark_near_duplicates.py, and more.
    Beside what the features find stands what they or the audit's perceptual hash find, which it shows side by side.
"""

import tempfile
from pathlib import Path

from benchmark_near_duplicates import alterations, n_pairs_of_one
from timing import command_line, parser_of_networks, run, say, stopwatch, write_page

SETS = ("ham10000", "chest_xray")
N_COPIES = 200
SIDE = 300  # pixels of the longer side of what is altered: as stored would take long on the X-rays


def turns():
    """{name: what is done to uint8 (h, w, 3)}."""
    import numpy as np

    return {
        "turned by 90 degrees": lambda image: np.ascontiguousarray(np.rot90(image)),
        "turned by 180 degrees": lambda image: np.ascontiguousarray(np.rot90(image, 2)),
        "mirrored and turned": lambda image: np.ascontiguousarray(np.rot90(image[:, ::-1])),
        "a tenth cut off at a corner": lambda image: image[: -image.shape[0] // 10, : -image.shape[1] // 10],
        "warmer": lambda image: np.clip(image * [1.15, 1.0, 0.85], 0, 255).astype(np.uint8),
        "darker, less contrast": lambda image: np.clip(image * 0.8 + 5, 0, 255).astype(np.uint8),
    }


def with_copies(samples, folder):
    """The samples with altered copies behind them, and {alteration: (rows of the images, rows of their copies)}."""
    import cv2
    import numpy as np

    import tlkeras as tl
    from tlkeras.seeds import generator

    order, files, rows = generator(0, "look_alikes").permutation(len(samples)), [], {}
    for number, (name, alter) in enumerate((turns() | alterations()).items()):
        own = order[number * N_COPIES : (number + 1) * N_COPIES]
        first = len(samples) + len(files)
        for row in own:
            image = tl.read_pixels(samples.images[row], None).astype(np.uint8)
            scale = min(1.0, SIDE / max(image.shape[:2]))
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            file = Path(folder) / f"{len(files):05d}.png"
            cv2.imwrite(str(file), cv2.cvtColor(alter(image), cv2.COLOR_RGB2BGR))
            files.append(str(file))
        rows[name] = own, np.arange(first, first + len(own))
    return tl.Samples((*samples.images, *files), None, samples.class_names), rows


def found_copies(samples, threshold, options):
    """{alteration: the share of the copies that are paired with their image, by features, and by them or the hash}."""
    import numpy as np

    import tlkeras as tl
    from tlkeras.data.perceptual_hash import NEAR, STRUCTURED

    with tempfile.TemporaryDirectory() as folder:
        both, rows = with_copies(samples, folder)
        found = tl.look_alikes(both, threshold=threshold, weights_folder=options.weights, store=options.store or True)
        fingerprints = tl.fingerprint(both)
    pairs = set(zip(found.pairs["row_a"], found.pairs["row_b"], strict=True))
    told = {}
    for name, (own, copies) in rows.items():
        by_features = np.array([pair in pairs for pair in zip(own.tolist(), copies.tolist(), strict=True)])
        pairs_of_hash = fingerprints.hashes[own], fingerprints.hashes[copies]
        structured = np.minimum(*(bits.sum(axis=1) for bits in pairs_of_hash)) >= STRUCTURED
        by_hash = structured & (np.not_equal(*pairs_of_hash).sum(axis=1) <= NEAR)
        told[name] = by_features.mean(), (by_features | by_hash).mean()
    return told


def compare(options):
    """Measures, and writes look_alikes.md."""
    import pandas as pd

    import tlkeras as tl
    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.machine import environment

    here, shares, judged = environment(), {}, []
    threshold = None
    for name in SETS:
        samples = tl.load_dataset(name, options.data)
        say(f"{name} ...")
        with stopwatch() as first:
            found = tl.look_alikes(samples, weights_folder=options.weights, store=options.store or True)
        with stopwatch() as again:
            found = tl.look_alikes(samples, weights_folder=options.weights, store=options.store or True)
        threshold = threshold or found.threshold
        row = {
            "set": name,
            "images": f"{len(samples):,}",
            "pairs of one group": f"{n_pairs_of_one(samples.groups):,}",
            "threshold": f"{found.threshold:.3f}",
            "pairs found": f"{len(found.pairs):,}",
            "precision, %": f"{100 * found.judged.precision:.1f}" if found.drawn and found.judged else "not drawn",
            "recall, %": f"{100 * found.judged.recall:.1f}" if found.drawn and found.judged else "not drawn",
            "seconds": f"{first.wall:.0f}",
            "from the store": f"{again.wall:.0f}",
        }
        judged.append(row)
        told = found_copies(samples, threshold, options)
        for column, place in (("found", 0), ("with the hash", 1)):
            shares[f"{column}, %, {name}"] = {each: f"{100 * found[place]:.1f}" for each, found in told.items()}
    text = [
        "# Look-alikes by features",
        command_line(__file__, "--data DATA --weights WEIGHTS --out assets/benchmark"),
        f"{here['cores']} cores ({here['processor']}), Python {here['python']}, TensorFlow "
        f"{here['packages']['tensorflow']}. What the numbers mean is said in the script.",
        "## Pairs of one lesion or patient, on the half that did not draw the threshold",
        to_markdown(pd.DataFrame(judged).set_index("set")),
        f"## Altered copies found beside all other images, at a similarity of {threshold:.3f}",
        to_markdown(pd.DataFrame(shares).rename_axis(f"{N_COPIES} copies each")),
    ]
    write_page(options.out / "look_alikes.md", "\n\n".join(block.rstrip("\n") for block in text) + "\n")


if __name__ == "__main__":
    run(parser_of_networks(__doc__), compare)
