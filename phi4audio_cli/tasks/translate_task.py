"""Speech translation: one request per chunk and language, or transcript and translation in one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from phi4audio_cli.languages import Language
from phi4audio_cli.tasks.chunk_answers import (
    ENCODER_WINDOW_SECONDS,
    chunk_of,
    group_by_chunk,
    interpolated_segment,
    token_budget,
)
from phi4audio_cli.tasks.prompts import Prompts, fill_placeholders
from phi4audio_cli.tasks.quality import suspected_defects
from phi4audio_cli.tasks.retry import SelectedAnswer, retry_requests, select_best
from phi4audio_cli.tasks.segments import ChunkSegment, build_segments, measure_coverage
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.tasks.transcribe_task import transcribe_prompt
from phi4audio_cli.text.words import join_texts
from phi4audio_cli.types import Chunk, Generation, Request, Segment, Translation, Translations

LABEL_BOTH, LABEL_TRANSCRIPT = "both", "transcript"
"""Labels of requests; a translation alone is labelled with its language's code."""

SEPARATOR = re.compile(r"<\s*sep\s*>", re.IGNORECASE)


class Translate(Task):
    """Translate into one or more languages.

    Args:
        targets: Languages to translate into, at least one, none twice.
        language: English name of the spoken language, if known.
        with_transcript: Ask for what was said, too: together with the first language.
        bilingual: Show both in subtitles; asks for what was said.
        chunk_seconds: Longest chunk, at most 40 s.
        prompts: What is said to the model.
    """

    def __init__(
        self,
        targets: Sequence[Language],
        language: str | None = None,
        *,
        with_transcript: bool = False,
        bilingual: bool = False,
        chunk_seconds: float = ENCODER_WINDOW_SECONDS,
        prompts: Prompts | None = None,
    ) -> None:
        prompts = prompts or Prompts()
        self.targets = tuple(targets)
        self.language = language
        self.with_transcript = with_transcript or bilingual
        self.bilingual = bilingual
        self.max_chunk_seconds = min(chunk_seconds, ENCODER_WINDOW_SECONDS)
        self.variants = tuple(target.code for target in targets)
        self._plain = {
            each.code: fill_placeholders(prompts.translate, language=each.name) for each in targets
        }
        self._both = fill_placeholders(prompts.transcribe_translate, language=targets[0].name)
        self._transcribe = transcribe_prompt(prompts, language)

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Ask for each language; for the first together with what was said, if that is wanted."""
        budget = token_budget(chunk)
        first, *others = self.targets
        if self.with_transcript:
            yield Request(job, chunk, self._both, 2 * budget, LABEL_BOTH)
        else:
            yield self._translation_request(job, chunk, first.code)
        for target in others:
            yield self._translation_request(job, chunk, target.code)

    def _translation_request(self, job: int, chunk: Chunk, code: str) -> Request:
        return Request(job, chunk, self._plain[code], token_budget(chunk), code)

    def retry(self, answer: Generation) -> Sequence[Request]:
        """Ask plainly, one after the other, where one answer can't serve for both.

        It has no separator, more than one, or is doubtful. About a doubtful plain answer's chunk
        it is asked again in halves.
        """
        request = answer.request
        if request.label != LABEL_BOTH:
            return retry_requests(answer, self._expected_language(request.label))
        if not self._is_defective(answer):
            return ()
        chunk = chunk_of(answer)
        transcript = Request(
            request.job, chunk, self._transcribe, token_budget(chunk), LABEL_TRANSCRIPT
        )
        return (transcript, self._translation_request(request.job, chunk, self.targets[0].code))

    def _is_defective(self, answer: Generation) -> bool:
        pieces = self._split_answer(answer)
        return not pieces or any(
            suspected_defects(piece, self._expected_language(name))
            for name, piece in pieces.items()
        )

    def _expected_language(self, label: str) -> str | None:
        """Return the language that answers with a label must be in; None: it isn't known."""
        names = {target.code: target.name for target in self.targets}
        return self.language if label == LABEL_TRANSCRIPT else names.get(label)

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Translations:
        """Make one segment of each chunk that has a translation, for each language."""
        kept: dict[str, list[SelectedAnswer]] = {}
        for of_chunk in group_by_chunk(answers):
            for label, pieces in self._group_by_label(of_chunk).items():
                kept.setdefault(label, []).extend(
                    select_best(pieces, self._expected_language(label))
                )
        said = build_segments(kept.get(LABEL_TRANSCRIPT, ()), interpolated_segment)
        each = (
            self._build_translation(target, kept.get(target.code, ()), said, seconds)
            for target in self.targets
        )
        return Translations(tuple(each), seconds)

    def _group_by_label(self, answers: Iterable[Generation]) -> Mapping[str, list[Generation]]:
        found: dict[str, list[Generation]] = {}
        for answer in answers:
            for label, piece in self._split_answer(answer).items():
                found.setdefault(label, []).append(piece)
        return found

    def _split_answer(self, answer: Generation) -> Mapping[str, Generation]:
        """Return what an answer gives: a text for each label, without any separator."""
        label = answer.request.label
        if label == LABEL_BOTH and not answer.text:
            return {LABEL_TRANSCRIPT: answer, self.targets[0].code: answer}
        if label == LABEL_BOTH:
            halves = _split_at_separator(answer.text)
            if halves is None:  # asked again
                return {}
            # What was said is complete where the separator follows, whatever comes after it.
            said = replace(answer, text=halves[0], finish="stop")
            return {LABEL_TRANSCRIPT: said, self.targets[0].code: replace(answer, text=halves[1])}
        stretches = SEPARATOR.split(answer.text)
        kept = stretches[0] if label == LABEL_TRANSCRIPT else stretches[-1]
        return {label: replace(answer, text=kept.strip())}

    def _build_translation(
        self,
        target: Language,
        kept: Sequence[SelectedAnswer],
        said: Sequence[ChunkSegment],
        seconds: float,
    ) -> Translation:
        segments = _attach_transcripts(build_segments(kept, interpolated_segment), said)
        asked_both = self.with_transcript and target is self.targets[0]
        coverage = measure_coverage(kept)
        return Translation(
            text=join_texts(segment.text for segment in segments),
            language=target.name,
            code=target.code,
            segments=tuple(segments),
            duration=seconds,
            prompt=self._both if asked_both else self._plain[target.code],
            source_language=self.language,
            bilingual=self.bilingual,
            speech=coverage.speech,
            uncovered=coverage.uncovered,
        )


def _split_at_separator(text: str) -> tuple[str, str] | None:
    """Split at the one separator into what was said and its translation; None: it can't be."""
    halves = [half.strip() for half in SEPARATOR.split(text)]
    return (halves[0], halves[1]) if len(halves) == 2 and all(halves) else None


def _attach_transcripts(
    translated: Sequence[ChunkSegment], said: Sequence[ChunkSegment]
) -> list[Segment]:
    """Put what was said beside its translation.

    Where only one of them is in halves, what was said stands beside the part in which it begins.
    """
    beside: dict[int, list[str]] = {}
    for chunk, segment in said:
        of_chunk = [
            place for place, (other, _) in enumerate(translated) if _same_chunk(other, chunk)
        ]
        begun = [place for place in of_chunk if translated[place][0].start <= chunk.start]
        if of_chunk:
            beside.setdefault((begun or of_chunk[:1])[-1], []).append(segment.text)
    return [
        replace(segment, transcript=join_texts(beside[place]) if place in beside else None)
        for place, (_, segment) in enumerate(translated)
    ]


def _same_chunk(one: Chunk, other: Chunk) -> bool:
    return (one.index, one.speaker) == (other.index, other.speaker)
