"""Paths and URLs of outputs: no URL is taken for a path, and no name means more than it says."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.settings import Settings
from phi4audio_cli.settings_loader import load_settings
from phi4audio_cli.storage import RemotePath, parse_file_location, parse_folder_location


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("out", Path("out")),
        ("~/out", Path.home() / "out"),
        ("c:/out", Path("c:/out")),
        ("./s3:/out", Path("s3:/out")),
        ("file:///srv/out", Path("/srv/out")),
        ("s3://bucket/out/", RemotePath("s3://bucket/out")),
        ("GS://bucket", RemotePath("GS://bucket")),
    ],
)
def test_a_path_is_a_path_and_a_url_a_url(text: str, meant: object) -> None:
    assert parse_folder_location(text) == meant
    assert Settings(output_dir=text).output_dir == meant


@pytest.mark.parametrize("half", ["s3:/bucket/out", Path("s3://bucket/out"), "memory:/x", "gs:/b"])
def test_an_incomplete_url_is_rejected(half: str | Path) -> None:
    with pytest.raises(UsageError, match="half a URL") as caught:
        parse_folder_location(half)
    scheme, _, rest = str(half).partition(":")
    assert f"write {scheme}://{rest.lstrip('/')}" in str(caught.value)


@pytest.mark.parametrize("text", ["s3://", "memory:///"])
def test_a_url_names_a_place(text: str) -> None:
    with pytest.raises(UsageError, match="names no place"):
        parse_folder_location(text)


def test_settings_say_where_a_bad_url_stands() -> None:
    with pytest.raises(UsageError, match="--output-dir: invalid value 's3:/bucket'"):
        load_settings({"output_dir": "s3:/bucket"}, environ={})
    with pytest.raises(UsageError, match="PHI4AUDIO_OUTPUT_DIR"):
        load_settings({}, environ={"PHI4AUDIO_OUTPUT_DIR": "s3://"})


def test_names_are_made_as_of_a_path() -> None:
    folder = parse_folder_location("s3://bucket/out")
    place = folder / "mon/x" / "talk.fr.srt"
    assert str(place) == "s3://bucket/out/mon/x/talk.fr.srt"
    assert (place.name, place.suffix) == ("talk.fr.srt", ".srt")
    assert str(place.parent) == "s3://bucket/out/mon/x"
    assert str(place.with_suffix(".txt")) == "s3://bucket/out/mon/x/talk.fr.txt"
    assert folder / "." == folder
    assert len({place, folder / "mon/x/talk.fr.srt"}) == 1


def test_a_name_that_is_not_utf_8_becomes_a_key() -> None:
    place = RemotePath("s3://bucket") / os.fsdecode(b"caf\xe9.txt")
    assert place.name == "caf\\udce9.txt"
    str(place).encode()


def test_secrets_are_not_shown() -> None:
    place = RemotePath("sftp://me:secret@host/out") / "a.txt"
    assert str(place) == "sftp://host/out/a.txt"
    assert "secret" not in repr(place)
    assert "secret" not in repr(Settings(output_dir="sftp://me:secret@host/out"))


def test_a_container_of_azure_is_no_secret() -> None:
    place = RemotePath("abfss://talks@account.dfs.core.windows.net/out") / "a.txt"
    assert str(place) == "abfss://talks@account.dfs.core.windows.net/out/a.txt"


def test_a_location_survives_pickling() -> None:
    place = RemotePath("sftp://me:secret@host/out") / "a.txt"
    assert pickle.loads(pickle.dumps(place)) == place


def test_a_file_is_named_by_a_url_too() -> None:
    place = parse_file_location("s3://bucket/out/report.json")
    assert place == RemotePath("s3://bucket/out") / "report.json"
    assert parse_file_location("report.json") == Path("report.json")
    with pytest.raises(UsageError, match="names no file"):
        parse_file_location("s3://bucket")
