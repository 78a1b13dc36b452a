"""The page of the drill: which faults were tried, what came of each, and what was lost."""

from __future__ import annotations

import argparse
import collections
import datetime
from pathlib import Path

from drill_run import Place
from timing import command_line


def faults_table(rows: list[dict]) -> list[dict]:
    """One row for each fault: how often it was tried, what came of it, what was lost."""
    table = []
    for name in dict.fromkeys(row["fault"] for row in rows):
        of_it = [row for row in rows if row["fault"] == name]
        tried = [row for row in of_it if row["outcome"] is not None]
        outcomes = collections.Counter(row["outcome"] for row in tried)
        runs = {row["trial"]: row for row in tried}.values()  # a run killed twice is one that was tried
        lost = [row["lost"] for row in runs if row["lost"]]
        words = "; ".join(f"{text} ({count})" for text, count in outcomes.items())
        table.append(
            {
                "fault": name,
                "runs tried": len(runs),
                "what came of it": words or f"not tried: {of_it[0]['message']}",
                "results that differ": len(lost),
                "lost": "; ".join(lost) or ("nothing" if tried else ""),
                "epochs trained again, at most": max((row["epochs_again"] for row in runs), default=""),
            }
        )
    return table


def kills_table(rows: list[dict]) -> list[dict]:
    """One row for each SIGKILL, in the order they were made; epochs_again are those of the whole run."""
    columns = ("trial", "protocol", "how", "moment_s", "doing", "epochs_again")
    killed = [row for row in rows if row["fault"].startswith("SIGKILL") and row["outcome"] == "killed"]
    return [{name: row[name] for name in columns} | {"equal": "no" if row["lost"] else "yes"} for row in killed]


def report(rows: list[dict], unbroken: dict[str, Place], given: argparse.Namespace) -> str:
    """Writes faults.md, faults.csv and kills.csv; returns the page."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.files import write_csv, write_text
    from tlkeras.machine import environment, n_cores, processor

    table, kills = pd.DataFrame(faults_table(rows)), pd.DataFrame(kills_table(rows))
    packages = environment()["packages"]
    messages = {row["fault"]: " ".join(row["message"].split()) for row in reversed(rows) if row["message"]}
    words = "--short" if given.short else f"--kills {given.kills}"
    runs = ", ".join(f"{protocol} {place.seconds:.1f} s" for protocol, place in unbroken.items())
    doing = kills.groupby("doing").size().rename("kills").rename_axis("doing when killed").to_frame()
    lines = [
        "# Faults, and what was lost",
        "",
        command_line(Path(__file__).with_name("drill_faults.py"), f"{words} --seed {given.seed} --out OUT"),
        "",
        f"{datetime.date.today()}, {n_cores()} cores ({processor()}), TensorFlow {packages['tensorflow']}, Keras "
        f"{packages['keras']}. Unbroken runs: {runs}. What is done and compared is said in the script.",
        "",
        to_markdown(table.set_index("fault")),
        "After the fault its cause is removed and the same command given again; then every file of the run folder is",
        "compared with the unbroken run's. Epochs trained again are whole ones, of all runs of the trial; those that",
        "were interrupted come on top.",
        "",
        to_markdown(doing),
        "What was said, one message of each kind:",
        "",
        *(f"- {name}: `{messages[name][:600]}`" for name in table["fault"] if name in messages),
        "",
    ]
    write_csv(pd.DataFrame(rows), given.out / "faults.csv")
    write_csv(kills, given.out / "kills.csv")
    return write_text(given.out / "faults.md", "\n".join(lines)).read_text(encoding="utf-8")
