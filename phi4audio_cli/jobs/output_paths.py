"""Names of the output files, decided before the model is loaded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.input_source import STDIN, InputSource, PathResolver, display_url, split_url
from phi4audio_cli.jobs.output_template import apply_template
from phi4audio_cli.locations import Location
from phi4audio_cli.storage import MAX_NAME_BYTES, nearest_existing, short_digest, shorten_name
from phi4audio_cli.types import Job
from phi4audio_cli.writers import check_format, expand_formats


def plan_jobs(
    inputs: Sequence[InputSource],
    formats: Sequence[str],
    output_dir: Location | None,
    template: str | None = None,
) -> list[Job]:
    """Name every output file; no output replaces another one or a recording.

    `talk.mp3` gives `talk.txt`, in its own folder or in `output_dir`. Recordings of one folder that
    differ only in their extension keep it (`talk.mp3.txt`). Equal names from several folders keep
    their folders in `output_dir`, relative to the folder that the user named or to their common
    parent. Outputs of downloaded recordings without `output_dir` go to the current folder. A name
    of more than 255 bytes is cut, and ends in `~` and a digest of the whole name.

    Args:
        inputs: The recordings.
        formats: Names of formats, after a variant if a result has several (`fr.srt`); `all` stands
            for every format. Duplicates are ignored.
        output_dir: None for the folder of each recording.
        template: A template for the names, such as `{parent}/{stem}.{format}`; `apply_template`
            explains the fields.

    Raises:
        UsageError: An unknown format, an invalid template, or two equal names.
        OutputError: A folder that can't be created or written to.
    """
    formats = expand_formats(formats)
    for name in formats:
        check_format(name.rpartition(".")[2])
    resolver = PathResolver()
    if template is None:
        outputs = name_outputs(inputs, formats, output_dir, resolver)
    else:
        outputs = apply_template(template, inputs, formats, output_dir)
    jobs = [
        Job(index, each.path, paths, each.language, each.url)
        for index, (each, paths) in enumerate(zip(inputs, outputs, strict=True))
    ]
    _check_distinct(jobs, template, resolver)
    local = (path for paths in outputs for path in paths.values() if isinstance(path, Path))
    for folder in dict.fromkeys(os.path.split(path)[0] for path in local):
        _check_writable_folder(Path(folder))
    return jobs


def _check_distinct(jobs: Sequence[Job], template: str | None, resolver: PathResolver) -> None:
    """Raise UsageError for two outputs of the same name, or an output named like a recording."""
    remedy = "give another --output-dir, or rename one of them"
    if template is not None:
        remedy = "add {parent}, {ext} or {index} to --output-template"
    taken = {
        _path_key(job.source, template, resolver): "the recording" for job in jobs if not job.url
    }
    for job in jobs:
        for path in job.outputs.values():
            key = _path_key(path, template, resolver)
            if key in taken:
                what = f"its output would overwrite {taken[key]} {path}"
                raise UsageError(what, display_url(job.url) if job.url else str(job.source), remedy)
            taken[key] = "the output of another,"


def _path_key(path: Location, template: str | None, resolver: PathResolver) -> str:
    """Return a key that is equal for two names of the same file."""
    # Recordings whose names differ only in case exist in one folder, so their outputs can, too. A
    # template may move recordings of several folders into one.
    name = resolver.resolve_file(path)
    return name if template is None else name.casefold()


def _check_writable_folder(folder: Path) -> None:
    """Check that a folder can be written to, or created, without creating it."""
    existing = nearest_existing(folder)
    if not existing.is_dir():
        raise OutputError("is a file, not a folder", str(existing), "give another folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(
            "this folder can't be written to",
            str(existing),
            "check its permissions, or give another --output-dir",
        )


def name_outputs(
    inputs: Sequence[InputSource],
    formats: Sequence[str],
    output_dir: Location | None,
    resolver: PathResolver,
) -> list[dict[str, Location]]:
    """Return the outputs of each recording, by format.

    Args:
        inputs: The recordings.
        formats: Extensions, without the first dot.
        output_dir: None for the folder of each recording, or the current one for downloads.
        resolver: Resolves folders to canonical paths.

    Raises:
        UsageError: Recordings of the same name on different drives.
    """
    folders = _output_folders(inputs, output_dir, resolver)
    max_stem = MAX_NAME_BYTES - max((len(os.fsencode(name)) + 1 for name in formats), default=0)
    stems = [
        shorten_name(stem, max_stem) for stem in _unique_stems(inputs, folders, formats, resolver)
    ]
    return [
        {name: folder / f"{stem}.{name}" for name in formats}
        for folder, stem in zip(folders, stems, strict=True)
    ]


def _output_folders(
    inputs: Sequence[InputSource], output_dir: Location | None, resolver: PathResolver
) -> list[Location]:
    """Return the output folder of each recording."""
    if output_dir is not None:
        return _mirror_tree(inputs, output_dir, resolver)
    downloaded = iter(_mirror_tree([each for each in inputs if each.url], Path(), resolver))
    return [next(downloaded) if each.url else each.path.parent for each in inputs]


def _mirror_tree(
    inputs: Sequence[InputSource], output_dir: Location, resolver: PathResolver
) -> list[Location]:
    """Return the output folder for all recordings, or a tree below it if names would be equal."""
    roots_and_folders = list(_roots(inputs, resolver))
    folders_by_stem: dict[str, set[str]] = {}
    for each, (_, folder) in zip(inputs, roots_and_folders, strict=True):
        folders_by_stem.setdefault(_input_stem(each).casefold(), set()).add(folder)
    if all(len(folders) == 1 for folders in folders_by_stem.values()):
        return [output_dir] * len(inputs)
    try:
        common = os.path.commonpath({root for root, _ in roots_and_folders})
    except ValueError as error:  # Windows drives
        raise UsageError(
            "recordings of the same name on different drives",
            f"--output-dir {output_dir}",
            "transcribe one drive at a time, each into its own folder",
        ) from error
    mirrored = {
        folder: output_dir / os.path.relpath(folder, common) for _, folder in set(roots_and_folders)
    }
    return [mirrored[folder] for _, folder in roots_and_folders]


def _roots(inputs: Sequence[InputSource], resolver: PathResolver) -> Iterator[tuple[str, str]]:
    """Yield the folder that the user named (else the recording's folder), and the recording's.

    Recordings of a URL are in a folder named after its host.
    """
    known: dict[tuple[str, Path | None], tuple[str, str]] = {}
    for each in inputs:
        if each.url:
            # No other recording is in the folder of standard input.
            folder = PurePosixPath() if each.url == STDIN else split_url(each.url)[0]
            yield f"/{folder}", f"/{folder}"
            continue
        key = os.path.split(each.path)[0], each.root
        if key not in known:
            known[key] = _root_of(*key, resolver)
        yield known[key]


def _root_of(folder: str, root: Path | None, resolver: PathResolver) -> tuple[str, str]:
    if root is None:
        resolved = resolver.resolve_folder(folder)
        return resolved, resolved
    base = resolver.resolve_folder(root)
    # Not resolved: a link in the tree stays in the tree.
    return base, os.path.normpath(f"{base}/{os.path.relpath(folder or '.', root)}")


def _input_stem(each: InputSource) -> str:
    return os.path.splitext(each.name)[0]  # noqa: PTH122 (a Path for every name is slow)


def _unique_stems(
    inputs: Sequence[InputSource],
    folders: Sequence[Location],
    formats: Sequence[str],
    resolver: PathResolver,
) -> list[str]:
    """Return each output's name without the format.

    The name is the recording's stem; its whole name if another one has the same stem; and, for URLs
    that differ only in their queries, its name with a digest of the URL.
    """
    stems = [_input_stem(each) for each in inputs]
    longer = [_longer_stems(each) for each in inputs]
    bases = [resolver.resolve_folder(folder) for folder in folders]
    recordings = {resolver.resolve_file(each.path).casefold() for each in inputs if not each.url}
    while True:
        keys = [f"{base}/{stem}".casefold() for base, stem in zip(bases, stems, strict=True)]
        count = Counter(keys)
        changed = False
        for index, key in enumerate(keys):
            collides = count[key] > 1 or any(f"{key}.{name}" in recordings for name in formats)
            if collides and longer[index]:
                stems[index] = longer[index].pop(0)
                changed = True
        if not changed:
            return stems


def _longer_stems(each: InputSource) -> list[str]:
    """Return the replacements of a stem, in the order in which they are tried."""
    names = [each.name] if each.name != _input_stem(each) else []
    if each.url and each.url != STDIN:
        names.append(f"{each.name}~{short_digest(each.url)}")
    return names
