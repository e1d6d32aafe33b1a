"""Speech translation: one request per chunk and language, optionally with the transcript."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from phi4audio_cli.languages import Language
from phi4audio_cli.tasks.answer_selection import SelectedAnswer, select_best
from phi4audio_cli.tasks.chunk_answers import (
    chunk_of,
    group_by_chunk,
    token_budget,
)
from phi4audio_cli.tasks.prompts import Prompts, fill_placeholders
from phi4audio_cli.tasks.quality import Assessment, assess
from phi4audio_cli.tasks.retry import retry_requests
from phi4audio_cli.tasks.segments import (
    ChunkSegment,
    build_segments,
    interpolated_segment,
    measure_coverage,
)
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.tasks.transcribe_task import transcribe_prompt
from phi4audio_cli.text.words import join_texts
from phi4audio_cli.types import (
    ENCODER_WINDOW_SECONDS,
    Chunk,
    Generation,
    Request,
    Segment,
    Translation,
    Translations,
)

LABEL_BOTH, LABEL_TRANSCRIPT = "both", "transcript"
"""Labels of requests; a request for a translation only has the code of its language."""

SEPARATOR = re.compile(r"<\s*sep\s*>", re.IGNORECASE)


class Translate(Task):
    """Translate into one or more languages.

    Args:
        targets: At least one language, without repetitions.
        language: English name of the spoken language, if known.
        with_transcript: Request the transcript, too, in one answer with the first language.
        bilingual: Show transcript and translation in subtitles; implies `with_transcript`.
        chunk_seconds: Longest chunk, at most 40 s.
        prompts: The prompts of the model.
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
        """Return one request per language; the first includes the transcript if it is wanted."""
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
        """Return separate requests for transcript and translation, or requests about halves.

        A combined answer is replaced by separate ones if it is defective or does not have exactly
        one separator. A defective separate answer is retried in halves.
        """
        request = answer.request
        if request.label != LABEL_BOTH:
            return retry_requests(self._assess(request.label, answer))
        pieces = self._split_answer(answer)
        if pieces and not any(self._assess(*piece).suspected for piece in pieces.items()):
            return ()
        chunk = chunk_of(answer)
        transcript = Request(
            request.job, chunk, self._transcribe, token_budget(chunk), LABEL_TRANSCRIPT
        )
        return (transcript, self._translation_request(request.job, chunk, self.targets[0].code))

    def _assess(self, label: str, piece: Generation) -> Assessment:
        """Assess a transcript or a translation by the language that its label stands for."""
        names = {target.code: target.name for target in self.targets}
        return assess(piece, self.language if label == LABEL_TRANSCRIPT else names.get(label))

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Translations:
        """Make one segment of each chunk that has a translation, for each language."""
        selected: dict[str, list[SelectedAnswer]] = {}
        for group in group_by_chunk(answers):
            for label, assessments in self._assess_by_label(group).items():
                selected.setdefault(label, []).extend(select_best(assessments))
        transcript = build_segments(selected.get(LABEL_TRANSCRIPT, ()), interpolated_segment)
        each = (
            self._build_translation(target, selected.get(target.code, ()), transcript, seconds)
            for target in self.targets
        )
        return Translations(tuple(each), seconds)

    def _assess_by_label(self, answers: Iterable[Generation]) -> Mapping[str, list[Assessment]]:
        by_label: dict[str, list[Assessment]] = {}
        for answer in answers:
            for label, piece in self._split_answer(answer).items():
                by_label.setdefault(label, []).append(self._assess(label, piece))
        return by_label

    def _split_answer(self, answer: Generation) -> Mapping[str, Generation]:
        """Return the texts of an answer by label, without separators; none: it can't be split."""
        label = answer.request.label
        if label == LABEL_BOTH and not answer.text:
            return {LABEL_TRANSCRIPT: answer, self.targets[0].code: answer}
        if label == LABEL_BOTH:
            halves = _split_at_separator(answer.text)
            if halves is None:
                return {}
            # The transcript is complete, because the separator follows it.
            transcript = replace(answer, text=halves[0], finish="stop")
            translation = replace(answer, text=halves[1])
            return {LABEL_TRANSCRIPT: transcript, self.targets[0].code: translation}
        texts = SEPARATOR.split(answer.text)
        text = texts[0] if label == LABEL_TRANSCRIPT else texts[-1]
        return {label: replace(answer, text=text.strip())}

    def _build_translation(
        self,
        target: Language,
        selected: Sequence[SelectedAnswer],
        transcript: Sequence[ChunkSegment],
        seconds: float,
    ) -> Translation:
        segments = _attach_transcripts(build_segments(selected, interpolated_segment), transcript)
        combined = self.with_transcript and target is self.targets[0]
        coverage = measure_coverage(selected)
        return Translation(
            text=join_texts(segment.text for segment in segments),
            language=target.name,
            code=target.code,
            segments=tuple(segments),
            duration=seconds,
            prompt=self._both if combined else self._plain[target.code],
            source_language=self.language,
            bilingual=self.bilingual,
            speech=coverage.speech,
            uncovered=coverage.uncovered,
        )


def _split_at_separator(text: str) -> tuple[str, str] | None:
    """Split into transcript and translation; None: there is not exactly one separator."""
    halves = [half.strip() for half in SEPARATOR.split(text)]
    return (halves[0], halves[1]) if len(halves) == 2 and all(halves) else None


def _attach_transcripts(
    translated: Sequence[ChunkSegment], transcript: Sequence[ChunkSegment]
) -> list[Segment]:
    """Return the translated segments with their transcripts.

    If only the transcript or only the translation is in halves, a transcript belongs to the
    translated part in which it begins.
    """
    texts: dict[int, list[str]] = {}
    for chunk, segment in transcript:
        same = [place for place, (other, _) in enumerate(translated) if _same_chunk(other, chunk)]
        begun = [place for place in same if translated[place][0].start <= chunk.start]
        if same:
            texts.setdefault((begun or same[:1])[-1], []).append(segment.text)
    return [
        replace(segment, transcript=join_texts(texts[place]) if place in texts else None)
        for place, (_, segment) in enumerate(translated)
    ]


def _same_chunk(one: Chunk, other: Chunk) -> bool:
    return (one.index, one.speaker) == (other.index, other.speaker)
