"""A chart of stage times and their lower bounds, as SVG."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, ROW, TOP, LEFT, RIGHT = 760, 34, 56, 130, 120
SPENT, LIMIT = "#7aa6d8", "#22466f"


def draw_stages(table: Mapping[str, Any], variant: str = "ours") -> str:
    """Return an SVG with a bar for the seconds of each stage, and a darker one for its limit.

    Args:
        table: The JSON of `python -m benchmarks.speed`.
        variant: The variant of the stages.
    """
    runs, limits = table["runs"][variant], table["limit_seconds"]
    spent = {name: statistics.median(run["stages"].get(name, 0.0) for run in runs)
             for name in runs[0]["stages"]}  # fmt: skip
    wall = statistics.median(run["seconds"] for run in runs)
    scale = (WIDTH - LEFT - RIGHT) / max(spent.values())
    height = TOP + ROW * len(spent) + 12
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(12, 22, f"{table['audio_seconds']:.0f} s of audio in {wall:.0f} s of wall time:"
              " seconds of each stage", "start"),
        _text(12, 42, "light: measured; dark: lower bound by operations and bytes on this machine",
              "start"),
    ]  # fmt: skip
    for place, (name, seconds) in enumerate(sorted(spent.items(), key=lambda each: -each[1])):
        lines += _bar(TOP + ROW * place, name, seconds, limits.get(name), scale, wall)
    return "\n".join([*lines, "</svg>", ""])


def _bar(
    top: float, name: str, seconds: float, limit: float | None, scale: float, wall: float
) -> Sequence[str]:
    shown = f"{seconds:.1f} s, {100 * seconds / wall:.0f} %"
    lines = [
        _text(LEFT - 8, top + 20, name, "end"),
        _rectangle(LEFT, top + 6, seconds * scale, 20, SPENT),
        _text(LEFT + seconds * scale + 6, top + 20, shown, "start"),
    ]
    if limit:
        lines.append(_rectangle(LEFT, top + 11, min(limit, seconds) * scale, 10, LIMIT))
    return lines


def _rectangle(left: float, top: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(width, 1):.1f}" height="{height}"'
        f' fill="{colour}"/>'
    )


def _text(left: float, base: float, words: str, anchor: str) -> str:
    return f'<text x="{left:.1f}" y="{base:.1f}" text-anchor="{anchor}">{words}</text>'
