"""From a path to the files it means: a file itself, a folder's recordings, a pattern's matches."""

from __future__ import annotations

import difflib
import glob
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from phi4audio_cli.errors import UsageError

MEDIA_SUFFIXES = frozenset(
    """
    .3gp .aac .ac3 .aif .aifc .aiff .amr .ape .au .avi .caf .dts .eac3 .flac .flv .m2ts .m4a .m4b
    .m4v .mka .mkv .mov .mp1 .mp2 .mp3 .mp4 .mpeg .mpg .mts .oga .ogg .ogv .opus .ra .rf64 .rm .snd
    .spx .ts .tta .vob .voc .w64 .wav .wave .webm .wma .wmv .wv
    """.split()  # noqa: SIM905 (one word a line would be longer than all of the rest)
)
"""File names in a folder that are taken for recordings end in one of these."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file that is there."""

    path: Path
    is_link: bool
    root: Path | None = None
    """The folder that was named, in which it was found."""


def find_files(path: Path, *, recursive: bool, suggest: bool) -> Iterator[File | UsageError]:
    """Find the files a path means; each is looked at once.

    Args:
        path: Of a file or a folder; a pattern where there is neither.
        recursive: Look into the folders of folders too.
        suggest: Name the nearest where there is no such file; that reads a whole folder.

    Yields:
        Files, a folder's by name, and a problem for each that can't be used.
    """
    try:
        mode, is_link = _look(path)
    except (OSError, ValueError) as error:
        if glob.has_magic(str(path)):
            yield from _matches(str(path))
        elif suggest and isinstance(error, FileNotFoundError | NotADirectoryError):
            yield _missing(path)
        else:
            yield _unusable(path, error)
        return
    if stat.S_ISDIR(mode):
        yield from _in_folder(path, recursive)
    else:
        yield _checked(File(path, is_link), mode)


def _look(path: Path) -> tuple[int, bool]:
    """Return the mode of what a path leads to, 0 for nothing, and whether over a link."""
    mode = path.lstat().st_mode
    if not stat.S_ISLNK(mode):
        return mode, False
    try:
        return path.stat().st_mode, True
    except FileNotFoundError:
        return 0, True


def _checked(file: File, mode: int) -> File | UsageError:
    if stat.S_ISREG(mode):
        return file
    if stat.S_ISFIFO(mode):
        return UsageError("is a pipe and no file", str(file.path), "give - and pipe into it")
    what = "is no regular file" if mode else "is a link to nothing"
    return UsageError(what, str(file.path), "give a file, a folder or a URL")


def _in_folder(folder: Path, recursive: bool) -> Iterator[File | UsageError]:
    found: list[Path] = []
    errors: list[OSError] = []
    for place, _, names in os.walk(folder, onerror=errors.append):
        found += (Path(place, name) for name in names if _is_media(name))
        if not recursive:
            break
    yield from (_unusable(Path(error.filename), error) for error in errors)
    yield from _each(sorted(found), folder)
    if not found and not errors:
        remedy = "name the files themselves" if recursive else "--recursive looks in its folders"
        yield UsageError("no recordings in this folder", str(folder), remedy)


def _each(paths: list[Path], root: Path) -> Iterator[File | UsageError]:
    for path in paths:
        try:
            mode, is_link = _look(path)
        except OSError as error:
            yield _unusable(path, error)
        else:
            yield _checked(File(path, is_link, root), mode)


def _is_media(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in MEDIA_SUFFIXES and not name.startswith(".")  # noqa: PTH122 (a Path for every name takes long)


def _matches(pattern: str) -> Iterator[File | UsageError]:
    # Path.glob takes no absolute patterns.
    names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    paths = [path for path in map(Path, names) if not path.is_dir()]
    if not paths:
        yield UsageError("no file matches this pattern", pattern, "check the folder and the name")
    fixed = takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    # `talks/*` shouldn't mean the transcripts that lie there from the last run.
    yield from _each([path for path in paths if _is_media(path.name)] or paths, Path(*fixed))


def _missing(path: Path) -> UsageError:
    folder = path.parent
    if not folder.is_dir():
        return UsageError("no such file, nor its folder", str(path), f"check the path {folder}")
    try:
        there = sorted(each.name for each in folder.iterdir())
    except OSError:
        there = []
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.6)
    remedy = f"did you mean {folder / near[0]}?" if near else "check the name"
    return UsageError("no such file", str(path), remedy)


def _unusable(path: Path, error: OSError | ValueError) -> UsageError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UsageError("no such file", str(path), "check the name and its folder")
    reason = getattr(error, "strerror", None) or error
    return UsageError(f"can't be read: {reason}", str(path), "check the name and your permissions")
