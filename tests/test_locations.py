"""Locations: paths, URLs and names below a URL."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.locations import RemotePath, parse_file_location, parse_folder_location
from phi4audio_cli.settings import Settings
from phi4audio_cli.settings_loader import load_settings


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_text_is_parsed_as_path_or_url(text: str, expected: object) -> None:
    assert parse_folder_location(text) == expected
    assert Settings(output_dir=text).output_dir == expected


@pytest.mark.parametrize("text", ["s3:/bucket/out", Path("s3://bucket/out"), "memory:/x", "gs:/b"])
def test_an_incomplete_url_is_rejected(text: str | Path) -> None:
    with pytest.raises(UsageError, match="incomplete URL") as caught:
        parse_folder_location(text)
    scheme, _, rest = str(text).partition(":")
    assert f"write {scheme}://{rest.lstrip('/')}" in str(caught.value)


@pytest.mark.parametrize("text", ["s3://", "memory:///"])
def test_a_url_without_a_bucket_is_rejected(text: str) -> None:
    with pytest.raises(UsageError, match="names no bucket"):
        parse_folder_location(text)


def test_settings_name_the_source_of_an_invalid_url() -> None:
    with pytest.raises(UsageError, match="--output-dir: invalid value 's3:/bucket'"):
        load_settings({"output_dir": "s3:/bucket"}, environ={})
    with pytest.raises(UsageError, match="PHI4AUDIO_OUTPUT_DIR"):
        load_settings({}, environ={"PHI4AUDIO_OUTPUT_DIR": "s3://"})


def test_remote_paths_are_joined_like_local_ones() -> None:
    folder = parse_folder_location("s3://bucket/out")
    location = folder / "mon/x" / "talk.fr.srt"
    assert str(location) == "s3://bucket/out/mon/x/talk.fr.srt"
    assert (location.name, location.suffix) == ("talk.fr.srt", ".srt")
    assert str(location.parent) == "s3://bucket/out/mon/x"
    assert str(location.with_suffix(".txt")) == "s3://bucket/out/mon/x/talk.fr.txt"
    assert folder / "." == folder
    assert len({location, folder / "mon/x/talk.fr.srt"}) == 1


def test_a_name_that_is_not_utf_8_is_escaped_in_the_key() -> None:
    location = RemotePath("s3://bucket") / os.fsdecode(b"caf\xe9.txt")
    assert location.name == "caf\\udce9.txt"
    str(location).encode()


def test_secrets_are_not_shown() -> None:
    location = RemotePath("sftp://me:secret@host/out") / "a.txt"
    assert str(location) == "sftp://host/out/a.txt"
    assert "secret" not in repr(location)
    assert "secret" not in repr(Settings(output_dir="sftp://me:secret@host/out"))


def test_the_container_of_an_azure_url_is_shown() -> None:
    location = RemotePath("abfss://talks@account.dfs.core.windows.net/out") / "a.txt"
    assert str(location) == "abfss://talks@account.dfs.core.windows.net/out/a.txt"


def test_a_location_survives_pickling() -> None:
    location = RemotePath("sftp://me:secret@host/out") / "a.txt"
    assert pickle.loads(pickle.dumps(location)) == location


def test_a_file_location_may_be_a_url() -> None:
    location = parse_file_location("s3://bucket/out/report.json")
    assert location == RemotePath("s3://bucket/out") / "report.json"
    assert parse_file_location("report.json") == Path("report.json")
    with pytest.raises(UsageError, match="names no file"):
        parse_file_location("s3://bucket")
