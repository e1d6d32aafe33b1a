"""References: from manifests and from files next to recordings or finished texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.references import (
    Reference,
    ReferenceFinder,
    find_hypotheses,
    find_references,
    read_hypothesis,
)


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    return path


def write_hypothesis(path: Path, **entries) -> Path:
    document = {
        "source": "talk.wav",
        "task": "transcribe",
        "text": "one",
        "duration": 1.5,
    } | entries
    return write(path, json.dumps(document))


def test_a_reference_is_in_a_file_next_to_its_recording(tmp_path: Path):
    talk = write(tmp_path / "talk.wav")
    write(tmp_path / "talk.ref.txt", "\ufeffone two\n")
    write(tmp_path / "talk.fr.ref.txt", "un deux")
    assert find_references([str(talk)]) == [Reference(talk, "one two\n")]
    assert find_references([str(tmp_path)], language_code="fr") == [Reference(talk, "un deux")]
    with pytest.raises(UsageError, match=r"talk\.de\.ref\.txt"):
        find_references([str(talk)], language_code="de")


def test_paths_are_relative_to_the_manifest_and_columns_have_several_names(tmp_path: Path):
    rows = [
        {"audio": "a.wav", "reference": "one", "translation": "un", "more": 1},
        {"audio_filepath": "/far/b.wav", "text": "two"},
        {"path": "c.wav", "reference": "three"},
    ]
    lines = "\n\n".join(json.dumps(row) for row in rows)
    manifest = write(tmp_path / "sets" / "manifest.jsonl", lines)
    found = find_references([str(manifest)])
    assert [str(each.source) for each in found] == [
        str(tmp_path / "sets" / "a.wav"), "/far/b.wav", str(tmp_path / "sets" / "c.wav"),
    ]  # fmt: skip
    assert [each.text for each in found] == ["one", "two", "three"]
    write(manifest, json.dumps(rows[0]))
    assert find_references([str(manifest)], language_code="fr")[0].text == "un"


def test_a_text_may_contain_unicode_line_separators(tmp_path: Path):
    text = "one\u2028two\u0085three"
    rows = [{"audio": f"{number}.wav", "reference": text} for number in range(2)]
    lines = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(lines.encode())
    assert [each.text for each in find_references([str(manifest)])] == [text] * 2


def test_a_list_of_recordings_may_contain_references(tmp_path: Path):
    one, two = (write(tmp_path / name) for name in ("one.wav", "two.wav"))
    write(tmp_path / "two.ref.txt", "from the file")
    listed = write(tmp_path / "list.csv", "path,reference\none.wav,listed\ntwo.wav,\n")
    found = find_references([f"@{listed}"])
    assert found == [Reference(one, "listed"), Reference(two, "from the file")]
    with pytest.raises(UsageError, match="only local files"):
        find_references(["memory://calls/talk.mp3"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"audio": "a.wav", "reference": "x"}\nnot json', "line 2"),
        ('["a.wav"]', "not a JSON object"),
        ('{"audio": "a.wav"}', 'needs "audio" and "reference"'),
        ('{"audio": 3, "reference": "x"}', "both texts"),
        ('{"audio": "a.wav", "text": "x", "reference": "caf\udce9"}', "not UTF-8"),
        ("\n", "no recordings"),
    ],
)
def test_an_invalid_manifest_is_reported_with_its_line(content: str, message: str, tmp_path: Path):
    manifest = write(tmp_path / "m.jsonl", content)
    with pytest.raises(UsageError, match=message):
        find_references([str(manifest)])


def test_finished_texts_are_read(tmp_path: Path):
    path = write_hypothesis(tmp_path / "talk.json", language="en")
    [found] = find_hypotheses([str(tmp_path)])
    assert found == read_hypothesis(path)
    assert (found.source, found.task, found.text, found.duration) == (
        "talk.wav", "transcribe", "one", 1.5,
    )  # fmt: skip


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"source": "a", "text"', '"text"'])
def test_a_file_without_a_transcript_is_reported(content: str, tmp_path: Path):
    path = write(tmp_path / "x.json", content)
    with pytest.raises(UsageError, match="not a transcript of phi4audio"):
        read_hypothesis(path)


def test_the_reference_of_a_text_is_next_to_it_or_in_the_given_location(tmp_path: Path):
    text = read_hypothesis(write_hypothesis(tmp_path / "out" / "talk.json"))
    french = read_hypothesis(
        write_hypothesis(tmp_path / "out" / "talk.fr.json", task="translate", language="fr")
    )
    with pytest.raises(UsageError, match="no reference"):
        ReferenceFinder(None).find(text)
    write(tmp_path / "out" / "talk.ref.txt", "near")
    assert ReferenceFinder(None).find(text) == "near"
    write(tmp_path / "refs" / "talk.ref.txt", "far")
    write(tmp_path / "refs" / "talk.fr.ref.txt", "loin")
    assert ReferenceFinder(tmp_path / "refs").find(text) == "far"
    assert ReferenceFinder(tmp_path / "refs").find(french) == "loin"
    row = {"audio": "x/talk.wav", "reference": "listed", "translation": "liste"}
    finder = ReferenceFinder(write(tmp_path / "m.jsonl", json.dumps(row)))
    assert (finder.find(text), finder.find(french)) == ("listed", "liste")
    other = read_hypothesis(write_hypothesis(tmp_path / "out" / "b.json", source="b.wav"))
    with pytest.raises(UsageError, match=r"has no b\.wav"):
        finder.find(other)


def test_a_transcript_is_no_reference_translation(tmp_path: Path):
    manifest = write(tmp_path / "m.jsonl", json.dumps({"audio": "a.wav", "text": "one"}))
    with pytest.raises(UsageError, match='needs "audio" and "translation"'):
        find_references([str(manifest)], language_code="fr")
