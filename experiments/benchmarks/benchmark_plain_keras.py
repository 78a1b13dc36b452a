"""The script one would write from Keras' transfer-learning guide: the other side of benchmark_training.py.

Run by it, or alone:

    python experiments/benchmarks/benchmark_plain_keras.py --csv FILE --weights FILE --fine-tune-epochs 5

The last line printed is JSON: test_acc, and the seconds setup_s, phase1_s, phase2_s and total_s.

It keeps two habits of such scripts, for they are what is compared: the frozen network is computed again in every epoch,
and `training=False` in the call is taken to freeze BatchNorm in the second phase, which in Keras 3 it does not.
"""

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path


def arguments():
    """The options both sides of the benchmark understand."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--csv", type=Path, required=True, help="columns path, label, split (train, val, test)")
    parser.add_argument("--weights", default=None, help="MobileNetV2 no-top weights file (default: random)")
    parser.add_argument("--alpha", type=float, default=1.0, help="width of MobileNetV2 (default: 1.0)")
    parser.add_argument("--size", type=int, default=128, help="pixels a side (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="with the network frozen (default: %(default)s)")
    parser.add_argument("--fine-tune-epochs", type=int, default=0, help="with all of it free (default: %(default)s)")
    parser.add_argument("--fine-tune-at", default=None, help="of it, free from this layer on only")
    parser.add_argument("--batch", type=int, default=128, help="images per step (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    """Trains in two phases and prints one JSON line."""
    options = arguments()
    start = time.perf_counter()
    import keras
    import pandas as pd
    import tensorflow as tf

    keras.utils.set_random_seed(options.seed)
    table = pd.read_csv(options.csv)
    label_of = {name: label for label, name in enumerate(sorted(table["label"].unique()))}

    def read(path, label):
        pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(pixels, (options.size, options.size)), label

    def dataset(split):
        rows = table[table["split"] == split]
        paths, labels = rows["path"].tolist(), rows["label"].map(label_of).tolist()
        data = tf.data.Dataset.from_tensor_slices((paths, labels)).map(read, tf.data.AUTOTUNE).cache()
        if split == "train":
            data = data.shuffle(len(rows), seed=options.seed)
        return data.batch(options.batch).prefetch(tf.data.AUTOTUNE)

    train, val, test = dataset("train"), dataset("val"), dataset("test")
    shape = (options.size, options.size, 3)
    backbone = keras.applications.MobileNetV2(
        include_top=False, weights=options.weights, alpha=options.alpha, input_shape=shape
    )
    inputs = keras.Input(shape)
    x = keras.applications.mobilenet_v2.preprocess_input(inputs)
    x = keras.layers.Flatten()(backbone(x, training=False))
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    model = keras.Model(inputs, keras.layers.Dense(len(label_of), activation="softmax")(x))

    with tempfile.TemporaryDirectory() as folder:
        best = keras.callbacks.ModelCheckpoint(
            f"{folder}/best.weights.h5", monitor="val_loss", save_best_only=True, save_weights_only=True
        )
        ends = [time.perf_counter()]
        for frozen, rate, epochs in ((True, 1e-3, options.epochs), (False, 1e-5, options.fine_tune_epochs)):
            if epochs:
                backbone.trainable = not frozen
                if options.fine_tune_at and not frozen:
                    first = backbone.layers.index(backbone.get_layer(options.fine_tune_at))
                    for layer in backbone.layers[:first]:
                        layer.trainable = False
                model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
                model.fit(train, validation_data=val, epochs=epochs, callbacks=[best], verbose=0, shuffle=False)
            ends.append(time.perf_counter())
        model.load_weights(f"{folder}/best.weights.h5")
    accuracy = model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
    times = dict(zip(("phase1_s", "phase2_s"), (b - a for a, b in itertools.pairwise(ends)), strict=True))
    times |= {"setup_s": ends[0] - start, "total_s": time.perf_counter() - start}
    print(json.dumps({"test_acc": accuracy, **times}))


if __name__ == "__main__":
    main()
