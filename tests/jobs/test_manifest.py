"""Manifests: the fields of their lines, and invalid lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.manifest import ManifestEntry, read_manifest


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def entries(path: Path) -> list[ManifestEntry]:
    found = list(read_manifest(path))
    assert all(isinstance(each, ManifestEntry) for each in found)
    return [each for each in found if isinstance(each, ManifestEntry)]


def paths(path: Path) -> list[str]:
    return [each.path for each in entries(path)]


def problems(path: Path) -> list[str]:
    found = [each for each in read_manifest(path) if isinstance(each, UsageError)]
    assert all(each.remedy for each in found)
    return [f"{each.where}: {each.what}".removeprefix(f"{path}, ") for each in found]


class TestLists:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_each_line_is_a_path_or_a_url(self, tmp_path: Path, encoding: str, end: str) -> None:
        lines = ["# calls", "", "a b.wav ", "  ", "https://x.org/é.mp3", "-dash\u2028[bold].wav"]
        path = write(tmp_path / "list.txt", end.join(lines).encode(encoding))
        assert paths(path) == ["a b.wav ", "https://x.org/é.mp3", "-dash\u2028[bold].wav"]
        assert [each.where for each in entries(path)] == [
            f"{path}, line {number}" for number in (3, 5, 6)
        ]

    def test_a_name_in_another_encoding_is_kept(self, tmp_path: Path) -> None:
        path = write(tmp_path / "list", b"caf\xe9.wav\n")
        assert os.fsencode(paths(path)[0]) == b"caf\xe9.wav"

    def test_nul_characters_separate_the_names_of_find_print0(self, tmp_path: Path) -> None:
        path = write(tmp_path / "list", b"./a b.wav\0#1.wav\0two\nlines\r\n.wav\0caf\xe9.wav\0")
        assert [os.fsencode(each) for each in paths(path)] == [
            b"./a b.wav",
            b"#1.wav",
            b"two\nlines\r\n.wav",
            b"caf\xe9.wav",
        ]
        assert entries(path)[2].where == f"{path}, entry 3"

    def test_an_unreadable_list_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="can't be read"):
            read_manifest(tmp_path / "missing.txt")
        with pytest.raises(UsageError, match="can't be read"):
            read_manifest(tmp_path)
        with pytest.raises(UsageError, match="can't be read"):
            read_manifest(write(tmp_path / "wide", b"\xff\xfea\x00b"))


class TestJsonLines:
    def test_columns_have_several_names_and_others_are_ignored(self, tmp_path: Path) -> None:
        rows = [
            {"path": "a.wav", "audio": "b.wav", "language": "fr-CA", "reference": "un"},
            {"audio_filepath": "b.wav", "text": "two\u2028lines", "duration": 3.5},
            {"audio": "c.wav", "language": None, "reference": ""},
            {"file": "s3://d/e.wav", "language": "German"},
        ]
        lines = "\r\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        path = write(tmp_path / "m.JSONL", "\ufeff" + lines)
        assert [(each.path, each.language, each.reference) for each in entries(path)] == [
            ("a.wav", "French", "un"),
            ("b.wav", None, "two\u2028lines"),
            ("c.wav", None, ""),
            ("s3://d/e.wav", "German", None),
        ]

    def test_an_invalid_line_is_an_error_and_the_others_are_read(self, tmp_path: Path) -> None:
        lines = [
            b'{"path": "a.wav"}',
            b"not json",
            b'["a.wav"]',
            b'{"reference": "x"}',
            b'{"path": 3}',
            b'{"path": "a.wav", "language": "Klingon"}',
            b'{"path": "a.wav", "reference": ["x"]}',
            b'{"path": "a.wav", "reference": "caf\xe9"}',
            b"[" * 100_000,
            b'{"path": "z.wav"}',
        ]
        path = write(tmp_path / "m.jsonl", b"\n".join(lines))
        errors = problems(path)
        assert [line.partition(":")[0] for line in errors] == [f"line {n}" for n in range(2, 10)]
        assert "Klingon" in errors[4]
        found = [each for each in read_manifest(path) if isinstance(each, ManifestEntry)]
        assert [each.path for each in found] == ["a.wav", "z.wav"]


class TestTables:
    def test_columns_are_named_by_the_header(self, tmp_path: Path) -> None:
        table = (
            'id,Path, language ,text\r\n1,a.wav,fr,"un, deux\r\ntrois"\r\n\r\n2,"b ""x"".wav",,\n'
        )
        path = write(tmp_path / "m.csv", "\ufeff" + table)
        assert [(each.path, each.language, each.reference) for each in entries(path)] == [
            ("a.wav", "French", "un, deux\r\ntrois"),
            ('b "x".wav', None, None),
        ]
        assert [each.where for each in entries(path)] == [f"{path}, line 2", f"{path}, line 5"]

    @pytest.mark.parametrize("delimiter", [", ", "; ", ",", ",   "])
    def test_spaces_after_a_delimiter_are_ignored(self, tmp_path: Path, delimiter: str) -> None:
        rows = [
            ["language", "path", "text"],
            ["fr", '"a, b; c.wav"', '" x"'],
            ["de", "d e.wav", "y z"],
        ]
        table = "\n".join(map(delimiter.join, rows))
        found = entries(write(tmp_path / "talks.csv", table))
        assert [(each.path, each.language, each.reference) for each in found] == [
            ("a, b; c.wav", "French", " x"),
            ("d e.wav", "German", "y z"),
        ]

    def test_a_space_after_a_tab_is_part_of_the_name(self, tmp_path: Path) -> None:
        assert paths(write(tmp_path / "talks.tsv", "text\tpath\nx\t a.wav\n")) == [" a.wav"]

    def test_other_delimiters(self, tmp_path: Path) -> None:
        assert paths(write(tmp_path / "m.csv", "path;text\na,b.wav;x\n")) == ["a,b.wav"]
        assert paths(write(tmp_path / "m.tsv", "text\tpath\nx, y\ta.wav\n")) == ["a.wav"]

    def test_an_invalid_line_is_an_error_and_the_others_are_read(self, tmp_path: Path) -> None:
        table = 'path,text\na.wav,x\nb.wav,"open\nc.wav,y\n,z\nd.wav,one, two\ne.wav,"x"y\nf.wav'
        path = write(tmp_path / "m.csv", table)
        assert [line.partition(":")[0] for line in problems(path)] == [
            "line 3", "line 5", "line 6", "line 7",
        ]  # fmt: skip
        found = [each.path for each in read_manifest(path) if isinstance(each, ManifestEntry)]
        assert found == ["a.wav", "c.wav", "f.wav"]

    @pytest.mark.parametrize("table", ["", "name,text\na.wav,x\n", '"open\n'])
    def test_a_table_without_paths_is_rejected(self, tmp_path: Path, table: str) -> None:
        with pytest.raises(UsageError, match="no column of paths"):
            read_manifest(write(tmp_path / "m.csv", table))
