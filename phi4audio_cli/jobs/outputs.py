"""Where each recording's outputs lie, decided before any model is loaded, and writing them."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.inputs import Input
from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.types import Job, Metadata, Result, document_of
from phi4audio_cli.writers import check_format, expand_formats, render


def plan_jobs(
    inputs: Sequence[Input],
    formats: Sequence[str],
    output_dir: Path | None,
    template: str | None = None,
) -> list[Job]:
    """Name every output file; no two jobs write the same one, and none a recording.

    `talk.mp3` gives `talk.txt`, beside it or in `output_dir`. Recordings of one folder that differ
    only in their extension keep it (`talk.mp3.txt`). Recordings of several folders that would meet
    in `output_dir` are kept apart by the folders below their common parent.

    Args:
        inputs: The recordings.
        formats: Names of formats, with a variant before them where a result has several
            (`fr.srt`); `all` stands for every one, and a name given twice counts once.
        output_dir: None puts the outputs beside their recordings.
        template: How to name the outputs instead, as `{parent}/{stem}.{format}`.

    Raises:
        UsageError: An unknown format, or names that can't be kept apart.
        OutputError: A folder that can't be made or written to.
    """
    sources = [each.path for each in inputs]
    formats = expand_formats(formats)
    for name in formats:
        check_format(name.rpartition(".")[2])
    folders = _folders(sources, output_dir)
    stems = _stems(sources, folders, formats)
    jobs = [
        Job(index, source, {name: folder / f"{stem}.{name}" for name in formats})
        for index, (source, folder, stem) in enumerate(zip(sources, folders, stems, strict=True))
    ]
    _check_apart(jobs)
    for folder in dict.fromkeys(folders):
        _check_folder(folder)
    return jobs


def _real(path: Path) -> Path:
    """Return the one name of a file that need not be there; a link at its end stays one."""
    return path.parent.resolve() / path.name


def _key(path: Path) -> str:
    """Return what two names of the same file have in common, on any file system."""
    return str(_real(path)).casefold()


def _folders(sources: Sequence[Path], output_dir: Path | None) -> list[Path]:
    """Return the output folder of each source."""
    parents = [source.parent.resolve() for source in sources]
    if output_dir is None:
        return [source.parent for source in sources]
    homes: dict[str, set[Path]] = {}
    for source, parent in zip(sources, parents, strict=True):
        homes.setdefault(source.stem.casefold(), set()).add(parent)
    if all(len(places) == 1 for places in homes.values()):
        return [output_dir] * len(sources)
    try:
        common = os.path.commonpath(parents)
    except ValueError as error:  # drives of Windows
        raise UsageError(
            "recordings of the same name on different drives",
            f"--output-dir {output_dir}",
            "transcribe one drive at a time, into folders of their own",
        ) from error
    return [output_dir / parent.relative_to(common) for parent in parents]


def _stems(sources: Sequence[Path], folders: Sequence[Path], formats: Sequence[str]) -> list[str]:
    """Return each output's name without the format: the source's stem, or all of its name."""
    stems = [source.stem for source in sources]
    recordings = {_key(source) for source in sources}
    while True:
        bases = [_key(folder / stem) for folder, stem in zip(folders, stems, strict=True)]
        count = Counter(bases)
        changed = False
        for index, base in enumerate(bases):
            hits = any(f"{base}.{name}" in recordings for name in formats)
            if (count[base] > 1 or hits) and stems[index] != sources[index].name:
                stems[index] = sources[index].name
                changed = True
        if not changed:
            return stems


def _check_apart(jobs: Sequence[Job]) -> None:
    """Refuse what full names could not keep apart."""
    taken = {_real(job.source): "the recording" for job in jobs}
    for job in jobs:
        for path in job.outputs.values():
            # Names that differ in case only are left alone here: the sources differ so too.
            real = _real(path)
            if real in taken:
                raise UsageError(
                    f"its output would overwrite {taken[real]} {path}",
                    str(job.source),
                    "give another --output-dir, or rename one of them",
                )
            taken[real] = f"the output of {job.source},"


def _check_folder(folder: Path) -> None:
    """Check that a folder can be written to, or made, without making it."""
    place = folder.resolve()
    while not place.exists():
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
    for path, text in texts.items():
        try:
            write_atomically(path, text)
        except OSError as error:
            raise OutputError(
                f"can't be written: {error.strerror or error}",
                str(path),
                "check the space and the permissions there, or give another --output-dir",
            ) from error


def _text(name: str, result: Result, metadata: Metadata, style: CueStyle) -> str:
    variant, _, form = name.rpartition(".")
    return render(form, document_of(result, variant), metadata, style)


def write_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 file under a temporary name beside it, then rename.

    Raises:
        OSError: As the system says it; the temporary file is gone then.
    """
    # Names from the file system may hold bytes that are no UTF-8, as lone surrogates.
    data = text.encode("utf-8", errors="backslashreplace")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".phi4audio-{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
