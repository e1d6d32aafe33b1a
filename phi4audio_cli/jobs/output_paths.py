"""Names of the output files, decided before the model is loaded, and writing the files."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path, PurePath, PurePosixPath
from string import Formatter

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.input_source import STDIN, InputSource, PathResolver, display_url, split_url
from phi4audio_cli.storage import Location, RemotePath, write_all
from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.types import Job, Metadata, Result, document_for_variant
from phi4audio_cli.writers import check_format, expand_formats, render

MAX_NAME_BYTES = 255
"""Bytes in a file's name, on the file systems of our time."""

_HASH_LENGTH = 8


def name_outputs(
    inputs: Sequence[InputSource],
    formats: Sequence[str],
    output_dir: Location | None,
    resolver: PathResolver,
) -> list[dict[str, Location]]:
    """Return the outputs of each recording, by format.

    Args:
        inputs: The recordings.
        formats: Ends of the names, without the dot.
        output_dir: None: beside the recordings; what is fetched goes to the current folder.
        resolver: Knows folders by their one name.

    Raises:
        UsageError: Recordings of the same name on different drives.
    """
    folders = _output_folders(inputs, output_dir, resolver)
    room = MAX_NAME_BYTES - max((len(os.fsencode(name)) + 1 for name in formats), default=0)
    stems = [shorten(stem, room) for stem in _unique_stems(inputs, folders, formats, resolver)]
    return [
        {name: folder / f"{stem}.{name}" for name in formats}
        for folder, stem in zip(folders, stems, strict=True)
    ]


def shorten(name: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a name of at most `max_bytes` bytes; a longer one ends in a short hash of all of it."""
    data = os.fsencode(name)
    if len(data) <= max_bytes:
        return name
    mark = f"~{short_digest(data)}"
    return data[: max_bytes - len(mark)].decode(errors="ignore") + mark


def short_digest(data: bytes) -> str:
    """Return eight letters that stay the same from run to run."""
    return sha256(data).hexdigest()[:_HASH_LENGTH]


def _output_folders(
    inputs: Sequence[InputSource], output_dir: Location | None, resolver: PathResolver
) -> list[Location]:
    """Return the output folder of each recording."""
    if output_dir is not None:
        return _mirror_tree(inputs, output_dir, resolver)
    fetched = iter(_mirror_tree([each for each in inputs if each.url], Path(), resolver))
    return [next(fetched) if each.url else each.path.parent for each in inputs]


def _mirror_tree(
    inputs: Sequence[InputSource], output_dir: Location, resolver: PathResolver
) -> list[Location]:
    """Return folders below one folder: itself, or the tree where equal names would meet."""
    homes = list(_roots(inputs, resolver))
    met: dict[str, set[str]] = {}
    for each, (_, home) in zip(inputs, homes, strict=True):
        met.setdefault(_input_stem(each).casefold(), set()).add(home)
    if all(len(places_of) == 1 for places_of in met.values()):
        return [output_dir] * len(inputs)
    try:
        common = os.path.commonpath({base for base, _ in homes})
    except ValueError as error:  # drives of Windows
        raise UsageError(
            "recordings of the same name on different drives",
            f"--output-dir {output_dir}",
            "transcribe one drive at a time, into folders of their own",
        ) from error
    below = {home: output_dir / os.path.relpath(home, common) for _, home in set(homes)}
    return [below[home] for _, home in homes]


def _roots(inputs: Sequence[InputSource], resolver: PathResolver) -> Iterator[tuple[str, str]]:
    """Yield the folder the user named (or that of the recording), and the recording's.

    What comes from a URL is at home in a folder named after its host.
    """
    known: dict[tuple[str, Path | None], tuple[str, str]] = {}
    for each in inputs:
        if each.url:
            # Standard input is alone in its place.
            folder = PurePosixPath() if each.url == STDIN else split_url(each.url)[0]
            yield f"/{folder}", f"/{folder}"
            continue
        key = os.path.split(each.path)[0], each.root
        if key not in known:
            known[key] = _root_of(*key, resolver)
        yield known[key]


def _root_of(folder: str, root: Path | None, resolver: PathResolver) -> tuple[str, str]:
    if root is None:
        home = resolver.resolve_folder(folder)
        return home, home
    base = resolver.resolve_folder(root)
    # By its name: a link in the tree stays in the tree.
    return base, os.path.normpath(f"{base}/{os.path.relpath(folder or '.', root)}")


def _input_stem(each: InputSource) -> str:
    return os.path.splitext(each.name)[0]  # noqa: PTH122 (a Path for every name takes long)


def _unique_stems(
    inputs: Sequence[InputSource],
    folders: Sequence[Location],
    formats: Sequence[str],
    resolver: PathResolver,
) -> list[str]:
    """Return each output's name without the format.

    That is the recording's stem; all of its name where that stem is taken; and where two URLs
    differ in their queries only, a hash of the URL too.
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
            hits = count[key] > 1 or any(f"{key}.{name}" in recordings for name in formats)
            if hits and longer[index]:
                stems[index] = longer[index].pop(0)
                changed = True
        if not changed:
            return stems


def _longer_stems(each: InputSource) -> list[str]:
    """Return what may stand in place of a stem, in order."""
    names = [each.name] if each.name != _input_stem(each) else []
    if each.url and each.url != STDIN:
        names.append(f"{each.name}~{short_digest(os.fsencode(each.url))}")
    return names


TEMPLATE_FIELDS = ("stem", "name", "ext", "parent", "index", "language", "format")
"""What may stand in a template, in {braces}."""


def apply_template(
    template: str,
    inputs: Sequence[InputSource],
    formats: Sequence[str],
    output_dir: Location | None,
) -> list[dict[str, Location]]:
    """Return the outputs of each recording, by format.

    Of `calls/mon/talk.mp3`, found in `calls`: stem is `synthetic_speech`, name `synthetic_speech.mp3`, ext `mp3`, parent
    `mon`, index its number among the recordings from 1 (`{index:04}` pads it). parent is empty for
    a recording that was named itself, and host and folders for a URL. language is the code of a
    translation's language, empty for other results; a template without it has it in format, as
    `fr.srt`.

    Args:
        template: Such as `{parent}/{stem}.{format}`, that is a path below the output folder.
        inputs: The recordings.
        formats: Ends of the usual names: a format, with a language's code before it (`fr.srt`).
        output_dir: None: the template counts from the folder the user named or, where a recording
            was named, from that one's; what is fetched goes to the current folder.

    Raises:
        UsageError: A field that isn't known, none for the format, or a path out of the folder.
    """
    fields = _parse_fields(template)
    if "format" not in fields:
        raise _template_error(template, "lacks {format}", "end it in .{format}")
    ends = {end: _format_fields(end, "language" in fields) for end in formats}
    outputs = []
    for number, each in enumerate(inputs, 1):
        base, values = _base_folder(each, output_dir), _source_fields(each, number)
        paths = {end: _fill(template, {**values, **more}) for end, more in ends.items()}
        outputs.append({end: base / path for end, path in paths.items()})
    return outputs


def _parse_fields(template: str) -> set[str]:
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise _template_error(template, str(error), "write {{ and }} for braces") from error
    names = {name for _, name, _, _ in parsed if name is not None}
    for name in names.difference(TEMPLATE_FIELDS):
        near = difflib.get_close_matches(name, TEMPLATE_FIELDS, n=1)
        hint = f"did you mean {{{near[0]}}}? " if near else ""
        raise _template_error(
            template, f"has no field {{{name}}}", f"{hint}known are {', '.join(TEMPLATE_FIELDS)}"
        )
    if any("{" in (spec or "") for _, _, spec, _ in parsed):
        raise _template_error(template, "has a field inside a field", "write each by itself")
    return names


def _base_folder(each: InputSource, output_dir: Location | None) -> Location:
    if output_dir is not None:
        return output_dir
    return Path() if each.url else each.root or each.path.parent


def _format_fields(end: str, has_language_field: bool) -> dict[str, str]:
    language, _, form = end.rpartition(".")
    return {"language": language, "format": form if has_language_field else end}


def _source_fields(each: InputSource, number: int) -> dict[str, str | int]:
    name = PurePath(each.name)
    return {
        "stem": name.stem,
        "name": each.name,
        "ext": name.suffix[1:],
        "parent": _parent_field(each),
        "index": number,
    }


def _parent_field(each: InputSource) -> str:
    if each.url == STDIN:
        return ""
    if each.url:
        parent: PurePath = split_url(each.url)[0]
    elif each.root is not None:
        parent = PurePath(os.path.relpath(each.path.parent, each.root))
    else:
        return ""
    return "/".join(parent.parts)


def _fill(template: str, values: dict[str, str | int]) -> PurePath:
    try:
        text = template.format(**values)
    except ValueError as error:
        raise _template_error(
            template, f"can't be filled in: {error}", "leave out what follows :"
        ) from error
    if not values["parent"] and not template.startswith("/"):
        text = text.lstrip("/")  # {parent}/{stem} means {stem} then
    if "\0" in text:
        raise _template_error(template, "holds what no name can hold", "leave it out")
    path = PurePath(text)
    if path.is_absolute() or ".." in path.parts or not path.name:
        remedy = "give the folder with --output-dir, and a path below it here"
        raise _template_error(template, f"leads out of the output folder: {text}", remedy)
    *folders, name = path.parts
    end = f".{values['format']}"
    end = end if name.endswith(end) else ""
    stem = name.removesuffix(end)
    room = MAX_NAME_BYTES - len(os.fsencode(end))
    return PurePath(*map(shorten, folders), shorten(stem, room) + end)


def _template_error(template: str, what: str, remedy: str) -> UsageError:
    return UsageError(what, f"--output-template {template}", remedy)


_TEMPORARY_NAME = re.compile(r"\.phi4audio-[0-9a-f]{16}\.tmp")


def plan_jobs(
    inputs: Sequence[InputSource],
    formats: Sequence[str],
    output_dir: Location | None,
    template: str | None = None,
) -> list[Job]:
    """Name every output file; no two jobs write the same one, and none a recording.

    `synthetic_speech.mp3` gives `synthetic_speech.txt`, beside it or in `output_dir`. Recordings of one folder that differ
    only in their extension keep it (`synthetic_speech.mp3.txt`). Recordings of several folders that would meet
    in `output_dir` are kept apart by the folders below the one the user named, or below their
    common parent. What is fetched, without `output_dir`, goes to the current folder. A name longer
    than 255 bytes, which no file system takes, is cut and ends in `~` and a short hash of it all.

    Args:
        inputs: The recordings.
        formats: Names of formats, with a variant before them where a result has several
            (`fr.srt`); `all` stands for every one, and a name given twice counts once.
        output_dir: None puts the outputs beside their recordings.
        template: How to name the outputs instead, as `{parent}/{stem}.{format}`
            (`template.apply_template` says what may stand in it).

    Raises:
        UsageError: An unknown format, a template that can't be used, or names that can't be kept
            apart.
        OutputError: A folder that can't be made or written to.
    """
    formats = expand_formats(formats)
    for name in formats:
        check_format(name.rpartition(".")[2])
    places = PathResolver()
    if template is None:
        outputs = name_outputs(inputs, formats, output_dir, places)
    else:
        outputs = apply_template(template, inputs, formats, output_dir)
    jobs = [
        Job(index, each.path, paths, each.language, each.url)
        for index, (each, paths) in enumerate(zip(inputs, outputs, strict=True))
    ]
    _check_distinct(jobs, template, places)
    here = (path for paths in outputs for path in paths.values() if isinstance(path, Path))
    for folder in dict.fromkeys(os.path.split(path)[0] for path in here):
        _check_writable_folder(Path(folder))
    return jobs


def _check_distinct(jobs: Sequence[Job], template: str | None, resolver: PathResolver) -> None:
    """Refuse what full names, or a template, could not keep apart."""
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
    """Return what two names of the same file have in common."""
    # Names that differ in case only are left alone where the recordings' names differ so too; a
    # template may bring together what no folder holds.
    name = resolver.resolve_file(path)
    return name if template is None else name.casefold()


def _check_writable_folder(folder: Path) -> None:
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
    texts = {
        path: _render_output(name, result, metadata, style) for name, path in job.outputs.items()
    }
    write_all({path: encode_text(text) for path, text in texts.items()})


def _render_output(name: str, result: Result, metadata: Metadata, style: CueStyle) -> str:
    variant, _, form = name.rpartition(".")
    return render(form, document_for_variant(result, variant), metadata, style)


def encode_text(text: str) -> bytes:
    """Return a text as files hold it, in UTF-8."""
    # Names from the file system may hold bytes that are no UTF-8, as lone surrogates.
    return text.encode("utf-8", errors="backslashreplace")


def remove_temporary_files(folders: Iterable[Location]) -> list[Path]:
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
            leftovers = [path for path in folder.iterdir() if _TEMPORARY_NAME.fullmatch(path.name)]
            for path in leftovers:
                path.unlink()
                removed.append(path)
        except OSError:
            continue  # a leftover does no harm
    return removed
