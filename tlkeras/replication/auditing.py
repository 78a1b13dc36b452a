"""The audit of every split a protocol runs on, kept in its run folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from tlkeras.errors import InputError
from tlkeras.files import read_json, write_json
from tlkeras.progress import say
from tlkeras.replication.run_folder import with_hash, without_hash

if TYPE_CHECKING:
    from tlkeras.data.leakage_findings import Audit
    from tlkeras.replication.run_folder import RunFolder
    from tlkeras.schema import Samples, Splits

FILE = "audit.json"
VERSION = 3  # raise it when the fields of an Audit change: what was kept is then audited again
READABLE = (1, 2, VERSION)  # what pages still tell of; 1 measured no pixels, 2 looked at no contents, names, levels


def audit_splits(
    folder: RunFolder,
    samples: Samples,
    splits: Mapping[int, Splits],
    *,
    strict: bool,
    image_sizes: Collection[tuple[int, int]] = (),
) -> None:
    """Audits the splits that have no audit yet, tells what was found, and adds it to audit.json. Where the images of a
    split are others than those that were audited, if only by their contents, it is audited anew.

    Args:
        folder: the protocol's run folder.
        samples: what the splits are of.
        splits: {seed: splits}.
        strict: refuse splits with groups or identical images on two sides.
        image_sizes: (height, width) each that the images will be resized to: how many that enlarges is told.

    Raises:
        InputError: what crosses, where `strict`; audit.json is written before.
    """
    from tlkeras.data.digests import contents_digest
    from tlkeras.data.fingerprints import fingerprint
    from tlkeras.data.image_index import INDEX
    from tlkeras.data.leakage import audit
    from tlkeras.data.leakage_findings import Audit

    kept = _read(folder)
    of_image = dict(zip(samples.sample_ids, INDEX.digests(samples), strict=True))
    hashes = {
        seed: {
            part: contents_digest(of_part, [of_image[name] for name in of_part.sample_ids])
            for part, of_part in split.parts().items()
        }
        for seed, split in splits.items()
    }
    done = audited_seeds(folder)
    missing = [seed for seed in splits if seed not in done or kept[str(seed)]["parts"] != hashes[seed]]
    if missing:
        say(f"auditing {len(samples):,} images, {len(missing)} split{'s' * (len(missing) > 1)}")
        fingerprints = fingerprint(samples)
        for seed in missing:
            found = audit(splits[seed], fingerprints=fingerprints)
            kept[str(seed)] = with_hash({"version": VERSION, "parts": hashes[seed], "audit": found.as_json()})
        write_json(folder.root / FILE, dict(sorted(kept.items(), key=lambda item: int(item[0]))))
    told: dict[str, list[int]] = {}
    audits = {seed: Audit.from_json(kept[str(seed)]["audit"]) for seed in splits}
    for seed, found in audits.items():
        for finding in found.findings(*image_sizes):
            told.setdefault(finding, []).append(seed)
    for finding, seeds in told.items():
        say(f"audit, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: {finding}")
    for found in audits.values() if strict else ():
        found.require_separate()


def read_audits(folder: RunFolder) -> dict[int, Audit]:
    """{seed: Audit} of a protocol's run folder; empty where it has none."""
    from tlkeras.data.leakage_findings import Audit

    return {int(seed): Audit.from_json(found["audit"]) for seed, found in _read(folder).items()}


def audited_seeds(folder: RunFolder) -> set[int]:
    """The seeds whose splits need no audit any more: this version made theirs."""
    return {int(seed) for seed, found in _read(folder).items() if found["version"] == VERSION}


def _read(folder: RunFolder) -> dict[str, dict]:
    """What audit.json holds; nothing of an audit that another version wrote in another shape."""
    file = folder.root / FILE
    kept = read_json(file) if file.is_file() else {}
    if any(without_hash(found) is None for found in kept.values()):
        raise InputError(
            f"{file} is not what was written when the splits were audited: damaged or edited. Remove it, and the same "
            "command audits them again."
        )
    return {seed: found for seed, found in kept.items() if found.get("version") in READABLE}
