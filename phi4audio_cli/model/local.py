"""The backend that runs the network in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import transformers

from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.model.align import align
from phi4audio_cli.model.batches import Hearing, batches, windows
from phi4audio_cli.model.devices import choose_attention, choose_device, choose_dtype
from phi4audio_cli.model.generate import Answer, generate, may_cross_rope_switch
from phi4audio_cli.model.inputs import InputBuilder, Pending, Prepared
from phi4audio_cli.model.load import build, fill
from phi4audio_cli.model.memory import ENCODER_SECONDS, PassCost
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.model.placement import free_memory, place
from phi4audio_cli.prefetch import prefetch
from phi4audio_cli.types import Generation, Request, Word

BATCHES_SORTED_TOGETHER = 4
"""Batches' worth of requests that are sorted by length, so that a batch holds like lengths."""

WORD_DIGITS = 3

FREE_SHARE = 0.9
"""Share of the free memory that one long pass may take: estimates err, and memory splinters."""


def open_local_backend(
    folder: Path,
    *,
    adapter: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    batch_size: int = 8,
    on_note: Callable[[str], None] = lambda note: None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> LocalBackend:
    """Load a checkpoint of any layout and make it ready to answer.

    Args:
        folder: Of the checkpoint.
        adapter: Folder of another speech LoRA, in peft's format.
        device: `auto` or torch's name.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        attention: `auto`, `flash_attention_2`, `sdpa` or `eager`.
        batch_size: Most requests answered at once.
        on_note: Told in one line what a user should know, such as weights left on the CPU.
        on_stage: Told what goes on during a long pass, and an empty text when it is over.

    Raises:
        ModelError: Device, dtype or memory don't allow it.
        CheckpointError: The checkpoint is not what it must be.
    """
    transformers.logging.set_verbosity_error()  # its advice is for those who write code
    run_on = choose_device(device)
    checkpoint = open_checkpoint(folder, adapter=adapter)
    store_as = choose_dtype(dtype, run_on, checkpoint.audio_parameters)
    checkpoint = replace(checkpoint, dtype=store_as)
    model = build(checkpoint.config, choose_attention(attention, run_on, store_as))
    placement = place(model, run_on, store_as)
    if note := placement.note():
        on_note(note)
    fill(model, checkpoint.tensors(), store_as, placement)
    inputs = InputBuilder.from_folder(folder)
    backend = LocalBackend(model, inputs, _stop_tokens(folder, model, inputs), batch_size)
    backend.on_note, backend.on_stage = on_note, on_stage
    return backend


class LocalBackend:
    """Answers requests in batches of like lengths; each answer is the one it would get alone."""

    def __init__(
        self,
        model: Phi4AudioForCausalLM,
        inputs: InputBuilder,
        stop_tokens: frozenset[int],
        batch_size: int,
    ) -> None:
        self.model = model
        self.inputs = inputs
        self.stop_tokens = stop_tokens
        self.batch_size = batch_size
        self.on_note: Callable[[str], None] = lambda note: None
        self.on_stage: Callable[[str], None] = lambda stage: None

    def generate(self, feed: Iterable[Request | None]) -> Iterator[Generation]:
        """Answer requests; features are computed ahead in a thread while the network runs."""
        window = self.batch_size * BATCHES_SORTED_TOGETHER
        prepared = prefetch(self.inputs.prepare_all(feed), window)
        for pending in windows(prepared, window):
            hearing = Hearing(self.model, [row for _, row in pending])
            for batch in batches(pending, self.batch_size, self._must_be_alone):
                yield from self._answer(batch, hearing)

    def longest_chunk(self, wanted: float) -> float:
        """Return the longest chunk whose pass fits the free memory, at most `wanted`, in seconds.

        What the encoder hears at once (40 s) always counts as fitting.
        """
        if wanted <= ENCODER_SECONDS:
            return wanted
        if self.model.config._attn_implementation == "eager":
            # The scores of 30 minutes alone would be 24 GB a layer.
            self.model.set_attn_implementation("sdpa")
            self.on_note("eager attention can't hold long audio: sdpa takes its place")
        weight = self.model.get_input_embeddings().weight
        cost = PassCost.of(self.model.config, weight.dtype.itemsize)
        return cost.longest(wanted, FREE_SHARE * free_memory(weight.device))

    def _answer(self, batch: list[Pending], hearing: Hearing) -> Iterator[Generation]:
        rows = [row for _, row in batch]
        with self._told(batch) as tell:
            heard = hearing.of(rows)
            answers = generate(self.model, rows, self.stop_tokens, heard, tell)
        words = self._align(batch, heard, answers)
        for (request, _), answer, found in zip(batch, answers, words, strict=True):
            yield self._generation(request, answer, found)

    @contextmanager
    def _told(self, batch: list[Pending]) -> Iterator[Callable[[str], None]]:
        """Tell the stages of a pass long enough to wonder about."""
        seconds = sum(request.chunk.seconds for request, _ in batch[:1] if request.chunk)
        if seconds <= ENCODER_SECONDS:
            yield lambda stage: None
            return
        minutes, rest = divmod(round(seconds), 60)
        self.on_stage(f"hearing {minutes}:{rest:02} of audio")
        try:
            yield self.on_stage
        finally:
            self.on_stage("")

    def _align(
        self, batch: list[Pending], heard: list[torch.Tensor], answers: list[Answer]
    ) -> list[tuple[Word, ...]]:
        """Find the words of the answers that want it; the others have none."""
        words: list[tuple[Word, ...]] = [()] * len(batch)
        wanted = [place for place, (request, _) in enumerate(batch) if request.align]
        if wanted:
            found = align(
                self.model,
                [batch[place][1] for place in wanted],
                [heard[place] for place in wanted],
                [answers[place] for place in wanted],
                self.inputs.decode_raw,
            )
            for place, aligned in zip(wanted, found, strict=True):
                words[place] = aligned
        return words

    def _must_be_alone(self, row: Prepared) -> bool:
        return may_cross_rope_switch(self.model, row)

    def _generation(self, request: Request, answer: Answer, words: tuple[Word, ...]) -> Generation:
        offset = request.chunk.start_seconds if request.chunk else 0.0
        return Generation(
            request=request,
            text=self.inputs.decode(answer.tokens),
            tokens=tuple(answer.tokens),
            logprobs=tuple(answer.logprobs),
            finish=answer.finish,
            words=tuple(_rounded(word, offset) for word in words),
        )


def _rounded(word: Word, offset: float) -> Word:
    """Move a word by `offset` seconds; further digits would depend on how rows were batched."""
    probability = None if word.probability is None else round(word.probability, WORD_DIGITS)
    return Word(
        word.word,
        start=round(word.start + offset, WORD_DIGITS),
        end=round(word.end + offset, WORD_DIGITS),
        probability=probability,
    )


def _stop_tokens(folder: Path, model: Phi4AudioForCausalLM, inputs: InputBuilder) -> frozenset[int]:
    """Collect the ids that end a generation, from wherever the layouts keep them."""
    stops = {inputs.end_token}
    path = folder / "generation_config.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for ids in (found.get("eos_token_id"), model.config.eos_token_id):
        stops.update(ids if isinstance(ids, list) else [ids] if ids is not None else [])
    return frozenset(stops)
