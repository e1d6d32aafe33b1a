"""The table at the end of a run: what failed, and what should be looked over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from phi4audio_cli.cli.messages import printable

MOST_ROWS = 50
"""Further ones are in the report only."""

Row: TypeAlias = tuple[str, str, str]
"""A recording, what became of it, and why."""

STYLES = {"failed": "red", "warnings": "yellow"}


def error_console() -> Console:
    """Return a console on standard error that prints text as it is, without markup."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_table(rows: Sequence[Row], console: Console) -> None:
    """Print rows, the first ones where there are very many."""
    table = Table("recording", "", "why", show_lines=False)
    for source, status, why in rows[:MOST_ROWS]:
        why = why.removeprefix(f"{source}: ")  # it stands in the first column
        table.add_row(
            Text(printable(source)), Text(status, STYLES.get(status, "")), Text(printable(why))
        )
    console.print(table, soft_wrap=False)
    if len(rows) > MOST_ROWS:
        console.print(Text(f"and {len(rows) - MOST_ROWS} more"))
