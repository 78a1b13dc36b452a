"""What two reports look like in a browser, as one picture for the README.

Makes both reports from what is committed (`--report-only`), opens them in headless Chromium, and puts the screens side
by side: the chest X-ray's on a desk, HAM10000's on a telephone in dark colours, at two places.

    python experiments/benchmarks/screenshot_reports.py --out assets/report

Needs Chromium and the extra `dev` (Playwright). Cost: under a minute on 2 cores.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

EXPERIMENTS = Path(__file__).parents[1]
ASSETS = EXPERIMENTS.parent / "assets"
HEIGHT, GAP = 1400, 32  # pixels
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Experiment, width of the screen, colours, heading to begin at (the top without one).
SCREENS = (
    ("burugupalli_chest_xray", 1280, "light", None),
    ("subnets2022_ham10000", 390, "dark", None),
    ("subnets2022_ham10000", 390, "dark", "Every cell"),
)


def main():
    """Writes reports.png."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/report"), help="default: %(default)s")
    out = parser.parse_args().out
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if browser is None:
        sys.exit(f"no browser: none of {', '.join(BROWSERS)} is installed")

    from PIL import Image
    from playwright.sync_api import sync_playwright

    from tlkeras.files import atomic_write

    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        reports = {name: make_report(name, Path(scratch)) for name, *_ in SCREENS}
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        images = [
            Image.open(io.BytesIO(screen(chromium, reports[name], width, colours, heading)))
            for name, width, colours, heading in SCREENS
        ]
        chromium.close()
    width = sum(image.width for image in images) + GAP * (len(images) - 1)
    joined = Image.new("RGB", (width, HEIGHT), "#8a8f98")
    left = 0
    for image in images:
        joined.paste(image, (left, 0))
        left += image.width + GAP
    with atomic_write(out / "reports.png") as temporary:
        joined.quantize(256).save(temporary, optimize=True)
    print(f"written to {out / 'reports.png'}")


def make_report(name: str, folder: Path) -> Path:
    """report.html of the committed `corrected` protocol of an experiment, made in a copy."""
    copy = folder / name
    if not copy.exists():
        shutil.copytree(ASSETS / name / "corrected", copy / "corrected")
        command = [sys.executable, EXPERIMENTS / f"{name}.py", "--report-only", "--out", copy]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return copy / "corrected" / "report.html"


def screen(chromium, report: Path, width: int, colours: str, heading: str | None) -> bytes:
    """One screen of the report as PNG; cells below a heading are opened."""
    page = chromium.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=colours)
    page.goto(report.as_uri())
    if heading is not None:
        page.evaluate("document.querySelector('main details').open = true")
        page.get_by_role("heading", name=heading, exact=True).evaluate("e => e.scrollIntoView()")
    page.wait_for_timeout(1500)  # milliseconds, for the figures to be drawn
    return page.screenshot()


if __name__ == "__main__":
    main()
