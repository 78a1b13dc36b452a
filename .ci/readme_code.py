"""Prints the Python of README.md as one program, each line where the README has it, so that complaints name its lines.

python .ci/readme_code.py >README.py
"""

from pathlib import Path

inside = False
for line in (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").splitlines():
    if line.startswith("```"):
        inside = line == "```python"
        print()
    else:
        print(line if inside else "")
