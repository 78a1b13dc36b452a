"""How many photographs of one lesion does the audit's perceptual hash find, and how many pairs does it flag in error?

Question
    Pairs of images whose hashes differ in few bits are flagged. What share of them shows one lesion (precision), what
    share of all pairs of one lesion is flagged (recall), and at how many bits is the line to be drawn? Is another hash
    better? What does an image survive and still be found?
Command
    python experiments/benchmarks/benchmark_near_duplicates.py --data DATA --out assets/benchmark
Data
    HAM10000, all 10,015 images: 3,207 pairs of images are of one lesion by its id. Chest X-rays, all 5,856, where all
    images look alike: 4,763 pairs are of one patient by the file name.
Cost
    Two minutes on 2 cores.
Expected result
    assets/benchmark/near_duplicates.md. At the chosen 35 bits 98 % of the flagged pairs are of one lesion, and 4 % of
    the pairs of one lesion are flagged: photographs of one lesion mostly differ in scale, angle and light, and the hash
    finds copies. So that nothing is flagged says little; what is flagged is worth a look.
Looked at
    Of the two flagged pairs that join two lesions, ISIC_0025226 and ISIC_0030074 show one lesion under two ids, hair
    for hair; ISIC_0027757 and ISIC_0032082 are two small moles in the middle of the same round frame. The flagged
    chest X-rays of two patients, NORMAL2-IM-0095 and NORMAL2-IM-0096, are one file under two names.
What is measured
    The line is drawn on the pairs it is then judged by: on other data the precision can differ. Ids can be wrong, and
    then so is the count.
"""

from timing import command_line, parser_of, run, say, stopwatch, write_page

THRESHOLDS = (0, 10, 20, 26, 30, 32, 35, 36, 38, 40, 44, 50, 60)
SETS = {"ham10000": "lesion", "chest_xray": "patient"}
LOWEST_PRECISION = 0.95
N_COPIES = 1000


def n_pairs_of_one(groups):
    """How many pairs of images are of one group."""
    import numpy as np

    sizes = np.unique(groups.astype(str), return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def threshold_table(found, unit):
    """One row per threshold. `found`: (distance of each pair, whether it is of one group, how many such are)."""
    import pandas as pd

    from tlkeras.data.perceptual_hash import NEAR

    distances, same, n = found
    rows = []
    for threshold in THRESHOLDS:
        flagged = distances <= threshold
        count, hits = int(flagged.sum()), int(same[flagged].sum())
        rows.append(
            {
                "at most so many bits": f"{threshold}{', chosen' if threshold == NEAR else ''}",
                "flagged pairs": count,
                f"of one {unit}": hits,
                "of two": count - hits,
                "precision, %": f"{100 * hits / count:.1f}" if count else "",
                "recall, %": f"{100 * hits / n:.2f}",
            }
        )
    return pd.DataFrame(rows).set_index("at most so many bits")


def other_hashes(pixels):
    """{name: bits of every image, seen in one or more ways}, bool (n, bits) each; a pair is as near as its nearest."""
    import cv2
    import numpy as np
    from scipy.fft import dctn

    from tlkeras.data.perceptual_hash import perceptual_hashes

    def above_median(frequencies):
        rest = frequencies.reshape(len(frequencies), -1)[:, 1:]
        return rest > np.median(rest, axis=1, keepdims=True)

    def shrunk(grey, height, width):
        return np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in grey])

    grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in pixels]).astype(np.float32)
    turned = [np.rot90(pixels, k, axes=(1, 2)) for k in range(4)]
    small, fine = shrunk(grey, 8, 9), shrunk(grey, 16, 17)
    channels = [perceptual_hashes(pixels[..., [channel] * 3]) for channel in range(3)]
    return {
        "DCT, 16x16 frequencies, grey (chosen)": [perceptual_hashes(pixels)],
        "the same, nearest of 8 flips and turns": [
            perceptual_hashes(np.ascontiguousarray(view)) for image in turned for view in (image, image[:, :, ::-1])
        ],
        "the same, three colours": [np.concatenate(channels, axis=1)],
        "DCT, 8x8 frequencies, grey": [above_median(dctn(shrunk(grey, 32, 32), axes=(1, 2), norm="ortho")[:, :8, :8])],
        "difference hash, 16x16, grey": [(fine[:, :, 1:] > fine[:, :, :-1]).reshape(len(grey), -1)],
        "difference hash, 8x8, grey": [(small[:, :, 1:] > small[:, :, :-1]).reshape(len(grey), -1)],
    }


def at_precision(views, groups):
    """The largest number of bits at which `LOWEST_PRECISION` of the flagged pairs are of one group, and the counts."""
    import numpy as np

    n_bits = views[0].shape[1]
    signs = [np.where(view, 1, -1).astype(np.float32) for view in views]
    numbers = np.unique(groups.astype(str), return_inverse=True)[1]
    flagged, hits = np.zeros(n_bits + 1, np.int64), np.zeros(n_bits + 1, np.int64)
    for start in range(0, len(groups), 1024):
        rows = slice(start, start + 1024)
        products = np.max([signs[0][rows] @ view.T for view in signs], axis=0)
        upper = np.arange(len(groups))[rows, np.newaxis] < np.arange(len(groups))
        same = upper & (numbers[rows, np.newaxis] == numbers)
        distances = ((n_bits - products) // 2).astype(np.int64)
        flagged += np.bincount(distances[upper], minlength=n_bits + 1)
        hits += np.bincount(distances[same], minlength=n_bits + 1)
    flagged, hits = flagged.cumsum(), hits.cumsum()
    good = np.flatnonzero((flagged > 0) & (hits >= LOWEST_PRECISION * flagged))
    return (int(good[-1]), int(flagged[good[-1]]), int(hits[good[-1]])) if len(good) else None


def hash_table(pixels, groups):
    """One row per kind of hash, each at its own best line."""
    import pandas as pd

    rows = []
    for name, views in other_hashes(pixels).items():
        best = at_precision(views, groups)
        row = {"hash": name, "bits": views[0].shape[1], "at most": "", "flagged pairs": "", "of one lesion": ""}
        row["recall, %"] = f"precision below {LOWEST_PRECISION:.0%} throughout"
        if best:
            row |= dict(zip(("at most", "flagged pairs", "of one lesion"), map(str, best), strict=True))
            row["recall, %"] = f"{100 * best[2] / n_pairs_of_one(groups):.2f}"
        rows.append(row)
    return pd.DataFrame(rows).set_index("hash")


def alterations():
    """{name: what is done to uint8 (h, w, 3)}."""
    import cv2
    import numpy as np

    def compressed(image, quality):
        return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)

    def turned(image, degrees):
        height, width = image.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), degrees, 1)
        return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)

    def cropped(image, share):
        top, left = (round(side * share / 2) for side in image.shape[:2])
        return image[top : image.shape[0] - top, left : image.shape[1] - left]

    return {
        "saved as JPEG of quality 50": lambda image: compressed(image, 50),
        "saved as JPEG of quality 10": lambda image: compressed(image, 10),
        "half the sides": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        "a fifth brighter": lambda image: np.clip(image * 1.2, 0, 255).astype(np.uint8),
        "grey": lambda image: cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB),
        "noise of 10 levels": lambda image: np.clip(
            image + np.random.default_rng(0).normal(0, 10, image.shape), 0, 255
        ).astype(np.uint8),
        "cut to 98 % of the sides": lambda image: cropped(image, 0.02),
        "cut to 90 % of the sides": lambda image: cropped(image, 0.1),
        "turned by 1 degree": lambda image: turned(image, 1),
        "turned by 5 degrees": lambda image: turned(image, 5),
        "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    }


def copies_table(sets):
    """One row per alteration: the share of altered copies that are near their image, in each data set."""
    import numpy as np
    import pandas as pd

    from tlkeras.data.images import read_pixels, resize_pixels
    from tlkeras.data.perceptual_hash import IMAGE_SIZE, NEAR, perceptual_hashes
    from tlkeras.seeds import generator

    def hash_of(image):
        return perceptual_hashes(resize_pixels(np.ascontiguousarray(image), IMAGE_SIZE).numpy()[np.newaxis])[0]

    found = {name: {} for name in alterations()}
    for data, samples in sets.items():
        rows = generator(0, "copies").permutation(len(samples))[:N_COPIES]
        images = [read_pixels(samples.images[row], (150, 200)).astype(np.uint8) for row in rows]
        own = [hash_of(image) for image in images]
        for name, alter in alterations().items():
            near = [(hash_of(alter(image)) != bits).sum() <= NEAR for image, bits in zip(images, own, strict=True)]
            found[name][f"found, %, {data}"] = f"{100 * np.mean(near):.1f}"
    return pd.DataFrame.from_dict(found, orient="index").rename_axis(f"{N_COPIES:,} copies")


def two_lesions(samples, pairs, distances):
    """The pairs that join two lesions, nearest first."""
    import numpy as np
    import pandas as pd

    apart = samples.groups[pairs[:, 0]] != samples.groups[pairs[:, 1]]
    first, second = pairs[apart].T
    names = np.array(samples.class_names, dtype=object)[samples.labels]
    frame = pd.DataFrame({"distance": distances[apart]})
    for end, rows in (("a", first), ("b", second)):
        frame[f"sample_id_{end}"] = samples.sample_ids[rows]
        frame[f"lesion_{end}"] = samples.groups[rows]
        frame[f"diagnosis_{end}"] = names[rows]
    return frame.sort_values(["distance", "sample_id_a", "sample_id_b"])


def timed(samples):
    """Seconds of the fingerprints and of one audit on top of them, of a split by image."""
    import tlkeras as tl
    from tlkeras.data.fingerprints import fingerprint
    from tlkeras.data.leakage import audit

    with stopwatch() as of_reading:
        fingerprints = fingerprint(samples)
    splits = tl.Holdout(val=0.2, test=0.2, respect_groups=False).split(samples, seed=0)
    with stopwatch() as of_audit:
        found = audit(splits, fingerprints=fingerprints)
    return of_reading.wall, of_audit.wall, found


def compare(options):
    """Measures and writes near_duplicates.md and near_duplicates_ham10000.csv."""
    import tlkeras as tl
    from tlkeras.data.perceptual_hash import IMAGE_SIZE, NEAR, near_pairs, perceptual_hashes
    from tlkeras.data.pipeline import decode_all
    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.files import write_csv
    from tlkeras.machine import environment

    here = environment()
    text = [
        "# Images that look alike",
        command_line(__file__, "--data DATA --out assets/benchmark"),
        f"{here['cores']} cores ({here['processor']}), Python {here['python']}, NumPy {here['packages']['numpy']}, "
        f"TensorFlow {here['packages']['tensorflow']}. What the numbers mean is said in the script.",
    ]
    sets = {name: tl.load_dataset(name, options.data) for name in SETS}
    read_s, audit_s, found = timed(sets["ham10000"])
    for name, samples in sets.items():
        say(f"{name} ...")
        pixels = decode_all(samples, IMAGE_SIZE)
        pairs, distances, _ = near_pairs(perceptual_hashes(pixels), max(THRESHOLDS))
        groups = samples.groups
        assert groups is not None  # each of SETS has some
        same = groups[pairs[:, 0]] == groups[pairs[:, 1]]
        n = n_pairs_of_one(groups)
        text.append(f"## {name}: {len(samples):,} images, {n:,} pairs of one {SETS[name]}")
        text.append(to_markdown(threshold_table((distances, same, n), SETS[name])))
        if name == "ham10000":
            near = distances <= NEAR
            listed = write_csv(
                two_lesions(samples, pairs[near], distances[near]), options.out / "near_duplicates_ham10000.csv"
            )
            text.append(f"The flagged pairs that join two lesions are listed in {listed.name}.")
            text.append(f"## Other hashes, on ham10000, at the most bits with a precision of {LOWEST_PRECISION:.0%}")
            text.append(to_markdown(hash_table(pixels, groups)))
    say("altered copies ...")
    text.append(f"## Altered copies found at {NEAR} bits")
    text.append(to_markdown(copies_table(sets)))
    text.append("## Seconds")
    text.append(
        f"ham10000, {len(sets['ham10000']):,} images of 200x150: fingerprints {read_s:.1f} s (with the start of "
        f"TensorFlow), one audit with them {audit_s:.2f} s. That of the split by image, 60/20/20, seed 0:"
    )
    text.append("\n".join(f"- {sentence}" for sentence in found.findings()) + "\n")
    write_page(options.out / "near_duplicates.md", "\n\n".join(block.rstrip("\n") for block in text) + "\n")


if __name__ == "__main__":
    run(parser_of(__doc__, "--data"), compare)
