"""Greedy generation for a batch of prompts of different lengths.

Every row gets the tokens it gets alone: rows are padded on the left and masked, audio embeddings
are exact in batches, and rows that may cross LongRoPE's switch are not batched at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache

from phi4audio_cli.model.features import embedding_count
from phi4audio_cli.model.inputs import Prepared
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.types import FinishReason


@dataclass(slots=True)
class Answer:
    """The tokens of one row, in the order they come."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason = "length"
    sound: bool = True
    """Whether its numbers stayed finite; the tokens end where they did not."""


def generate(
    model: Phi4AudioForCausalLM,
    batch: Sequence[Prepared],
    stop_tokens: Collection[int],
    heard: Sequence[torch.Tensor] | None = None,
    tell: Callable[[str], None] = lambda stage: None,
) -> list[Answer]:
    """Answer a batch of prompts greedily.

    Args:
        model: On its device, in evaluation mode.
        batch: One or more prompts. Those for which `may_cross_rope_switch` must come alone.
        stop_tokens: Ids that end a row; they are not part of its answer.
        heard: Audio embeddings of each row, where they are there already (`embed_audio`).
        tell: Told what is going on, in a few words.

    Returns:
        One answer for each prompt, in the order of `batch`.
    """
    if len(batch) > 1 and any(may_cross_rope_switch(model, row) for row in batch):
        raise ValueError("a prompt that may cross LongRoPE's switch must be answered alone")
    with torch.inference_mode():
        heard = embed_audio(model, batch) if heard is None else heard
        return _Decoding(model, batch, stop_tokens, heard).run(tell)


def may_cross_rope_switch(model: Phi4AudioForCausalLM, row: Prepared) -> bool:
    """Whether the row's positions may go beyond the short LongRoPE factors.

    The factors are chosen for a whole batch by its largest position, so such a row would change
    its neighbours' answers, and they its.
    """
    switch = rope_switch(model)
    return switch is not None and row.prompt_length + row.max_new_tokens > switch


def rope_switch(model: Phi4AudioForCausalLM) -> int | None:
    """Largest sequence length with short factors; None without LongRoPE."""
    rope = model.config.rope_parameters
    if rope["rope_type"] != "longrope":
        return None
    length: int = rope["original_max_position_embeddings"]
    return length


def embed_audio(model: Phi4AudioForCausalLM, batch: Sequence[Prepared]) -> list[torch.Tensor]:
    """Run the encoder once over the chunks of a batch, however many rows are about each.

    Returns:
        For each row its audio embeddings, shape (audio_length, decoder width); of length 0 for a
        row without audio.
    """
    chunks = {id(row.features): row.features for row in batch if row.features is not None}
    nothing = model.audio.up_proj_for_speech.weight.new_zeros(0, model.config.hidden_size)
    embedded = dict(zip(chunks, _encode(model, list(chunks.values())), strict=True))
    return [embedded.get(id(row.features), nothing) for row in batch]


def _encode(model: Phi4AudioForCausalLM, chunks: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Encode features, each of shape (frames, mel bands), to embeddings (n, decoder width)."""
    if not chunks:
        return []
    weight = model.audio.up_proj_for_speech.weight
    features = torch.nn.utils.rnn.pad_sequence(list(chunks), batch_first=True)
    lengths = torch.tensor([len(chunk) for chunk in chunks])
    mask = None
    if int(lengths.min()) < features.shape[1]:
        mask = (torch.arange(features.shape[1]) < lengths[:, None]).to(weight.device)
    embedded = model.audio.embed(features.to(weight.device, weight.dtype), mask)
    return [row[: embedding_count(len(chunk))] for row, chunk in zip(embedded, chunks, strict=True)]


def embed_prompts(
    model: Phi4AudioForCausalLM, batch: Sequence[Prepared], heard: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Join text and audio embeddings into one batch, padded on the left.

    Args:
        model: On its device.
        batch: The prompts.
        heard: Audio embeddings of each, shape (audio_length, decoder width).

    Returns:
        Embeddings, shape (rows, n, decoder width), and a mask, 1 on real positions, (rows, n).
    """
    table = model.get_input_embeddings()
    rows = []
    for prompt, audio in zip(batch, heard, strict=True):
        before, after = (
            table(torch.tensor(ids, device=table.weight.device, dtype=torch.long))
            for ids in (prompt.before, prompt.after)
        )
        rows.append(torch.cat([before, audio.to(before.device), after]))
    longest = max(len(row) for row in rows)
    prompts = rows[0].new_zeros(len(rows), longest, rows[0].shape[1])
    mask = torch.zeros(len(rows), longest, dtype=torch.long, device=prompts.device)
    for index, row in enumerate(rows):
        prompts[index, longest - len(row) :] = row
        mask[index, longest - len(row) :] = 1
    return prompts, mask


class _Decoding:
    """The state of one batch: which rows still speak, and the cache of those."""

    def __init__(
        self,
        model: Phi4AudioForCausalLM,
        batch: Sequence[Prepared],
        stop_tokens: Collection[int],
        heard: Sequence[torch.Tensor],
    ) -> None:
        self.model = model
        self.stop_tokens = frozenset(stop_tokens)
        self.budgets = [row.max_new_tokens for row in batch]
        self.penalties = [row.repetition_penalty for row in batch]
        self.answers = [Answer() for _ in batch]
        self.active = list(range(len(batch)))
        self.switch = rope_switch(model)
        self.prompt, self.mask = embed_prompts(model, batch, heard)

    def run(self, tell: Callable[[str], None]) -> list[Answer]:
        tell(f"reading {self.mask.shape[1]} positions")
        logits = self._prefill(self.prompt)
        tell("writing")
        while self.active:
            tokens = self._take(logits)
            if not self.active:
                break
            logits = self._step(tokens)
        return self.answers

    def _prefill(self, embeddings: torch.Tensor) -> torch.Tensor:
        self.cache = DynamicCache()
        positions = (self.mask.cumsum(dim=1) - 1).clamp(min=0)
        return self._forward(inputs_embeds=embeddings, position_ids=positions)

    def _step(self, tokens: torch.Tensor) -> torch.Tensor:
        self.mask = torch.nn.functional.pad(self.mask, (0, 1), value=1)
        lengths = self.mask.sum(dim=1, keepdim=True)
        if self.switch is not None and int(lengths.max()) == self.switch + 1:
            return self._prefill(self._everything_so_far())
        return self._forward(input_ids=tokens[:, None], position_ids=lengths - 1)

    def _everything_so_far(self) -> torch.Tensor:
        """Prompt and answer of the one row that crosses the switch, (1, n, width).

        Beyond the switch all positions count with the long factors, so nothing cached holds.
        """
        tokens = torch.tensor([self.answers[0].tokens], device=self.prompt.device)
        return torch.cat([self.prompt, self.model.get_input_embeddings()(tokens)], dim=1)

    def _forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next token, float32, shape (active rows, vocabulary)."""
        output = self.model(
            **inputs,
            attention_mask=self.mask,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    def _take(self, logits: torch.Tensor) -> torch.Tensor:
        """Append the best token of each row and let finished rows go.

        Returns:
            The tokens of the rows that go on, shape (rows,).
        """
        distribution = logits.log_softmax(dim=-1)
        logprobs, tokens = distribution.max(dim=-1)
        for place, row in enumerate(self.active):
            if self.penalties[row] != 1:  # rows without are left exactly as they are
                tokens[place] = self._penalised(logits[place], row).argmax()
                logprobs[place] = distribution[place, tokens[place]]
        going_on = [
            place
            for place, (row, token, logprob) in enumerate(
                zip(self.active, tokens.tolist(), logprobs.tolist(), strict=True)
            )
            if self._goes_on(row, token, logprob)
        ]
        if len(going_on) < len(self.active):
            self._keep(going_on)
        return tokens[torch.tensor(going_on, device=tokens.device, dtype=torch.long)]

    def _penalised(self, logits: torch.Tensor, row: int) -> torch.Tensor:
        """Return a row's logits, (vocabulary,), with those of its answer's tokens made smaller.

        Each counts once, however often it was said, and the prompt's don't count (Keskar et al.,
        2019, CTRL, section 4.1, on the answer alone).
        """
        said = torch.tensor(sorted(set(self.answers[row].tokens)), device=logits.device).long()
        scores, penalty = logits[said], self.penalties[row]
        lowered = torch.where(scores > 0, scores / penalty, scores * penalty)
        return logits.index_copy(0, said, lowered)

    def _goes_on(self, row: int, token: int, logprob: float) -> bool:
        answer = self.answers[row]
        if not math.isfinite(logprob):  # the token is none that was meant, not even a stop
            answer.sound = False
            return False
        if token in self.stop_tokens:
            answer.finish = "stop"
            return False
        answer.tokens.append(token)
        answer.logprobs.append(logprob)
        return len(answer.tokens) < self.budgets[row]

    def _keep(self, places: list[int]) -> None:
        """Drop the finished rows from mask and cache, so that they cost no more steps."""
        self.active = [self.active[place] for place in places]
        if not places:
            return
        rows = torch.tensor(places, device=self.mask.device)
        self.mask = self.mask[rows]
        self.cache.batch_select_indices(rows)
