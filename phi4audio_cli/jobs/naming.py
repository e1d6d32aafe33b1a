"""What outputs are called: beside the recordings, or in one folder, flat or as a tree."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.inputs import STDIN, Input, Places, split_url
from phi4audio_cli.location import Location

LONGEST_NAME = 255
"""Bytes in a file's name, on the file systems of our time."""

_MARK = 8


def name_outputs(
    inputs: Sequence[Input], formats: Sequence[str], output_dir: Location | None, places: Places
) -> list[dict[str, Location]]:
    """Return the outputs of each recording, by format.

    Args:
        inputs: The recordings.
        formats: Ends of the names, without the dot.
        output_dir: None: beside the recordings; what is fetched goes to the current folder.
        places: Knows folders by their one name.

    Raises:
        UsageError: Recordings of the same name on different drives.
    """
    folders = _folders(inputs, output_dir, places)
    room = LONGEST_NAME - max((len(os.fsencode(name)) + 1 for name in formats), default=0)
    stems = [fitted(stem, room) for stem in _stems(inputs, folders, formats, places)]
    return [
        {name: folder / f"{stem}.{name}" for name in formats}
        for folder, stem in zip(folders, stems, strict=True)
    ]


def fitted(name: str, room: int = LONGEST_NAME) -> str:
    """Return a name of at most `room` bytes; a longer one ends in a short hash of all of it."""
    data = os.fsencode(name)
    if len(data) <= room:
        return name
    mark = f"~{digest(data)}"
    return data[: room - len(mark)].decode(errors="ignore") + mark


def digest(data: bytes) -> str:
    """Return eight letters that stay the same from run to run."""
    return sha256(data).hexdigest()[:_MARK]


def _folders(
    inputs: Sequence[Input], output_dir: Location | None, places: Places
) -> list[Location]:
    """Return the output folder of each recording."""
    if output_dir is not None:
        return _gathered(inputs, output_dir, places)
    fetched = iter(_gathered([each for each in inputs if each.url], Path(), places))
    return [next(fetched) if each.url else each.path.parent for each in inputs]


def _gathered(inputs: Sequence[Input], output_dir: Location, places: Places) -> list[Location]:
    """Return folders below one folder: itself, or the tree where equal names would meet."""
    homes = list(_homes(inputs, places))
    met: dict[str, set[str]] = {}
    for each, (_, home) in zip(inputs, homes, strict=True):
        met.setdefault(_stem(each).casefold(), set()).add(home)
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


def _homes(inputs: Sequence[Input], places: Places) -> Iterator[tuple[str, str]]:
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
            known[key] = _home(*key, places)
        yield known[key]


def _home(folder: str, root: Path | None, places: Places) -> tuple[str, str]:
    if root is None:
        home = places.folder(folder)
        return home, home
    base = places.folder(root)
    # By its name: a link in the tree stays in the tree.
    return base, os.path.normpath(f"{base}/{os.path.relpath(folder or '.', root)}")


def _stem(each: Input) -> str:
    return os.path.splitext(each.name)[0]  # noqa: PTH122 (a Path for every name takes long)


def _stems(
    inputs: Sequence[Input], folders: Sequence[Location], formats: Sequence[str], places: Places
) -> list[str]:
    """Return each output's name without the format.

    That is the recording's stem; all of its name where that stem is taken; and where two URLs
    differ in their queries only, a hash of the URL too.
    """
    stems = [_stem(each) for each in inputs]
    longer = [_longer(each) for each in inputs]
    bases = [places.folder(folder) for folder in folders]
    recordings = {places.file(each.path).casefold() for each in inputs if not each.url}
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


def _longer(each: Input) -> list[str]:
    """Return what may stand in place of a stem, in order."""
    names = [each.name] if each.name != _stem(each) else []
    if each.url and each.url != STDIN:
        names.append(f"{each.name}~{digest(os.fsencode(each.url))}")
    return names
