"""The backend that runs the network in this process with PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from phi4audio_cli.background import PrefetchThread
from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.model.batch_decoder import BatchDecoder, RunningSequence
from phi4audio_cli.model.batch_limit import BatchLimit
from phi4audio_cli.model.devices import choose_device, choose_dtype
from phi4audio_cli.model.encoder_cache import (
    MAX_ENCODER_WINDOWS,
    MAX_ENCODER_WINDOWS_CPU,
    EncoderCache,
)
from phi4audio_cli.model.failure_tracker import FailureTracker
from phi4audio_cli.model.inputs import PREFETCHED_REQUESTS, PromptBuilder, prepare_requests
from phi4audio_cli.model.loading import build, fill
from phi4audio_cli.model.memory_estimate import LongAudioCost, auto_batch_size
from phi4audio_cli.model.oom import overflow_error
from phi4audio_cli.model.placement import free_memory, plan_placement
from phi4audio_cli.model.quantization import Quantization, float32_equivalent
from phi4audio_cli.model.scheduler import Scheduler
from phi4audio_cli.model.word_timestamps import align_words
from phi4audio_cli.network.cpu_kernels import tune_malloc
from phi4audio_cli.network.phi4 import Phi4Audio
from phi4audio_cli.types import ENCODER_WINDOW_SECONDS, Generation, Request, RequestFailed, Word

LONG_AUDIO_MEMORY_SHARE = 0.9
"""Share of the free memory that one long pass may take: estimates err, and memory fragments."""

TIME_DIGITS = 3
"""Decimal digits of word times and probabilities."""


def open_torch_backend(
    folder: Path,
    *,
    adapter: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str = "none",
    batch_size: int | Literal["auto"] = 8,
    on_notice: Callable[[str], None] = lambda notice: None,
    on_status: Callable[[str], None] = lambda status: None,
) -> TorchBackend:
    """Load a checkpoint of any layout.

    Args:
        folder: Of the checkpoint.
        adapter: Folder of another speech LoRA, in peft's format.
        device: `auto` or torch's name.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        quantize: `none`, or `int8` or `int4` for the weights of the decoder's linear layers.
        batch_size: Most requests answered at once; `auto`: as many as the memory holds.
        on_notice: Called with one line for the user, such as weights that stay on the CPU.
        on_status: Called with the stage of a long pass, and with an empty text at its end.

    Raises:
        ModelError: Device, dtype or memory don't allow it.
        CheckpointError: The checkpoint is damaged or of another model.
    """
    run_on = choose_device(device)
    if run_on.type == "cpu":
        tune_malloc()
    checkpoint = open_checkpoint(folder, adapter=adapter)
    parameters = float32_equivalent(quantize, checkpoint.config, checkpoint.audio_parameters)
    store_as = choose_dtype(dtype, run_on, parameters)
    checkpoint = replace(checkpoint, dtype=store_as)
    network = build(checkpoint.config)
    quantization = Quantization.of(quantize, run_on, store_as)
    placement = plan_placement(network, run_on, store_as, quantization)
    if notice := placement.notice():
        on_notice(notice)
    if batch_size == "auto":
        batch_size = auto_batch_size(network, run_on, store_as, quantization)
    fill(network, checkpoint.mapped_tensors(), store_as, placement, quantization)
    builder = PromptBuilder.from_folder(folder, run_on)
    stop_tokens = _stop_tokens(folder, network, builder)
    backend = TorchBackend(network, builder, stop_tokens, batch_size)
    backend.on_notice, backend.on_status = on_notice, on_status
    return backend


class TorchBackend:
    """Answers requests in batches; each answer is the one that the request gets alone.

    On out-of-memory the batch size is reduced, also for later calls. A request that fails even
    alone comes back as `RequestFailed`.
    """

    def __init__(
        self,
        network: Phi4Audio,
        builder: PromptBuilder,
        stop_tokens: frozenset[int],
        batch_size: int,
    ) -> None:
        self.network = network
        self.builder = builder
        self.batch_size = batch_size
        on_cpu = network.device.type == "cpu"
        self.max_encoder_windows = MAX_ENCODER_WINDOWS_CPU if on_cpu else MAX_ENCODER_WINDOWS
        self.on_notice: Callable[[str], None] = lambda notice: None
        self.on_status: Callable[[str], None] = lambda status: None
        self.decoder = BatchDecoder(network, stop_tokens)
        self.failures = FailureTracker()

    def generate(
        self, feed: Iterable[Request | None], stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Generation | RequestFailed]:
        """Answer requests; a thread prepares the next ones while the network runs.

        Args:
            feed: Requests; None is a flush: no more come until those before it are answered.
            stop: Returns whether no further request is to be started.

        Raises:
            ModelError: The device is lost.
            NetworkError: The network's code fails, whatever the recording.
        """
        prepared = PrefetchThread(prepare_requests(self.builder, feed), PREFETCHED_REQUESTS)
        prepared.start()
        self.decoder.free_all()
        scheduler = Scheduler(
            self.decoder,
            EncoderCache(self.network, self.max_encoder_windows),
            self._to_generation,
            BatchLimit(self.batch_size, self._on_reduced),
            self.failures,
            prepared,
            stop,
            self.on_status,
        )
        try:
            yield from scheduler.run()
        finally:
            prepared.close()

    def longest_chunk(self, wanted: float) -> float:
        """Return the longest chunk whose pass fits the free memory, at most `wanted`, in seconds.

        One encoder window (40 s) always counts as fitting.
        """
        if wanted <= ENCODER_WINDOW_SECONDS:
            return wanted
        cost = LongAudioCost.of(self.network.config, self.network.dtype.itemsize)
        return cost.longest(wanted, LONG_AUDIO_MEMORY_SHARE * free_memory(self.network.device))

    def _to_generation(
        self, request: Request, sequence: RunningSequence
    ) -> Generation | RequestFailed:
        """Return the answer of a finished sequence, with word times where they are asked for."""
        output = sequence.output
        if not output.finite:
            return RequestFailed(request, overflow_error(request, self.network.dtype))
        words: tuple[Word, ...] = ()
        if request.align:
            cache, decode = self.decoder.cache, self.builder.decode_raw
            words = align_words(self.network, cache, sequence, decode)
        offset = request.chunk.start_seconds if request.chunk else 0.0
        return Generation(
            request=request,
            text=self.builder.decode(output.tokens),
            tokens=tuple(output.tokens),
            logprobs=tuple(output.logprobs),
            finish=output.finish,
            words=tuple(_shifted(word, offset) for word in words),
        )

    def _on_reduced(self, wanted: int, fitting: int) -> None:
        self.on_notice(
            f"{wanted} chunks at once don't fit the memory: from now on at most {fitting} run"
        )
        self.batch_size = fitting


def _shifted(word: Word, offset: float) -> Word:
    """Move a word by `offset` seconds, and round its times and probability."""
    probability = None if word.probability is None else round(word.probability, TIME_DIGITS)
    return Word(
        word.word,
        start=round(word.start + offset, TIME_DIGITS),
        end=round(word.end + offset, TIME_DIGITS),
        probability=probability,
    )


def _stop_tokens(folder: Path, network: Phi4Audio, builder: PromptBuilder) -> frozenset[int]:
    """Return the ids that end an output; the layouts keep them in different files."""
    stop_tokens = {builder.end_token, *network.config.eos_token_ids}
    path = folder / "generation_config.json"
    if path.is_file():
        ids = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
        stop_tokens.update(ids if isinstance(ids, list) else [ids] if ids is not None else [])
    return frozenset(stop_tokens)
