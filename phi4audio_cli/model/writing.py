"""Greedy answers, many rows side by side; a row that ends makes room for the next at once.

Every row gets the tokens it gets alone: rows share nothing but the weights, and a row that may
cross LongRoPE's switch is computed again with the long factors where it does.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch

from phi4audio_cli.model.decoder import Decoder, joins_prompts, rope_switch
from phi4audio_cli.model.inputs import Prepared
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.types import FinishReason

CAPACITY_STEP = 128
"""Slots are made for whole multiples of so many positions."""

READ_TOGETHER = 2048
"""Positions of prompts that a GPU reads at once."""

READ_ON_CPU = 512
"""The same on a CPU, where prompts lie end to end: with fewer, weights cost more than products."""

GPU_CAPACITY = 1024
"""Positions of a slot on a GPU, at least, which 40 s of speech take: growing would cost the
recorded steps."""


@dataclass(slots=True)
class Answer:
    """The tokens of one row, in the order they come."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason = "length"
    sound: bool = True
    """Whether its numbers stayed finite; the tokens end where they did not."""


@dataclass(slots=True, eq=False)
class Row:
    """One prompt under way."""

    prompt: Prepared
    place: int
    """Its slot."""
    length: int
    """Positions that lie in the slot."""
    answer: Answer = field(default_factory=Answer)
    embedded: torch.Tensor | None = None
    """The prompt's embeddings, (n, width), where they may be needed again."""
    done: bool = False


def positions_of(prompt: Prepared) -> int:
    """Positions a row may come to, prompt and answer."""
    return prompt.prompt_length + prompt.max_new_tokens


def may_cross_rope_switch(model: Phi4AudioForCausalLM, prompt: Prepared) -> bool:
    """Whether the row's positions may go beyond LongRoPE's short factors.

    The factors are chosen for a whole pass, so such a row would change its neighbours' answers,
    and they its.
    """
    switch = rope_switch(model)
    return switch is not None and positions_of(prompt) > switch


def embed_prompt(
    model: Phi4AudioForCausalLM, prompt: Prepared, heard: torch.Tensor
) -> torch.Tensor:
    """Join text and audio embeddings.

    Args:
        model: On its device.
        prompt: What is asked.
        heard: Its audio embeddings, shape (audio_length, decoder width).

    Returns:
        Shape (prompt_length, decoder width).
    """
    table = model.get_input_embeddings()
    before, after = (
        table(torch.tensor(ids, device=table.weight.device, dtype=torch.long))
        for ids in (prompt.before, prompt.after)
    )
    return torch.cat([before, heard.to(before.device), after])


class Writer:
    """Takes prompts in, and writes a token of each at every step.

    Args:
        model: On its device, in evaluation mode.
        stop_tokens: Ids that end an answer; they are not part of it.
    """

    def __init__(self, model: Phi4AudioForCausalLM, stop_tokens: Collection[int]) -> None:
        self.model = model
        self.stop_tokens = frozenset(stop_tokens)
        self.rows: list[Row] = []
        self._made: Decoder | None = None
        self._joins = joins_prompts(model)
        on_cpu = READ_ON_CPU if self._joins else 0
        self.read_together = on_cpu if self.device.type == "cpu" else READ_TOGETHER
        """Positions of prompts read at once; one prompt alone is always read."""
        self._switch = rope_switch(model)

    def make_room(self, rows: int, positions: int) -> None:
        """Provide slots for so many rows, each of so many positions; those under way stay.

        Raises:
            ValueError: More rows are under way than fit.
        """
        least = 0 if self.device.type == "cpu" else GPU_CAPACITY
        capacity = -(-max(positions, least) // CAPACITY_STEP) * CAPACITY_STEP
        slots = self._made.slots if self._made is not None else None
        if slots is not None and slots.count == rows and slots.capacity >= capacity:
            return
        if not self.rows:
            self._made = None  # the old slots go before the new ones come
            self._made = Decoder(self.model, rows, capacity)
        elif slots is not None and slots.count == rows and self._made is not None:
            self._made.grow(max(capacity, slots.capacity * 3 // 2))
        else:
            raise ValueError("slots can't be more or fewer while rows are under way")

    def begin(self, prompts: Sequence[tuple[Prepared, torch.Tensor]]) -> list[Row]:
        """Read prompts, with the audio embeddings of each, and write their first tokens.

        There must be room (`make_room`). Rows whose first token ends them are done already.

        Raises:
            Exception: Whatever the network raises; then none of them is under way.
        """
        new: dict[int, Row] = {}
        try:
            for group in self._groups([prompt for prompt, _ in prompts]):
                rows = self._begin([prompts[index] for index in group])
                new.update(zip(group, rows, strict=True))
        except Exception:
            self.rows = [row for row in self.rows if row not in new.values()]
            raise
        return [new[index] for index in range(len(prompts))]

    def _groups(self, prompts: Sequence[Prepared]) -> list[list[int]]:
        """Divide prompts, by their places, into those that are read together, like with like."""
        groups: list[list[int]] = []
        for index in sorted(range(len(prompts)), key=lambda each: -prompts[each].prompt_length):
            if groups and self._positions([prompts[each] for each in (*groups[-1], index)]) <= (
                self.read_together
            ):
                groups[-1].append(index)
            else:
                groups.append([index])
        return groups

    def _positions(self, prompts: Sequence[Prepared]) -> int:
        """Return how many positions a pass over some prompts has, padding and all."""
        lengths = [prompt.prompt_length for prompt in prompts]
        return sum(lengths) if self._joins else len(lengths) * max(lengths)

    def _begin(self, group: Sequence[tuple[Prepared, torch.Tensor]]) -> list[Row]:
        taken = {row.place for row in self.rows}
        free = [place for place in range(self.decoder.slots.count) if place not in taken]
        new = []
        with torch.inference_mode():
            for (prompt, heard), place in zip(group, free, strict=False):
                embedded = embed_prompt(self.model, prompt, heard)
                new.append(Row(prompt, place, len(embedded), embedded=embedded))
            prompts = [row.embedded for row in new if row.embedded is not None]
            logits = self.decoder.read([row.place for row in new], prompts)
            self._take(new, logits)
        for row in new:
            if not may_cross_rope_switch(self.model, row.prompt):
                row.embedded = None
        self.rows += new
        return new

    def step(self) -> list[Row]:
        """Write one token of each row; return those that are done. None was done before."""
        self._close_gaps()
        rows = sorted(self.rows, key=lambda row: row.place)
        with torch.inference_mode():
            if self._crosses(rows[0]):
                logits = self._read_anew(rows[0])
            else:
                last = [row.answer.tokens[-1] for row in rows]
                logits = self.decoder.step(last, [row.length for row in rows])
                for row in rows:
                    row.length += 1
            self._take(rows, logits)
        return [row for row in rows if row.done]

    def release(self, row: Row) -> None:
        """Let go of a row; its slot is free."""
        self.rows.remove(row)
        if not row.answer.sound:
            self.decoder.slots.clear(row.place)

    def forget(self) -> None:
        """Let go of all rows, whatever became of them."""
        for row in list(self.rows):
            self.release(row)

    def drop_slots(self) -> None:
        """Give the slots' memory back; no row is under way."""
        if self.rows:
            raise ValueError("rows are under way")
        self._made = None

    @property
    def slots(self) -> int:
        """Rows there is room for."""
        return 0 if self._made is None else self._made.slots.count

    @property
    def device(self) -> torch.device:
        """Where the embeddings lie."""
        device: torch.device = self.model.get_input_embeddings().weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of the embeddings."""
        dtype: torch.dtype = self.model.get_input_embeddings().weight.dtype
        return dtype

    @property
    def decoder(self) -> Decoder:
        """Holds the rows under way. There must be room (`make_room`)."""
        if self._made is None:
            raise ValueError("there are no slots: make_room comes first")
        return self._made

    def _close_gaps(self) -> None:
        """Move rows so that they lie in the first slots: a step computes these."""
        taken = {row.place for row in self.rows}
        gaps = [place for place in range(len(self.rows)) if place not in taken]
        beyond = [row for row in self.rows if row.place >= len(self.rows)]
        with torch.inference_mode():
            for row, place in zip(beyond, gaps, strict=True):
                self.decoder.slots.move(row.place, place, row.length)
                row.place = place

    def _crosses(self, row: Row) -> bool:
        """Whether its next token is the first beyond the switch."""
        return self._switch is not None and row.length == self._switch

    def _read_anew(self, row: Row) -> torch.Tensor:
        """Read a row's prompt and answer again.

        Beyond the switch all positions count with the long factors, so nothing stored holds.
        """
        if row.embedded is None:
            raise ValueError("a row that may cross LongRoPE's switch keeps its prompt")
        said = torch.tensor(row.answer.tokens, device=row.embedded.device)
        whole = torch.cat([row.embedded, self.model.get_input_embeddings()(said)])
        logits = self.decoder.read([row.place], [whole])
        row.length = len(whole)
        return logits

    def _take(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Append the best token to each row's answer."""
        best, tokens = logits.max(dim=-1)
        totals = logits.logsumexp(dim=-1)
        for place, row in enumerate(rows):
            if row.prompt.repetition_penalty != 1:  # rows without are left exactly as they are
                tokens[place] = _penalised(logits[place], row).argmax()
                best[place] = logits[place, tokens[place]]
        logprobs = (best - totals).tolist()
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs, strict=True):
            row.done = not self._goes_on(row, token, logprob)

    def _goes_on(self, row: Row, token: int, logprob: float) -> bool:
        answer = row.answer
        if not math.isfinite(logprob):  # the token is none that was meant, not even a stop
            answer.sound = False
            return False
        if token in self.stop_tokens:
            answer.finish = "stop"
            return False
        answer.tokens.append(token)
        answer.logprobs.append(logprob)
        return len(answer.tokens) < row.prompt.max_new_tokens


def _penalised(logits: torch.Tensor, row: Row) -> torch.Tensor:
    """Return a row's logits, (vocabulary,), with those of its answer's tokens made smaller.

    Each counts once, however often it was said, and the prompt's don't count (Keskar et al.,
    2019, CTRL, section 4.1, on the answer alone).
    """
    said = torch.tensor(sorted(set(row.answer.tokens)), device=logits.device).long()
    scores, penalty = logits[said], row.prompt.repetition_penalty
    lowered = torch.where(scores > 0, scores / penalty, scores * penalty)
    return logits.index_copy(0, said, lowered)
