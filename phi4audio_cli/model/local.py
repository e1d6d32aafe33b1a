"""The backend that runs the network in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
import transformers

from phi4audio_cli.background import PrefetchThread
from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.model.answering import Answering
from phi4audio_cli.model.devices import choose_attention, choose_device, choose_dtype
from phi4audio_cli.model.heap import keep_freed_memory
from phi4audio_cli.model.hearing import HEARD_ON_CPU, HEARD_TOGETHER, Hearing
from phi4audio_cli.model.inputs import InputBuilder
from phi4audio_cli.model.limit import Limit
from phi4audio_cli.model.linears import suit_few_rows
from phi4audio_cli.model.load import build, fill
from phi4audio_cli.model.memory import ENCODER_SECONDS, PassCost
from phi4audio_cli.model.need import rows_that_fit
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.model.placement import free_memory, place
from phi4audio_cli.model.preparing import PREPARED, prepare
from phi4audio_cli.model.quantize import Quantization, wide_parameters
from phi4audio_cli.model.serving import Service
from phi4audio_cli.model.writing import Writer
from phi4audio_cli.types import Generation, Request, RequestFailed

FREE_SHARE = 0.9
"""Share of the free memory that one long pass may take: estimates err, and memory splinters."""


def open_local_backend(
    folder: Path,
    *,
    adapter: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    quantize: str = "none",
    batch_size: int | Literal["auto"] = 8,
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
        quantize: `none`, or `int8` or `int4` for the weights of the decoder's linear layers.
        batch_size: Most requests answered at once; `auto`: as many as fit the memory and pay.
        on_note: Told in one line what a user should know, such as weights left on the CPU.
        on_stage: Told what goes on during a long pass, and an empty text when it is over.

    Raises:
        ModelError: Device, dtype or memory don't allow it.
        CheckpointError: The checkpoint is not what it must be.
    """
    transformers.logging.set_verbosity_error()  # its advice is for those who write code
    run_on = choose_device(device)
    if run_on.type == "cpu":
        keep_freed_memory()
    checkpoint = open_checkpoint(folder, adapter=adapter)
    parameters = wide_parameters(quantize, checkpoint.config, checkpoint.audio_parameters)
    store_as = choose_dtype(dtype, run_on, parameters)
    checkpoint = replace(checkpoint, dtype=store_as)
    model = build(checkpoint.config, choose_attention(attention, run_on, store_as))
    quantized = Quantization.of(quantize, run_on, store_as)
    placement = place(model, run_on, store_as, quantized)
    if note := placement.note():
        on_note(note)
    if batch_size == "auto":
        batch_size = rows_that_fit(model, run_on, store_as, quantized)
    fill(model, checkpoint.mapped_tensors(), store_as, placement, quantized)
    suit_few_rows(model)
    inputs = InputBuilder.from_folder(folder, run_on)
    backend = LocalBackend(model, inputs, _stop_tokens(folder, model, inputs), batch_size)
    backend.on_note, backend.on_stage = on_note, on_stage
    return backend


class LocalBackend:
    """Answers requests side by side, each in a slot; each answer is the one it would get alone.

    What doesn't fit the memory at once is tried with fewer rows, and later ones stay as few. What
    fails even alone comes back as `RequestFailed`.
    """

    def __init__(
        self,
        model: Phi4AudioForCausalLM,
        inputs: InputBuilder,
        stop_tokens: frozenset[int],
        batch_size: int,
    ) -> None:
        self.model = model
        self.inputs = inputs
        self.batch_size = batch_size
        on_cpu = self._weight.device.type == "cpu"
        self.heard_together = HEARD_ON_CPU if on_cpu else HEARD_TOGETHER
        self.on_note: Callable[[str], None] = lambda note: None
        self.on_stage: Callable[[str], None] = lambda stage: None
        self.writer = Writer(model, stop_tokens)

    def generate(
        self, feed: Iterable[Request | None], stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Generation | RequestFailed]:
        """Answer requests; features are computed ahead in a thread while the network runs.

        Raises:
            ModelError: The device is lost.
        """
        prepared = PrefetchThread(prepare(self.inputs, feed), PREPARED)
        prepared.start()
        self.writer.forget()
        service = Service(
            self.writer,
            Hearing(self.model, self.heard_together),
            Answering(self.inputs),
            Limit(self.batch_size, self._lower),
            prepared,
            stop,
            self.on_stage,
        )
        try:
            yield from service.answers()
        finally:
            prepared.close()

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
        cost = PassCost.of(self.model.config, self._weight.dtype.itemsize)
        return cost.longest(wanted, FREE_SHARE * free_memory(self._weight.device))

    @property
    def _weight(self) -> torch.Tensor:
        weight: torch.Tensor = self.model.get_input_embeddings().weight
        return weight

    def _lower(self, wanted: int, fitting: int) -> None:
        self.on_note(
            f"{wanted} chunks at once don't fit the memory: from here on it is {fitting} at most"
        )
        self.batch_size = fitting


def _stop_tokens(folder: Path, model: Phi4AudioForCausalLM, inputs: InputBuilder) -> frozenset[int]:
    """Collect the ids that end a generation, from wherever the layouts keep them."""
    stops = {inputs.end_token}
    path = folder / "generation_config.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for ids in (found.get("eos_token_id"), model.config.eos_token_id):
        stops.update(ids if isinstance(ids, list) else [ids] if ids is not None else [])
    return frozenset(stops)
