"""Finds the recordings named by files, folders, patterns, URLs and manifests."""

from __future__ import annotations

import difflib
import glob
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.download import check_readable_scheme
from phi4audio_cli.jobs.input_source import (
    STDIN,
    InputSource,
    PathResolver,
    display_url,
    is_file_url,
    parse_input,
    path_of_file_url,
)
from phi4audio_cli.jobs.manifest import JSON_LINES_SUFFIXES, ManifestEntry, read_manifest
from phi4audio_cli.locations import is_url, url_scheme
from phi4audio_cli.storage import error_reason
from phi4audio_cli.writers import FORMATS

MEDIA_SUFFIXES = frozenset(
    """
    .3g2 .3gp .3gp2 .3gpp .aa .aac .ac3 .adts .aif .aifc .aiff .amr .ape .asf .at3 .au .avi .awb
    .bwf .caf .divx .dss .dts .dv .eac3 .ec3 .f4a .f4b .f4v .flac .flv .gsm .gxf .ircam .isma .ismv
    .latm .loas .m1a .m2a .m2t .m2ts .m4a .m4b .m4r .m4v .mj2 .mka .mkv .mlp .mod .mov .mp1 .mp2
    .mp3 .mp4 .mpa .mpc .mpeg .mpg .mpga .mts .mxf .nist .nut .oga .ogg .ogm .ogv .ogx .oma .omg
    .opus .qcp .qt .ra .rf64 .rm .rmvb .shn .snd .sph .spx .svx .tak .thd .tod .trp .ts .tta .vob
    .voc .vqf .w64 .wav .wave .weba .webm .wma .wmv .wtv .wv .wve .xvid .xwma
    """.split()  # noqa: SIM905 (one word per line would take half of this module)
)
"""Extensions of the files in a folder that count as recordings."""

OUTPUT_SUFFIXES = frozenset(f".{name}" for name in FORMATS)
"""Extensions of outputs, which are in the folders of recordings after a run."""

MAX_SUFFIXES_SHOWN = 5
"""Extensions of left-out files that are listed."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file that exists."""

    path: Path
    is_link: bool
    root: Path | None = None
    """The named folder in which it was found."""


def find_files(
    path: Path, skipped: Counter[str], *, recursive: bool, suggest: bool
) -> Iterator[FoundFile | UsageError]:
    """Find the files that a path names, with one stat call for each.

    Args:
        path: A file, a folder, or a pattern if neither exists.
        skipped: Counts the files that are left out, by their extensions.
        recursive: Search subfolders too.
        suggest: Suggest the most similar name for a missing file; this lists its whole folder.

    Yields:
        Files, sorted by name within a folder, and an error for each unusable one.
    """
    try:
        mode, is_link = _stat_mode(path)
    except (OSError, ValueError) as error:
        if glob.has_magic(str(path)):
            yield from _files_matching(str(path), skipped)
        elif suggest and isinstance(error, FileNotFoundError | NotADirectoryError):
            yield _missing_file_error(path)
        else:
            yield _unreadable_file_error(path, error)
        return
    if stat.S_ISDIR(mode):
        yield from _files_in_folder(path, recursive, skipped)
    else:
        yield _require_regular_file(FoundFile(path, is_link), mode)


def _stat_mode(path: Path) -> tuple[int, bool]:
    """Return a file's mode (0 for a broken link), and whether the path is a link."""
    mode = path.lstat().st_mode
    if not stat.S_ISLNK(mode):
        return mode, False
    try:
        return path.stat().st_mode, True
    except FileNotFoundError:
        return 0, True


def _require_regular_file(file: FoundFile, mode: int) -> FoundFile | UsageError:
    if stat.S_ISREG(mode):
        return file
    if stat.S_ISFIFO(mode):
        return UsageError("is a pipe, not a file", str(file.path), "give - and pipe into it")
    what = "is not a regular file" if mode else "is a broken link"
    return UsageError(what, str(file.path), "give a file, a folder or a URL")


def _files_in_folder(
    folder: Path, recursive: bool, skipped: Counter[str]
) -> Iterator[FoundFile | UsageError]:
    found: list[Path] = []
    errors: list[OSError] = []
    for parent, _, names in os.walk(folder, onerror=errors.append):
        found += (Path(parent, name) for name in names if _is_media(name))
        skipped.update(_skipped_suffixes(names))
        if not recursive:
            break
    yield from (_unreadable_file_error(Path(error.filename), error) for error in errors)
    yield from _check_files(sorted(found), folder)
    if not found and not errors:
        remedy = "name the files themselves" if recursive else "add --recursive for subfolders"
        yield UsageError("no recordings in this folder", str(folder), remedy)


def _check_files(paths: list[Path], root: Path) -> Iterator[FoundFile | UsageError]:
    for path in paths:
        try:
            mode, is_link = _stat_mode(path)
        except OSError as error:
            yield _unreadable_file_error(path, error)
        else:
            yield _require_regular_file(FoundFile(path, is_link, root), mode)


def _is_media(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in MEDIA_SUFFIXES and not name.startswith(".")  # noqa: PTH122 (a Path for every name is slow)


def _skipped_suffixes(names: Iterable[str]) -> Iterator[str]:
    """Yield the extensions of files that are left out; hidden files and outputs do not count."""
    for name in names:
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (as above)
        hidden_or_output = name.startswith(".") or suffix in OUTPUT_SUFFIXES
        if suffix not in MEDIA_SUFFIXES and not hidden_or_output:
            yield suffix


def _describe_skipped(skipped: Counter[str]) -> str:
    """Return a line such as `3 files left out, by their extensions: 2 .pdf, 1 .jpg`."""
    by_count = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    kinds = [
        f"{count} {suffix or 'without extension'}"
        for suffix, count in by_count[:MAX_SUFFIXES_SHOWN]
    ]
    if len(skipped) > MAX_SUFFIXES_SHOWN:
        kinds.append("...")
    files = "1 file" if skipped.total() == 1 else f"{skipped.total()} files"
    return f"{files} left out, by the extension: {', '.join(kinds)} (name a file to transcribe it)"


def _files_matching(pattern: str, skipped: Counter[str]) -> Iterator[FoundFile | UsageError]:
    # Path.glob rejects absolute patterns.
    names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    paths = [path for path in map(Path, names) if not path.is_dir()]
    if not paths:
        yield UsageError("no file matches this pattern", pattern, "check the folder and the name")
    fixed = takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    # `talks/*` should not include the transcripts of an earlier run.
    if media := [path for path in paths if _is_media(path.name)]:
        skipped.update(_skipped_suffixes(path.name for path in paths))
    yield from _check_files(media or paths, Path(*fixed))


def _missing_file_error(path: Path) -> UsageError:
    folder = path.parent
    if not folder.is_dir():
        return UsageError("no such file or folder", str(path), f"check the path {folder}")
    try:
        names = sorted(each.name for each in folder.iterdir())
    except OSError:
        names = []
    similar = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    remedy = f"did you mean {folder / similar[0]}?" if similar else "check the name"
    return UsageError("no such file", str(path), remedy)


def _unreadable_file_error(path: Path, error: OSError | ValueError) -> UsageError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UsageError("no such file", str(path), "check the name and its folder")
    what = f"can't be read: {error_reason(error)}"
    return UsageError(what, str(path), "check the name and your permissions")


def find_inputs(
    names: Sequence[str],
    *,
    recursive: bool = False,
    offline: bool = False,
    on_notice: Callable[[str], None] = lambda _: None,
) -> tuple[list[InputSource], list[UsageError]]:
    """Find the recordings named by the user.

    Args:
        names: Files, folders, patterns that the shell did not expand, URLs, `-` for standard input,
            and manifests as `@list.txt` or `@manifest.csv` (the `@` is optional before a name in
            `.jsonl`). Paths in a manifest are relative to its folder. `./-` is a file of that name;
            an existing file `@list.txt` takes precedence over the manifest.
        recursive: Search subfolders too.
        offline: Refuse URLs.
        on_notice: Called with a line about files that are left out of folders and patterns.

    Returns:
        The recordings in the order of the inputs (sorted by name within a folder), without
        duplicates, and an error for each unusable input, line or file. Only manifests are opened,
        and nothing is downloaded.
    """
    finder = _InputFinder(recursive, offline)
    for each in names:
        finder.add(each)
    if finder.skipped:
        on_notice(_describe_skipped(finder.skipped))
    return list(finder.found.values()), finder.problems


class _InputFinder:
    """Collects recordings without duplicates, and errors."""

    def __init__(self, recursive: bool, offline: bool) -> None:
        self.found: dict[str, InputSource] = {}
        self.problems: list[UsageError] = []
        self.skipped: Counter[str] = Counter()
        self._recursive = recursive
        self._offline = offline
        self._resolver = PathResolver()
        self._scheme_errors: dict[str, UsageError | None] = {}

    def add(self, name: str) -> None:
        """Add the recordings of one input."""
        if name == STDIN:
            self._add_stdin()
        elif is_file_url(name):
            self._add_file_url(name)
        elif is_url(name):
            self._add_url(name)
        elif manifest := _manifest_path(name):
            self._add_manifest(manifest)
        else:
            self._add_path(Path(name))

    def _add_stdin(self) -> None:
        if sys.stdin is None or sys.stdin.isatty():
            remedy = "pipe a recording into it, or name a file"
            self.problems.append(UsageError("nothing is piped in", "standard input", remedy))
        else:
            self.found.setdefault(STDIN, InputSource(Path("stdin"), "stdin", url=STDIN))

    def _add_url(self, url: str, entry: ManifestEntry | None = None) -> None:
        try:
            self._check_scheme(url)
            found = parse_input(url)
        except UsageError as error:
            self.problems.append(_with_manifest_line(error, entry))
        else:
            self.found.setdefault(url, _with_manifest_fields(found, entry))

    def _check_scheme(self, url: str) -> None:
        """Check a URL's scheme, once for each scheme: the search for a missing package is slow.

        Raises:
            UsageError: It can't be downloaded.
        """
        if self._offline:
            remedy = "leave out --offline, or download it first"
            raise UsageError("can't be downloaded with --offline", display_url(url), remedy)
        scheme = url_scheme(url)
        if scheme not in self._scheme_errors:
            try:
                check_readable_scheme(url)
                self._scheme_errors[scheme] = None
            except UsageError as error:
                self._scheme_errors[scheme] = error
        if problem := self._scheme_errors[scheme]:
            raise UsageError(problem.what, display_url(url), problem.remedy)

    def _add_file_url(self, url: str, entry: ManifestEntry | None = None) -> None:
        try:
            path = path_of_file_url(url)
        except UsageError as error:
            self.problems.append(_with_manifest_line(error, entry))
        else:
            self._add_path(path, entry)

    def _add_manifest(self, path: Path) -> None:
        lines = 0
        try:
            for each in read_manifest(path):
                lines += 1
                if isinstance(each, UsageError):
                    self.problems.append(each)
                elif is_file_url(each.path):
                    self._add_file_url(each.path, each)
                elif is_url(each.path):
                    self._add_url(each.path, each)
                else:
                    self._add_path(path.parent / each.path, each, _named_root(path.parent, each))
        except UsageError as error:
            self.problems.append(error)
        else:
            if not lines:
                remedy = "write one path or URL per line"
                self.problems.append(UsageError("no recordings in this list", str(path), remedy))

    def _find_files(
        self, path: Path, entry: ManifestEntry | None
    ) -> Iterator[FoundFile | UsageError]:
        return find_files(path, self.skipped, recursive=self._recursive, suggest=entry is None)

    def _add_path(
        self, path: Path, entry: ManifestEntry | None = None, root: Path | None = None
    ) -> None:
        for each in self._find_files(path, entry):
            if isinstance(each, UsageError):
                self.problems.append(_with_manifest_line(each, entry))
            else:
                found = InputSource(each.path, each.path.name, root=root or each.root)
                self.found.setdefault(self._file_key(each), _with_manifest_fields(found, entry))

    def _file_key(self, file: FoundFile) -> str:
        # A link and its target are the same recording.
        return (
            os.path.realpath(file.path) if file.is_link else self._resolver.resolve_file(file.path)
        )


def _manifest_path(name: str) -> Path | None:
    """Return the path of the manifest that a name means; None if it means no manifest."""
    # A pattern expanded by the shell may give a recording whose name begins with @.
    if name.startswith("@") and not os.path.lexists(name):
        return Path(name[1:]).expanduser()
    return Path(name) if name.lower().endswith(JSON_LINES_SUFFIXES) else None


def _named_root(folder: Path, entry: ManifestEntry) -> Path | None:
    path = Path(entry.path)
    return None if path.is_absolute() or ".." in path.parts else folder


def _with_manifest_fields(found: InputSource, entry: ManifestEntry | None) -> InputSource:
    """Add the manifest's fields to a recording."""
    if entry is None:
        return found
    return replace(found, language=entry.language, reference=entry.reference)


def _with_manifest_line(problem: UsageError, entry: ManifestEntry | None) -> UsageError:
    """Add the manifest's line to an error."""
    if entry is None:
        return problem
    return UsageError(f"{problem.what}: {problem.where}", entry.where, problem.remedy)
