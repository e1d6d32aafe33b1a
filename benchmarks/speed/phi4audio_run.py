"""Transcribe the clips with phi4audio and time its stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from benchmarks.speed.clips import TimedClip
from benchmarks.speed.stage_timer import StageTimer
from phi4audio_cli.audio import decode
from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.audio.reader import InProcessReader
from phi4audio_cli.audio.speech_chunking import chunk_speech
from phi4audio_cli.audio.subprocess_reader import ReaderProcesses, reader_count
from phi4audio_cli.audio.vad import SileroDetector
from phi4audio_cli.background import PrefetchThread
from phi4audio_cli.model import torch_backend
from phi4audio_cli.model.features import embedding_count
from phi4audio_cli.model.inputs import PromptBuilder
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.network.kv_cache import KVCache
from phi4audio_cli.network.phi4 import Phi4Audio
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.recording_reader import SourceOptions
from phi4audio_cli.tasks.transcribe_task import AlignMode, Transcribe
from phi4audio_cli.types import Chunk, FileDone, FileFailed, Generation, Job, Request

READER_STAGES = ((decode.Recording, "blocks", "decode*"), (SileroDetector, "detect", "vad*"))
"""Stages of the reader subprocesses, which read ahead."""

STAGES = (
    (PromptBuilder, "extract_audio", "features"),
    (Phi4Audio, "encode_clips", "encoder"),
    (Phi4Audio, "prefill", "prefill"),
    (Phi4Audio, "decode_step", "decode steps"),
    (KVCache, "copy_slot", "moving rows"),
    (torch_backend, "align_words", "align"),
    (PrefetchThread, "get", "waiting"),
    (PromptBuilder, "decode", "text"),
)


class ForcedLengthTask(Transcribe):
    """Transcribes with answers of given lengths, by the job's index."""

    def __init__(self, work: Sequence[TimedClip], align: AlignMode) -> None:
        super().__init__("English", align=align)
        self.work = work

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Return requests for the chunk's share of the tokens drawn for the clip."""
        for request in super().requests(job, chunk):
            clip = self.work[job]
            share = (clip.tokens or 0) * chunk.seconds / clip.seconds
            forced = replace(request, max_new_tokens=max(1, round(share)))
            yield request if clip.tokens is None else forced

    def retry(self, answer: object) -> Sequence[Request]:
        """Return no request: the answers are nonsense."""
        return ()


class DecodeStepCounter:
    """Counts decode steps, and the sequences that each computes."""

    def __init__(self) -> None:
        self.steps = self.sequences = 0

    def install(self) -> None:
        """Count every step."""
        step = Phi4Audio.decode_step

        def counted(network: Phi4Audio, cache: KVCache, tokens: Sequence[int], *more: Any) -> Any:
            self.steps += 1
            self.sequences += len(tokens)
            return step(network, cache, tokens, *more)

        setattr(Phi4Audio, "decode_step", counted)  # noqa: B010


class PaddingCounter:
    """Counts the share of padding among the positions that encoder and prefill compute."""

    def __init__(self) -> None:
        self.computed = self.real = 0
        self._in_prefill = False

    def install(self, network: Phi4Audio) -> None:
        """Count input positions of encoder and prefill, and the positions that are computed."""
        encode, prefill = Phi4Audio.encode_clips, Phi4Audio.prefill

        def counted_encode(network: Phi4Audio, clips: Sequence[torch.Tensor]) -> Any:
            self.real += sum(embedding_count(len(clip)) for clip in clips)
            return encode(network, clips)

        def counted_prefill(
            network: Phi4Audio, cache: KVCache, slots: Any, prompts: Sequence[torch.Tensor]
        ) -> Any:
            self.real += sum(map(len, prompts))
            self._in_prefill = True
            try:
                return prefill(network, cache, slots, prompts)
            finally:
                self._in_prefill = False

        def count(_: Any, given: Sequence[torch.Tensor]) -> None:
            self.computed += given[0].shape[0] * given[0].shape[1]

        def count_prefill(_: Any, given: Sequence[torch.Tensor]) -> None:
            if self._in_prefill:
                count(_, given)

        network.audio.encoder.encoders[0].register_forward_pre_hook(count)
        network.model.layers[0].register_forward_pre_hook(count_prefill)
        setattr(Phi4Audio, "encode_clips", counted_encode)  # noqa: B010
        setattr(Phi4Audio, "prefill", counted_prefill)  # noqa: B010


def run_phi4audio(
    folder: Path,
    work: Sequence[TimedClip],
    *,
    batch: int,
    device: str,
    dtype: str,
    align: AlignMode,
    static: bool,
) -> dict[str, Any]:
    """Transcribe all clips with reader subprocesses; start-up is not counted.

    `static`: in batches of clips of similar length that wait for their last answer.
    """
    on_gpu = device.startswith("cuda")
    timer = StageTimer(torch.cuda.synchronize if on_gpu else lambda: None)
    padding, steps = PaddingCounter(), DecodeStepCounter()
    backend = open_torch_backend(folder, device=device, dtype=dtype, batch_size=batch)
    if any(each.tokens for each in work):
        backend.decoder.stop_tokens = frozenset()
    if static:
        backend.generate = partial(_in_static_batches, backend.generate, batch)  # type: ignore[method-assign]
    with ReaderProcesses(
        InProcessReader(chunker=partial(chunk_speech, detector=SileroDetector()))
    ) as readers:
        source_options = SourceOptions(readers=readers.get(reader_count("auto", device)))
        _transcribe(
            backend,
            work[:batch] if on_gpu else work[:1],
            ForcedLengthTask(work, align),
            source_options,
        )
        for owner, attribute, name in STAGES:
            timer.wrap(owner, attribute, name)
        padding.install(backend.network)
        steps.install()
        began = time.perf_counter()
        tokens = _transcribe(backend, work, ForcedLengthTask(work, align), source_options)
        seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "tokens": tokens,
        "padding": 1 - padding.real / max(padding.computed, 1),
        "steps": steps.steps,
        "rows_per_step": steps.sequences / max(steps.steps, 1),
        "stages": dict(timer.seconds) | _time_reading(work),
    }


def _in_static_batches(
    generate: Callable[..., Iterator[Any]], batch: int, feed: Iterable[Request | None], *stop: Any
) -> Iterator[Any]:
    """Answer requests sorted over four batches, each flushed before the next one starts."""
    for part in _split_at_flush(feed):
        for window in range(0, len(part), 4 * batch):
            near = sorted(part[window : window + 4 * batch], key=_seconds, reverse=True)
            for first in range(0, len(near), batch):
                yield from generate([*near[first : first + batch], None], *stop)


def _split_at_flush(feed: Iterable[Request | None]) -> Iterator[list[Request]]:
    part: list[Request] = []
    for request in feed:
        if request is not None:
            part.append(request)
        else:
            yield part
            part = []
    yield part


def _seconds(request: Request) -> float:
    return request.chunk.seconds if request.chunk else 0.0


def _transcribe(
    backend: TorchBackend,
    work: Sequence[TimedClip],
    task: ForcedLengthTask,
    source_options: SourceOptions,
) -> int:
    """Run the pipeline; return the number of tokens of all answers."""
    counting = _CountingBackend(backend)
    jobs = [Job(index, each.path) for index, each in enumerate(work)]
    for event in run_pipeline(
        jobs,
        lambda job: task,
        counting,
        chunk_seconds=task.max_chunk_seconds,
        source_options=source_options,
    ):
        if isinstance(event, FileFailed):
            raise event.error
        if isinstance(event, FileDone):
            counting.done += 1
    if counting.done != len(work):
        raise RuntimeError(f"{counting.done} of {len(work)} clips were transcribed")
    return counting.tokens


def _time_reading(work: Sequence[TimedClip]) -> dict[str, float]:
    """Read all clips once more, on one core like a reader; return the seconds of the stages."""
    timer = StageTimer()
    for owner, attribute, name in READER_STAGES:
        timer.wrap(owner, attribute, name)
    with threadpool_limits(1):
        for each in work:
            with open_audio(each.path) as recording:
                rate = recording.info.sample_rate
                for _ in chunk_speech(recording.blocks(), rate, 40.0, detector=SileroDetector()):
                    pass
    return dict(timer.seconds)


class _CountingBackend:
    """A backend that counts tokens."""

    def __init__(self, backend: TorchBackend) -> None:
        self.backend = backend
        self.tokens = self.done = 0

    def generate(self, *feed: Any) -> Any:
        for answer in self.backend.generate(*feed):
            if isinstance(answer, Generation):
                self.tokens += len(answer.tokens)
            yield answer

    def longest_chunk(self, wanted: float) -> float:
        return self.backend.longest_chunk(wanted)
