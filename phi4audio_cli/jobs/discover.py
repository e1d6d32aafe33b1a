"""From what the user named to the recordings meant."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.inputs import Input

MEDIA_SUFFIXES = frozenset(
    """
    .3gp .aac .ac3 .aif .aifc .aiff .amr .ape .au .avi .caf .dts .eac3 .flac .flv .m2ts .m4a .m4b
    .m4v .mka .mkv .mov .mp1 .mp2 .mp3 .mp4 .mpeg .mpg .mts .oga .ogg .ogv .opus .ra .rf64 .rm .snd
    .spx .ts .tta .vob .voc .w64 .wav .wave .webm .wma .wmv .wv
    """.split()  # noqa: SIM905 (one word a line would be longer than all of the rest)
)
"""File names in a folder that are taken for recordings end in one of these."""


def find_inputs(
    inputs: Sequence[str], *, recursive: bool = False
) -> tuple[list[Input], list[UsageError]]:
    """Find the recordings meant by files, folders and patterns.

    Args:
        inputs: As the user wrote them. Patterns that the shell did not expand are expanded here.
        recursive: Look into the folders of folders too.

    Returns:
        The recordings in the order of the inputs, none twice (a folder's by name), and a problem
        for each input that gave none.
    """
    found: dict[str, Path] = {}
    problems: list[UsageError] = []
    for each in inputs:
        try:
            for path in _expand(each, recursive):
                found.setdefault(os.path.realpath(path), path)
        except UsageError as problem:
            problems.append(problem)
        except OSError as error:
            problems.append(_unreadable(each, error))
    return [Input(path, path.name) for path in found.values()], problems


def _expand(name: str, recursive: bool) -> Iterable[Path]:
    path = Path(name)
    if path.is_dir():
        return _in_folder(path, recursive)
    if path.exists():
        return [path]
    if glob.has_magic(name):
        return _matches(name)
    raise _missing(path)


def _in_folder(folder: Path, recursive: bool) -> list[Path]:
    files = folder.rglob("*") if recursive else folder.iterdir()
    found = sorted(each for each in files if _is_media(each) and each.is_file())
    if not found:
        remedy = "name the files themselves" if recursive else "--recursive looks in its folders"
        raise UsageError("no recordings in this folder", str(folder), remedy)
    return found


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in MEDIA_SUFFIXES and not path.name.startswith(".")


def _matches(pattern: str) -> list[Path]:
    # Path.glob takes no absolute patterns.
    names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    files = [path for path in map(Path, names) if path.is_file()]
    if not files:
        raise UsageError("no file matches this pattern", pattern, "check the folder and the name")
    # `talks/*` shouldn't mean the transcripts that lie there from the last run.
    return [path for path in files if _is_media(path)] or files


def _missing(path: Path) -> UsageError:
    folder = path.parent
    if not folder.is_dir():
        return UsageError("no such file, nor its folder", str(path), f"check the path {folder}")
    there = sorted(each.name for each in folder.iterdir())
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.6)
    remedy = f"did you mean {folder / near[0]}?" if near else "check the name"
    return UsageError("no such file", str(path), remedy)


def _unreadable(name: str, error: OSError) -> UsageError:
    return UsageError(f"can't be read: {error.strerror or error}", name, "check your permissions")
