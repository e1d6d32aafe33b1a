"""`--readers`: the outputs do not depend on the number of readers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.factories import write_tone

from .cli_runner import outputs, phi4audio


@pytest.mark.parametrize("count", ["2", "3"])
def test_number_of_readers_does_not_change_outputs(home: Path, answer, capsys, count: str) -> None:
    for number in range(6):
        write_tone(Path(f"{number}.wav"), 0.5 + number % 4)
    Path("4.wav").write_text("no recording\n", encoding="utf-8")
    answer(batch_size=3)
    names = sorted(str(path) for path in Path().glob("*.wav"))
    options = ["--chunk-seconds", "1", "--fresh"]
    assert phi4audio("transcribe", *names, *options, "-o", "one", "--readers", "1") == 10
    alone = capsys.readouterr().out
    assert phi4audio("transcribe", *names, *options, "-o", "more", "--readers", count) == 10
    assert capsys.readouterr().out == alone
    assert outputs("more") == outputs("one")
    assert len(outputs("one")) == 3 * (len(names) - 1)

    def reported_statuses(folder: str) -> list[tuple[str, str]]:
        report = json.loads(Path(folder, "report.json").read_text("utf-8"))
        return [(each["source"], each["status"]) for each in report["files"]]

    assert reported_statuses("more") == reported_statuses("one")
