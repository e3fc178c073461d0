"""Write the figures of ``run.py --json`` into docs/performance.md and README.md, between their marks.

python benchmarks/run.py --torch-python .oracle/bin/python --json figures.json
python benchmarks/tables.py figures.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import rows
from run import peaks, ratio, share, time_of

ROOT = Path(__file__).parent.parent
FLOPS = {row.name: row.flops / row.per for row in rows.ROWS}


def put(path: Path, mark: str, lines: list[str]) -> None:
    """Replace what stands between the marks, but for text that is no table."""
    text = path.read_text(encoding="utf-8")
    pattern = rf"(<!-- {mark}: begin.*?-->\n)(.*?)(<!-- {mark}: end -->)"

    def replaced(match: re.Match[str]) -> str:
        prose = [line for line in match[2].splitlines() if not line.startswith("|")]
        return match[1] + "\n".join([*prose, *lines]) + "\n" + match[3]

    path.write_text(re.sub(pattern, replaced, text, flags=re.DOTALL), encoding="utf-8")


def main(path: str) -> None:
    """Write both tables."""
    figures = json.loads(Path(path).read_text(encoding="utf-8"))
    one = {result["row"]: result for result in figures if result["threads"] == 1}
    two = {result["row"]: result for result in figures if result["threads"] == 2}
    titles = ("work", "rustgrad", "torch", "1 thread", "2 threads", "peak MB", "of the limit, 1 thread", "2 threads")
    table = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for name, result in one.items():
        times = [time_of(result, module, FLOPS[name]) for module in ("rustgrad", "torch")]
        other = two.get(name, {})
        ratios = [ratio(result, "-"), ratio(other, "-")]
        cells = [name, *times, *ratios, peaks(result), share(result), share(other)]
        table.append(f"| {' | '.join(cells)} |")
    put(ROOT / "docs" / "performance.md", "table", table)
    readme = ROOT / "README.md"
    wanted = re.findall(r"^\| (.+?) \| [\d.]+ \| [\d.]+ \|$", readme.read_text(encoding="utf-8"), re.MULTILINE)
    short = ["| work | 1 thread | 2 threads |", "| --- | --- | --- |"]
    short += [
        f"| {name} | {ratio(one[name], '-')} | {ratio(two.get(name, {}), '-')} |" for name in wanted if name in one
    ]
    put(readme, "ratios", short)


if __name__ == "__main__":
    main(sys.argv[1])
