"""Greedy decoding of many sequences at once; a finished one frees its KV cache slot immediately.

Every sequence gets the tokens that it gets alone. Sequences share nothing but the weights, and one
that may exceed the short context of LongRoPE runs alone, because the factors hold for a whole pass.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch

from phi4audio_cli.model.inputs import ModelInput
from phi4audio_cli.network.kv_cache import KVCache
from phi4audio_cli.network.phi4 import Phi4Audio
from phi4audio_cli.types import FinishReason

CAPACITY_STEP = 128
"""Positions of a slot are a multiple of this."""

MAX_PREFILL_TOKENS = 2048
"""Most positions of one prefill on a GPU."""

MAX_PREFILL_TOKENS_CPU = 512
"""The same on a CPU, where prompts are packed: with fewer, loading weights takes most time."""

MIN_GPU_CAPACITY = 1024
"""Fewest positions of a slot on a GPU. 40 s of speech need them, and growth would discard the
captured decode steps."""


@dataclass(slots=True)
class SequenceOutput:
    """Output tokens of one sequence, in order."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason = "length"
    finite: bool = True
    """False where the logits were not finite; the tokens end before that step."""


@dataclass(slots=True, eq=False)
class RunningSequence:
    """One prompt and its output so far, in a slot of the KV cache."""

    prompt: ModelInput
    slot: int
    length: int
    """Positions that the slot holds."""
    output: SequenceOutput = field(default_factory=SequenceOutput)
    prompt_embeddings: torch.Tensor | None = None
    """Shape (n, width); kept only where the prompt may have to be recomputed."""
    done: bool = False


def may_exceed_short_context(network: Phi4Audio, prompt: ModelInput) -> bool:
    """Return whether a sequence may need LongRoPE's long factors, so that it must run alone."""
    short_context = network.short_context
    return short_context is not None and prompt.max_length > short_context


class BatchDecoder:
    """Prefills prompts, and decodes one token for each running sequence at every step.

    Args:
        network: On its device, in evaluation mode.
        stop_tokens: Ids that end an output; they are not part of it.
    """

    def __init__(self, network: Phi4Audio, stop_tokens: Collection[int]) -> None:
        self.network = network
        self.stop_tokens = frozenset(stop_tokens)
        self.sequences: list[RunningSequence] = []
        self._cache: KVCache | None = None
        on_cpu = MAX_PREFILL_TOKENS_CPU if network.packs_prefill else 0
        self.max_batched_tokens = on_cpu if network.device.type == "cpu" else MAX_PREFILL_TOKENS
        """Most positions of one prefill; a single prompt may have more."""

    @property
    def num_slots(self) -> int:
        """Number of sequences that can run at once; 0 without a cache."""
        return 0 if self._cache is None else self._cache.num_slots

    @property
    def cache(self) -> KVCache:
        """The KV cache of the running sequences.

        Raises:
            ValueError: None is allocated.
        """
        if self._cache is None:
            raise ValueError("the KV cache is not allocated: call allocate first")
        return self._cache

    def allocate(self, num_slots: int, length: int) -> None:
        """Provide slots of at least `length` positions; running sequences stay.

        Raises:
            ValueError: The number of slots would change while sequences run.
        """
        minimum = 0 if self.network.device.type == "cpu" else MIN_GPU_CAPACITY
        capacity = -(-max(length, minimum) // CAPACITY_STEP) * CAPACITY_STEP
        cache = self._cache
        if cache is not None and cache.num_slots == num_slots and cache.capacity >= capacity:
            return
        if not self.sequences:
            self._cache = cache = None  # the old cache is freed before the new one is allocated
            self._cache = self.network.new_cache(num_slots, capacity)
        elif cache is not None and cache.num_slots == num_slots:
            cache.grow(max(capacity, cache.capacity * 3 // 2))
        else:
            raise ValueError("the number of slots can't change while sequences run")

    def prefill(self, prompts: Sequence[tuple[ModelInput, torch.Tensor]]) -> list[RunningSequence]:
        """Prefill prompts and decode their first tokens.

        Args:
            prompts: Inputs with their audio embeddings, shape (audio_length, width). Enough slots
                are free (`allocate`).

        Returns:
            The new sequences, in order; those whose first token ends them are done already.

        Raises:
            Exception: Any error of the network; no new sequence runs then.
        """
        new: dict[int, RunningSequence] = {}
        try:
            for group in self._prefill_groups([prompt for prompt, _ in prompts]):
                sequences = self._prefill_group([prompts[index] for index in group])
                new.update(zip(group, sequences, strict=True))
        except Exception:
            for sequence in new.values():
                self.sequences.remove(sequence)
            raise
        return [new[index] for index in range(len(prompts))]

    def step(self) -> list[RunningSequence]:
        """Decode one token of each sequence, none of which is done; return those that now are."""
        self._compact()
        sequences = sorted(self.sequences, key=lambda sequence: sequence.slot)
        with torch.inference_mode():
            if self._leaves_short_context(sequences[0]):
                logits = self._recompute(sequences[0])
            else:
                last = [sequence.output.tokens[-1] for sequence in sequences]
                positions = [sequence.length for sequence in sequences]
                logits = self.network.decode_step(self.cache, last, positions)
                for sequence in sequences:
                    sequence.length += 1
            self._sample_greedy(sequences, logits)
        return [sequence for sequence in sequences if sequence.done]

    def free(self, sequence: RunningSequence) -> None:
        """End a sequence and free its slot."""
        self.sequences.remove(sequence)
        if not sequence.output.finite:  # NaN would reach the next sequence through masked positions
            self.cache.zero_slot(sequence.slot)

    def free_all(self) -> None:
        """End all sequences."""
        for sequence in list(self.sequences):
            self.free(sequence)

    def free_cache(self) -> None:
        """Free the cache's memory.

        Raises:
            ValueError: Sequences run.
        """
        if self.sequences:
            raise ValueError("sequences are running")
        self._cache = None

    def _prefill_groups(self, prompts: Sequence[ModelInput]) -> list[list[int]]:
        """Divide prompts, given by index, into groups of similar length for one prefill each."""
        groups: list[list[int]] = []
        for index in sorted(range(len(prompts)), key=lambda each: -prompts[each].prompt_length):
            group = [*groups[-1], index] if groups else [index]
            tokens = self._batched_tokens([prompts[each] for each in group])
            if groups and tokens <= self.max_batched_tokens:
                groups[-1] = group
            else:
                groups.append([index])
        return groups

    def _batched_tokens(self, prompts: Sequence[ModelInput]) -> int:
        """Return the positions of one prefill of some prompts, padding included."""
        lengths = [prompt.prompt_length for prompt in prompts]
        return sum(lengths) if self.network.packs_prefill else len(lengths) * max(lengths)

    def _prefill_group(
        self, group: Sequence[tuple[ModelInput, torch.Tensor]]
    ) -> list[RunningSequence]:
        used = {sequence.slot for sequence in self.sequences}
        free = [slot for slot in range(self.cache.num_slots) if slot not in used]
        slots = free[: len(group)]
        with torch.inference_mode():
            embeddings = [self._embed_prompt(prompt, audio) for prompt, audio in group]
            logits = self.network.prefill(self.cache, slots, embeddings)
            new = [
                RunningSequence(prompt, slot, len(embedded))
                for (prompt, _), slot, embedded in zip(group, slots, embeddings, strict=True)
            ]
            self._sample_greedy(new, logits)
        for sequence, embedded in zip(new, embeddings, strict=True):
            if may_exceed_short_context(self.network, sequence.prompt):
                sequence.prompt_embeddings = embedded
        self.sequences += new
        return new

    def _embed_prompt(self, prompt: ModelInput, audio: torch.Tensor) -> torch.Tensor:
        """Join the embeddings of text and audio, shape (prompt_length, width)."""
        prefix = self.network.embed(prompt.prefix_ids)
        suffix = self.network.embed(prompt.suffix_ids)
        return torch.cat([prefix, audio.to(prefix.device), suffix])

    def _compact(self) -> None:
        """Move sequences to the first slots, which are those that a step computes."""
        count = len(self.sequences)
        used = {sequence.slot for sequence in self.sequences}
        gaps = [slot for slot in range(count) if slot not in used]
        beyond = [sequence for sequence in self.sequences if sequence.slot >= count]
        with torch.inference_mode():
            for sequence, slot in zip(beyond, gaps, strict=True):
                self.cache.copy_slot(sequence.slot, slot, sequence.length)
                sequence.slot = slot

    def _leaves_short_context(self, sequence: RunningSequence) -> bool:
        """Return whether the next position is the first beyond LongRoPE's short context."""
        return sequence.length == self.network.short_context

    def _recompute(self, sequence: RunningSequence) -> torch.Tensor:
        """Prefill prompt and output again with the long factors, which all positions need then."""
        if sequence.prompt_embeddings is None:
            raise ValueError("a sequence that may exceed the short context keeps its prompt")
        output = self.network.embed(sequence.output.tokens)
        embeddings = torch.cat([sequence.prompt_embeddings, output])
        logits = self.network.prefill(self.cache, [sequence.slot], [embeddings])
        sequence.length = len(embeddings)
        return logits

    def _sample_greedy(self, sequences: Sequence[RunningSequence], logits: torch.Tensor) -> None:
        """Append the most probable token to each sequence, by logits (sequences, vocabulary)."""
        best, tokens = logits.max(dim=-1)
        for row, sequence in enumerate(sequences):
            if sequence.prompt.repetition_penalty != 1:
                tokens[row] = _penalized(logits[row], sequence).argmax()
                best[row] = logits[row, tokens[row]]
        logprobs = (best - log_normalizers(logits)).tolist()
        for sequence, token, logprob in zip(sequences, tokens.tolist(), logprobs, strict=True):
            sequence.done = not self._append(sequence, token, logprob)

    def _append(self, sequence: RunningSequence, token: int, logprob: float) -> bool:
        """Append a token; return whether the sequence continues."""
        output = sequence.output
        if not math.isfinite(logprob):  # then the token means nothing, even if it is a stop token
            output.finite = False
            return False
        if token in self.stop_tokens:
            output.finish = "stop"
            return False
        output.tokens.append(token)
        output.logprobs.append(logprob)
        return len(output.tokens) < sequence.prompt.max_new_tokens


def log_normalizers(logits: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of each row's softmax denominator, with the same bits in any batch.

    Args:
        logits: Shape (rows, vocabulary).

    Returns:
        Shape (rows,).
    """
    if len(logits) == 1:  # torch divides one row among threads, and thus adds in another order
        return logits.repeat(2, 1).logsumexp(dim=-1)[:1]
    return logits.logsumexp(dim=-1)


def _penalized(logits: torch.Tensor, sequence: RunningSequence) -> torch.Tensor:
    """Return logits (vocabulary,) with those of the output's tokens lowered.

    Each token counts once, however often it occurs, and those of the prompt don't count (Keskar et
    al., 2019, CTRL, section 4.1, applied to the output alone).
    """
    used = torch.tensor(sorted(set(sequence.output.tokens)), device=logits.device).long()
    scores, penalty = logits[used], sequence.prompt.repetition_penalty
    lowered = torch.where(scores > 0, scores / penalty, scores * penalty)
    return logits.index_copy(0, used, lowered)
