"""Speech translation: one request a chunk and language, or transcript and translation in one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from phi4audio_cli.languages import Language
from phi4audio_cli.tasks.overlaps import set_apart
from phi4audio_cli.tasks.pieces import ENCODER_SECONDS, heard, placed_segment, speech_budget
from phi4audio_cli.tasks.prompts import Prompts, fill
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.tasks.transcribe import transcribe_prompt
from phi4audio_cli.text.stitch import join
from phi4audio_cli.types import Chunk, Generation, Request, Segment, Translation, Translations

BOTH, TRANSCRIPT = "both", "transcript"
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
        chunk_seconds: float = ENCODER_SECONDS,
        prompts: Prompts | None = None,
    ) -> None:
        prompts = prompts or Prompts()
        self.targets = tuple(targets)
        self.language = language
        self.with_transcript = with_transcript or bilingual
        self.bilingual = bilingual
        self.max_chunk_seconds = min(chunk_seconds, ENCODER_SECONDS)
        self.variants = tuple(target.code for target in targets)
        self._plain = {each.code: fill(prompts.translate, language=each.name) for each in targets}
        self._both = fill(prompts.transcribe_translate, language=targets[0].name)
        self._transcribe = transcribe_prompt(prompts, language)

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Ask for each language; for the first together with what was said, if that is wanted."""
        budget = speech_budget(chunk)
        first, *others = self.targets
        if self.with_transcript:
            yield Request(job, chunk, self._both, 2 * budget, BOTH)
        else:
            yield self._alone(job, chunk, first.code)
        for target in others:
            yield self._alone(job, chunk, target.code)

    def _alone(self, job: int, chunk: Chunk, code: str) -> Request:
        return Request(job, chunk, self._plain[code], speech_budget(chunk), code)

    def repair(self, answer: Generation) -> Sequence[Request]:
        """Ask plainly, one after the other, where an answer has no or more than one separator."""
        request = answer.request
        if request.label != BOTH or not answer.text or _halves(answer.text) is not None:
            return ()
        chunk = heard(answer)
        transcript = Request(request.job, chunk, self._transcribe, speech_budget(chunk), TRANSCRIPT)
        return (transcript, self._alone(request.job, chunk, self.targets[0].code))

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Translations:
        """Make one segment of each chunk that has a translation, for each language."""
        chunks: dict[int, dict[str, Generation]] = {}
        for answer in answers:
            of_chunk = chunks.setdefault(heard(answer).index, {})
            of_chunk |= self._pieces(answer)
        ordered = [chunks[index] for index in sorted(chunks)]
        each = (self._translation(target, ordered, seconds) for target in self.targets)
        return Translations(tuple(each), seconds)

    def _pieces(self, answer: Generation) -> Mapping[str, Generation]:
        """Return what an answer gives: a text for each label, without any separator."""
        label = answer.request.label
        if label == BOTH:
            halves = _halves(answer.text)
            if halves is None:  # asked again
                return {}
            labels = (TRANSCRIPT, self.targets[0].code)
            return {
                name: replace(answer, text=half) for name, half in zip(labels, halves, strict=True)
            }
        stretches = SEPARATOR.split(answer.text)
        kept = stretches[0] if label == TRANSCRIPT else stretches[-1]
        return {label: replace(answer, text=kept.strip())}

    def _translation(
        self, target: Language, chunks: Sequence[Mapping[str, Generation]], seconds: float
    ) -> Translation:
        translated, transcribed = _placed(chunks, target.code), _placed(chunks, TRANSCRIPT)
        segments = tuple(
            replace(
                segment,
                id=index,
                transcript=transcribed[place].text if place in transcribed else None,
            )
            for index, (place, segment) in enumerate(translated.items())
        )
        asked_both = self.with_transcript and target is self.targets[0]
        return Translation(
            text=join(segment.text for segment in segments),
            language=target.name,
            code=target.code,
            segments=segments,
            duration=seconds,
            prompt=self._both if asked_both else self._plain[target.code],
            source_language=self.language,
            bilingual=self.bilingual,
        )


def _halves(text: str) -> tuple[str, str] | None:
    """Split at the one separator into what was said and its translation; None: it can't be."""
    halves = [half.strip() for half in SEPARATOR.split(text)]
    return (halves[0], halves[1]) if len(halves) == 2 and all(halves) else None


def _placed(chunks: Sequence[Mapping[str, Generation]], label: str) -> dict[int, Segment]:
    """Return one label's texts as segments by the chunk's index; none says anything twice."""
    answers = [of[label] for of in chunks if label in of and of[label].text]
    segments = [placed_segment(index, answer) for index, answer in enumerate(answers)]
    heard_in = [heard(answer) for answer in answers]
    apart = set_apart(segments, heard_in)
    return {chunk.index: each for chunk, each in zip(heard_in, apart, strict=True) if each.text}
