"""Prints the Python of README.md as one program, each line where the README has it, so that complaints name its lines.

python .ci/readme_code.py >README.py
"""

from pathlib import Path

# Matplotlib says of the figure of all Axes that it may be part of another, which has no `savefig`; those that tl.draw_*
# make have a figure of their own. That every tl.name is there, tests/test_types.py looks.
lines, inside = ["# pyright: reportAttributeAccessIssue=warning"], False
for line in (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").splitlines()[1:]:
    if line.startswith("```"):
        inside = line == "```python"
    lines.append(line if inside and not line.startswith("```") else "")
print("\n".join(lines))
