"""A chart of the share of busy workers over time, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, MARGIN = 900, 400, 60
COLOURS = ("#1f6fb4", "#d08020", "#2c8c4a", "#b03030", "#7a4fa0", "#606060", "#000000")


def draw_utilization(
    title: str, idle_from: Mapping[str, Sequence[float]], ideal: float, start: float
) -> str:
    """Draw the share of busy workers over the time after the models are loaded.

    Args:
        title: Of the chart.
        idle_from: By schedule: times from which the workers have no work, in ascending order.
        ideal: Time of the job if no worker ever waited.
        start: Time at which the models are loaded.
    """
    end = 1.05 * max(*(times[-1] for times in idle_from.values()), ideal + start)

    def x(time: float) -> float:
        return MARGIN + (time - start) / (end - start) * (WIDTH - 2 * MARGIN)

    def y(share: float) -> float:
        return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)

    def text(left: float, height: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{left:.0f}" y="{height:.0f}" text-anchor="{anchor}">{words}</text>'

    def curve(times: Sequence[float]) -> str:
        steps = 100
        points = [(x(start), y(1.0))]
        for step in range(steps + 1):
            place = min(step * len(times) // steps, len(times) - 1)
            points.append((x(times[place]), y(1 - step / steps)))
        return " ".join(f"{left:.1f},{height:.1f}" for left, height in points)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(WIDTH / 2, MARGIN / 2, title),
        text(WIDTH / 2, HEIGHT - 12, "seconds after the models are loaded"),
    ]
    for part in range(6):
        time = start + part / 5 * (end - start)
        lines.append(text(x(time), HEIGHT - MARGIN + 20, f"{time - start:.0f}"))
        lines.append(text(MARGIN - 8, y(part / 5) + 4, f"{20 * part} %", "end"))
    line = (
        f'x1="{x(start + ideal):.0f}" x2="{x(start + ideal):.0f}" y1="{y(0):.0f}" y2="{y(1):.0f}"'
    )
    lines.append(f'<line {line} stroke="#999" stroke-dasharray="5 4"/>')
    lines.append(text(x(start + ideal) - 6, y(0.02), "ideal", "end"))
    for number, (name, times) in enumerate(idle_from.items()):
        colour = COLOURS[number % len(COLOURS)]
        lines.append(
            f'<polyline points="{curve(times)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        height = y(1) + 18 * number + 10
        lines.append(f'<rect x="{WIDTH - 290}" y="{height - 9:.0f}" width="12" height="10"'
                     f' fill="{colour}"/>')  # fmt: skip
        lines.append(text(WIDTH - 272, height, name, "start"))
    return "\n".join([*lines, "</svg>\n"])
