"""The `tlkeras` command. Answers without loading TensorFlow."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

from tlkeras.cli import run_guarded
from tlkeras.sizes import format_size


def main(arguments: list[str] | None = None) -> None:
    """Runs `tlkeras ...`; exits with 0, 2 on unusable input, or 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="tlkeras", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    store = commands.add_parser(
        "store",
        help="show or clear the feature store",
        description="The features of frozen layers that are kept for later runs: shows them, or clears them away.",
    )
    store.add_argument(
        "--store", type=Path, metavar="DIR", help="the folder (default: TLKERAS_STORE, then ~/.cache/tlkeras)"
    )
    store.add_argument("--clear", action="store_true", help="remove all that no process is writing")
    given = parser.parse_args(arguments)
    run_guarded(lambda: _store(given.store, given.clear))


def _store(folder: Path | None, clear: bool) -> None:
    from tlkeras.training.feature_store import FeatureStore

    store = FeatureStore(folder)
    entries = store.entries()
    if clear:
        removed, busy = store.clear()
        freed = format_size(sum(entry["bytes"] for entry in entries) - sum(e["bytes"] for e in store.entries()))
        print(f"{store.folder}: {removed} tables removed, {freed} free again")
        if busy:
            print(f"{busy} are being written by other processes and stay")
        return
    print(f"{store.folder}: {len(entries)} tables, {format_size(sum(e['bytes'] for e in entries))} of at most ", end="")
    print(format_size(store.limit))
    for entry in entries:
        used = datetime.datetime.fromtimestamp(entry["used"]).strftime("%Y-%m-%d %H:%M")
        size, shape = ("x".join(map(str, entry[name])) for name in ("image_size", "row_shape"))
        print(
            f"  {format_size(entry['bytes']):>8}  last used {used}  {entry['model']} up to {entry['layer']}: "
            f"{entry['rows']:,} images at {size}, {shape} {entry['dtype']} each"
        )


if __name__ == "__main__":
    main()
