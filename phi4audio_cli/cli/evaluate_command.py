"""The command `phi4audio eval`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phi4audio_cli import __version__
from phi4audio_cli.cli import options
from phi4audio_cli.cli.option_groups import EvaluateOptions, expand_options
from phi4audio_cli.errors import ExitCode, UsageError
from phi4audio_cli.formatting import format_duration

if TYPE_CHECKING:
    from phi4audio_cli.cli.display import Display
    from phi4audio_cli.evaluation.score_report import SpeechReport, TextPair, TranslationReport
    from phi4audio_cli.jobs.references import Reference
    from phi4audio_cli.languages import Language
    from phi4audio_cli.settings import Settings
    from phi4audio_cli.tasks.task import Task
    from phi4audio_cli.types import Event, Job


class TaskName(StrEnum):
    """A task that can be scored."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help="Manifests (.jsonl with audio and reference), or recordings with talk.ref.txt in the "
        "same folder; with --from, finished transcripts in JSON.",
    ),
]
TaskChoice = Annotated[TaskName, typer.Option("--task", help="Task to run and score.")]
TargetLanguage = Annotated[
    str | None,
    typer.Option("--lang", "-L", metavar="LANGUAGE", help="Language of the translation."),
]
FromTranscripts = Annotated[
    bool,
    typer.Option("--from", help="Score finished transcripts, without the model."),
]
References = Annotated[
    Path | None,
    typer.Option(
        "--references",
        metavar="PATH",
        help="With --from: the manifest, or the folder of the references. "
        "Default: the folder of each transcript.",
    ),
]


@expand_options
def evaluate(
    inputs: Inputs,
    evaluate_options: EvaluateOptions,
    task: TaskChoice = TaskName.TRANSCRIBE,
    lang: TargetLanguage = None,
    finished: FromTranscripts = False,
    references: References = None,
    recursive: options.Recursive = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure errors on your own recordings, against references.

    Transcripts: word and character error rate, raw and normalized. Translations: BLEU and chrF.
    In total and by file, the worst first, with the differences: [-left out-], {+added+}.
    """
    if finished:
        _print_report(_score_transcripts(inputs, references), as_json, {})
        return
    settings = evaluate_options.load_settings()
    target = _target_language(task, lang)
    _check_libraries(target)
    found = _load_references(inputs, target, recursive)
    raise typer.Exit(
        _transcribe_and_score(
            found, target, settings, as_json=as_json, quiet=quiet, verbose=verbose
        )
    )


def _target_language(task: TaskName, lang: str | None) -> Language | None:
    """Return the language to translate into; None to transcribe.

    Raises:
        UsageError: The one needs a language and the other takes none.
    """
    from phi4audio_cli.languages import find_language

    if task is TaskName.TRANSCRIBE:
        if lang:
            remedy = "add --task translate, or give the spoken language with --language"
            raise UsageError("is for translations", f"--lang {lang}", remedy)
        return None
    if not lang:
        raise UsageError("needs a language", "--task translate", "add --lang French, for example")
    return find_language(lang, option="--lang")


def _check_libraries(target: Language | None) -> None:
    from phi4audio_cli.evaluation.metrics import require

    require("jiwer")
    if target:
        require("sacrebleu")


def _load_references(
    inputs: Sequence[str], target: Language | None, recursive: bool
) -> list[Reference]:
    from phi4audio_cli.jobs.references import find_references

    found = find_references(
        inputs, language_code=target.code if target else None, recursive=recursive
    )
    for each in found:
        if not each.source.exists():
            raise UsageError("no such file", str(each.source), "check the manifest's paths")
    return found


def _transcribe_and_score(
    references: Sequence[Reference],
    target: Language | None,
    settings: Settings,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    from phi4audio_cli.cli import local_run
    from phi4audio_cli.cli.live_display import open_display
    from phi4audio_cli.cli.run_stats import RunStats
    from phi4audio_cli.types import Job

    jobs = [Job(index, reference.source) for index, reference in enumerate(references)]
    stats = RunStats(len(jobs))
    with (
        open_display(stats, quiet=quiet, verbose=verbose) as display,
        local_run.open_session(settings, display) as session,
    ):
        timed_jobs = _TimedJobs(jobs)
        events = session.run(timed_jobs, _make_task(target, settings))
        pairs = list(_collect_pairs(events, references, display, timed_jobs.start_times))
        run_info = {"model": settings.model, "rtfx": stats.rtfx and round(stats.rtfx, 2)}
    if pairs:
        _print_report(_build_report(pairs, target.code if target else None), as_json, run_info)
    return ExitCode.FILES_FAILED if len(pairs) < len(jobs) else ExitCode.OK


def _make_task(target: Language | None, settings: Settings) -> Task:
    from phi4audio_cli.jobs.task_builders import transcribe_task, translate_task

    if target is None:
        return transcribe_task(settings, with_word_times=False)
    return translate_task(settings, to=target.name)


class _TimedJobs:
    """Hands jobs out and notes when each was taken: events come later, with the answers."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = jobs
        self.start_times: dict[int, float] = {}

    def __iter__(self) -> Iterator[Job]:
        for job in self._jobs:
            self.start_times[job.index] = time.monotonic()
            yield job


def _collect_pairs(
    events: Iterable[Event],
    references: Sequence[Reference],
    display: Display,
    start_times: Mapping[int, float],
) -> Iterator[TextPair]:
    """Show the events; yield each result with its reference."""
    from phi4audio_cli.evaluation.score_report import TextPair
    from phi4audio_cli.types import FileDone, FileFailed

    for event in events:
        display.on_event(event)
        index = event.job.index
        if isinstance(event, FileDone):
            seconds = time.monotonic() - start_times[index]
            result, source = event.result, str(event.job.source)
            yield TextPair(source, references[index].text, result.text, result.duration, seconds)
        elif isinstance(event, FileFailed):
            display.show_error(event.error)


def _score_transcripts(
    inputs: Sequence[str], references: Path | None
) -> SpeechReport | TranslationReport:
    """Score JSON files.

    Raises:
        UsageError: One is not a transcript or has no reference, or they are not all of a kind.
    """
    from phi4audio_cli.evaluation.score_report import TextPair
    from phi4audio_cli.jobs.references import ReferenceFinder, find_hypotheses

    finder = ReferenceFinder(references)
    texts = list(find_hypotheses(inputs))
    kinds = {(each.task, each.language if each.task == "translate" else None) for each in texts}
    if len(kinds) != 1 or next(iter(kinds))[0] not in tuple(TaskName):
        names = ", ".join(sorted(" to ".join(filter(None, kind)) for kind in kinds)) or "nothing"
        remedy = "give transcripts only, or translations into one language only"
        raise UsageError(f"these can't be scored together: {names}", "--from", remedy)
    pairs = [TextPair(each.source, finder.find(each), each.text, each.duration) for each in texts]
    return _build_report(pairs, next(iter(kinds))[1])


def _build_report(pairs: Sequence[TextPair], code: str | None) -> SpeechReport | TranslationReport:
    from phi4audio_cli.evaluation.score_report import report_speech, report_translations

    return report_translations(pairs, code) if code else report_speech(pairs)


def _print_report(
    report: SpeechReport | TranslationReport, as_json: bool, run_info: Mapping[str, Any]
) -> None:
    """Print a report to standard output."""
    pairs = [pair for pair, _ in report.files]
    audio = sum(pair.duration or 0.0 for pair in pairs)
    if as_json:
        entries = {
            "phi4audio": __version__,
            **run_info,
            "audio": round(audio, 3),
            **report.as_json(),
        }
        typer.echo(json.dumps(entries, ensure_ascii=False, indent=2))
        return
    speed = f", RTFx {run_info['rtfx']:.1f}" if run_info.get("rtfx") else ""
    typer.echo(f"{len(pairs)} files, {format_duration(audio)} of audio{speed}")
    for line in report.lines():
        typer.echo(line)
