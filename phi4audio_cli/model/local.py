"""The backend that runs the network in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import transformers

from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.model.answering import Answering
from phi4audio_cli.model.batches import Hearing, batches, fewer, windows
from phi4audio_cli.model.devices import choose_attention, choose_device, choose_dtype
from phi4audio_cli.model.failures import Failure, release_memory, too_large, understand
from phi4audio_cli.model.generate import may_cross_rope_switch
from phi4audio_cli.model.inputs import InputBuilder, Pending, Prepared
from phi4audio_cli.model.load import build, fill
from phi4audio_cli.model.memory import ENCODER_SECONDS, PassCost
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.model.placement import free_memory, place
from phi4audio_cli.model.preparing import prepare
from phi4audio_cli.model.quantize import Quantization, wide_parameters
from phi4audio_cli.prefetch import prefetch
from phi4audio_cli.types import Generation, Request, Unanswered

BATCHES_SORTED_TOGETHER = 4
"""Batches' worth of requests that are sorted by length, so that a batch holds like lengths."""

STRUCK_IN_A_ROW = 10
"""So many recordings failing one after the other, without an answer, are a fault of ours."""

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
        quantize: `none`, or `int8` or `int4` for the weights of the decoder's linear layers.
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
    parameters = wide_parameters(quantize, checkpoint.config, checkpoint.audio_parameters)
    store_as = choose_dtype(dtype, run_on, parameters)
    checkpoint = replace(checkpoint, dtype=store_as)
    model = build(checkpoint.config, choose_attention(attention, run_on, store_as))
    quantized = Quantization.of(quantize, run_on, store_as)
    placement = place(model, run_on, store_as, quantized)
    if note := placement.note():
        on_note(note)
    fill(model, checkpoint.tensors(), store_as, placement, quantized)
    inputs = InputBuilder.from_folder(folder)
    backend = LocalBackend(model, inputs, _stop_tokens(folder, model, inputs), batch_size)
    backend.on_note, backend.on_stage = on_note, on_stage
    return backend


class LocalBackend:
    """Answers requests in batches of like lengths; each answer is the one it would get alone.

    A batch that doesn't fit the memory is halved until it does, and later ones stay as small. What
    fails even alone comes back as `Unanswered`.
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
        self.on_note: Callable[[str], None] = lambda note: None
        self.on_stage: Callable[[str], None] = lambda stage: None
        self._answering = Answering(model, inputs, stop_tokens, lambda stage: self.on_stage(stage))
        self._struck: set[int] = set()
        """Recordings with a request that failed alone, since the last answer."""

    def generate(
        self, feed: Iterable[Request | None], stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Generation | Unanswered]:
        """Answer requests; features are computed ahead in a thread while the network runs.

        Raises:
            ModelError: The device is lost.
        """
        window = self.batch_size * BATCHES_SORTED_TOGETHER
        prepared = prefetch(prepare(self.inputs, feed), window)
        for pending in windows(prepared, window):
            if isinstance(pending, Unanswered):
                yield pending
            else:
                yield from self._answer_window(pending, stop)
            if stop():
                return  # the feed may wait for answers that are not given any more

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

    def _answer_window(
        self, pending: list[Pending], stop: Callable[[], bool]
    ) -> Iterator[Generation | Unanswered]:
        """Answer what was collected; a batch that fails is tried again in parts, then alone."""
        hearing = Hearing(self.model, [row for _, row in pending])
        size = self.batch_size
        suspects: set[int] = set()

        def must_be_alone(row: Prepared) -> bool:
            return id(row) in suspects or may_cross_rope_switch(self.model, row)

        while pending and not stop():
            batch = next(batches(pending, size, must_be_alone))
            done = self._attempt(batch, hearing)
            if isinstance(done, Failure) and len(batch) > 1:
                if done.of_memory:
                    size = fewer(batch)
                else:
                    suspects.update(id(row) for _, row in batch)
                continue
            pending = _without(pending, batch)
            if isinstance(done, Failure):
                size = self.batch_size  # the request was too much, not the batch
                yield self._give_up(batch[0], done, hearing)
            else:
                self._remember(size)
                yield from done

    def _attempt(
        self, batch: list[Pending], hearing: Hearing
    ) -> list[Generation | Unanswered] | Failure:
        try:
            return self._answering.answer(batch, hearing)
        except Exception as error:
            failure = understand(error, self._weight.device)
        release_memory()  # here nothing holds the exception's frames any more
        return failure

    def _give_up(self, item: Pending, failure: Failure, hearing: Hearing) -> Unanswered:
        """Answer nothing to a request that failed alone.

        Raises:
            Exception: The same happened to many recordings and to nothing else in between: that is
                no recording's fault.
        """
        request, row = item
        hearing.let_go([row])
        if failure.of_memory:
            error = too_large(request, self._weight.device, self._weight.dtype)
            return Unanswered(request, error)
        self._struck.add(request.job)
        if len(self._struck) >= STRUCK_IN_A_ROW:
            raise failure.error
        return Unanswered(request, failure.error)

    def _remember(self, size: int) -> None:
        """Note that a batch was answered, in batches of at most `size`."""
        self._struck.clear()
        if size < self.batch_size:
            self.on_note(
                f"{self.batch_size} chunks at once don't fit the memory: "
                f"from here on it is {size} at most"
            )
            self.batch_size = size


def _without(pending: Sequence[Pending], batch: Sequence[Pending]) -> list[Pending]:
    done = {id(row) for _, row in batch}
    return [item for item in pending if id(item[1]) not in done]


def _stop_tokens(folder: Path, model: Phi4AudioForCausalLM, inputs: InputBuilder) -> frozenset[int]:
    """Collect the ids that end a generation, from wherever the layouts keep them."""
    stops = {inputs.end_token}
    path = folder / "generation_config.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for ids in (found.get("eos_token_id"), model.config.eos_token_id):
        stops.update(ids if isinstance(ids, list) else [ids] if ids is not None else [])
    return frozenset(stops)
