"""Where each recording's outputs lie, decided before any model is loaded, and writing them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.inputs import Input, Places, shown
from phi4audio_cli.jobs.naming import name_outputs
from phi4audio_cli.jobs.store import write_each
from phi4audio_cli.jobs.template import fill_template
from phi4audio_cli.location import Location, RemotePath
from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.types import Job, Metadata, Result, document_of
from phi4audio_cli.writers import check_format, expand_formats, render

_TEMPORARY = re.compile(r"\.phi4audio-[0-9a-f]{16}\.tmp")


def plan_jobs(
    inputs: Sequence[Input],
    formats: Sequence[str],
    output_dir: Location | None,
    template: str | None = None,
) -> list[Job]:
    """Name every output file; no two jobs write the same one, and none a recording.

    `talk.mp3` gives `talk.txt`, beside it or in `output_dir`. Recordings of one folder that differ
    only in their extension keep it (`talk.mp3.txt`). Recordings of several folders that would meet
    in `output_dir` are kept apart by the folders below the one the user named, or below their
    common parent. What is fetched, without `output_dir`, goes to the current folder. A name longer
    than 255 bytes, which no file system takes, is cut and ends in `~` and a short hash of it all.

    Args:
        inputs: The recordings.
        formats: Names of formats, with a variant before them where a result has several
            (`fr.srt`); `all` stands for every one, and a name given twice counts once.
        output_dir: None puts the outputs beside their recordings.
        template: How to name the outputs instead, as `{parent}/{stem}.{format}`
            (`template.fill_template` says what may stand in it).

    Raises:
        UsageError: An unknown format, a template that can't be used, or names that can't be kept
            apart.
        OutputError: A folder that can't be made or written to.
    """
    formats = expand_formats(formats)
    for name in formats:
        check_format(name.rpartition(".")[2])
    places = Places()
    if template is None:
        outputs = name_outputs(inputs, formats, output_dir, places)
    else:
        outputs = fill_template(template, inputs, formats, output_dir)
    jobs = [
        Job(index, each.path, paths, each.language, each.url)
        for index, (each, paths) in enumerate(zip(inputs, outputs, strict=True))
    ]
    _check_apart(jobs, template, places)
    here = (path for paths in outputs for path in paths.values() if isinstance(path, Path))
    for folder in dict.fromkeys(os.path.split(path)[0] for path in here):
        _check_folder(Path(folder))
    return jobs


def _check_apart(jobs: Sequence[Job], template: str | None, places: Places) -> None:
    """Refuse what full names, or a template, could not keep apart."""
    remedy = "give another --output-dir, or rename one of them"
    if template is not None:
        remedy = "add {parent}, {ext} or {index} to --output-template"
    taken = {_key(job.source, template, places): "the recording" for job in jobs if not job.url}
    for job in jobs:
        for path in job.outputs.values():
            key = _key(path, template, places)
            if key in taken:
                what = f"its output would overwrite {taken[key]} {path}"
                raise UsageError(what, shown(job.url) if job.url else str(job.source), remedy)
            taken[key] = "the output of another,"


def _key(path: Location, template: str | None, places: Places) -> str:
    """Return what two names of the same file have in common."""
    # Names that differ in case only are left alone where the recordings' names differ so too; a
    # template may bring together what no folder holds.
    name = places.file(path)
    return name if template is None else name.casefold()


def _check_folder(folder: Path) -> None:
    """Check that a folder can be written to, or made, without making it."""
    place = folder.resolve()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise OutputError("a file is where a folder must be", str(place), "give another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(
            "this folder can't be written to",
            str(place),
            "check its permissions, or give another --output-dir",
        )


def write_outputs(
    job: Job, result: Result, metadata: Metadata, style: CueStyle = DEFAULT_STYLE
) -> None:
    """Write a result in every format of its job; each file appears complete, or not at all.

    Args:
        job: Says which formats, and where.
        result: What to write.
        metadata: What the files say of their making.
        style: How subtitles look.

    Raises:
        OutputError: The disk is full, the folder read-only, or the like.
    """
    # All texts first: what can't be rendered must leave no half of the formats behind.
    texts = {path: _text(name, result, metadata, style) for name, path in job.outputs.items()}
    write_each({path: as_bytes(text) for path, text in texts.items()})


def _text(name: str, result: Result, metadata: Metadata, style: CueStyle) -> str:
    variant, _, form = name.rpartition(".")
    return render(form, document_of(result, variant), metadata, style)


def as_bytes(text: str) -> bytes:
    """Return a text as files hold it, in UTF-8."""
    # Names from the file system may hold bytes that are no UTF-8, as lone surrogates.
    return text.encode("utf-8", errors="backslashreplace")


def clean_leftovers(folders: Iterable[Location]) -> list[Path]:
    """Remove the temporary files of a run that was killed, and return them.

    Only call this where no other run writes into these folders: its files look the same. So
    nothing is removed behind a URL, where nobody can be shut out.

    Args:
        folders: Output folders; those that aren't there yet are left out.
    """
    removed = []
    for folder in folders:
        if isinstance(folder, RemotePath):
            continue
        try:
            leftovers = [path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name)]
            for path in leftovers:
                path.unlink()
                removed.append(path)
        except OSError:
            continue  # a leftover does no harm
    return removed
