"""The backend that runs the network in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
import transformers

from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.model.devices import choose_attention, choose_device, choose_dtype
from phi4audio_cli.model.generate import Answer, generate, may_cross_rope_switch
from phi4audio_cli.model.inputs import InputBuilder, Prepared
from phi4audio_cli.model.load import build, fill
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.model.placement import place
from phi4audio_cli.prefetch import prefetch
from phi4audio_cli.types import Generation, Request

BATCHES_SORTED_TOGETHER = 4
"""Batches' worth of requests that are sorted by length, so that a batch holds like lengths."""

Pending = tuple[Request, Prepared]


def open_local_backend(
    folder: Path,
    *,
    adapter: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    batch_size: int = 8,
    on_note: Callable[[str], None] = lambda note: None,
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
    return LocalBackend(model, inputs, _stop_tokens(folder, model, inputs), batch_size)


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

    def generate(self, feed: Iterable[Request]) -> Iterator[Generation]:
        """Answer requests; features are computed ahead in a thread while the network runs."""
        window = self.batch_size * BATCHES_SORTED_TOGETHER
        prepared = prefetch(((item, self.inputs.prepare(item)) for item in feed), window)
        while pending := list(islice(prepared, window)):
            for batch in self._batches(pending):
                answers = generate(self.model, [row for _, row in batch], self.stop_tokens)
                for (request, _), answer in zip(batch, answers, strict=True):
                    yield self._generation(request, answer)

    def _batches(self, pending: list[Pending]) -> Iterator[list[Pending]]:
        """Group requests of like lengths, longest first; what must be alone comes last."""
        ordered = sorted(pending, key=lambda item: item[1].prompt_length, reverse=True)
        alone = [item for item in ordered if may_cross_rope_switch(self.model, item[1])]
        together = [item for item in ordered if not may_cross_rope_switch(self.model, item[1])]
        for start in range(0, len(together), self.batch_size):
            yield together[start : start + self.batch_size]
        for item in alone:
            yield [item]

    def _generation(self, request: Request, answer: Answer) -> Generation:
        return Generation(
            request=request,
            text=self.inputs.decode(answer.tokens),
            tokens=tuple(answer.tokens),
            logprobs=tuple(answer.logprobs),
            finish=answer.finish,
        )


def _stop_tokens(folder: Path, model: Phi4AudioForCausalLM, inputs: InputBuilder) -> frozenset[int]:
    """Collect the ids that end a generation, from wherever the layouts keep them."""
    stops = {inputs.end_token}
    path = folder / "generation_config.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for ids in (found.get("eos_token_id"), model.config.eos_token_id):
        stops.update(ids if isinstance(ids, list) else [ids] if ids is not None else [])
    return frozenset(stops)


def parameter_count(model: torch.nn.Module) -> int:
    """Number of weights, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())
