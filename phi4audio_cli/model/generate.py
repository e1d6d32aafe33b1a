"""Answers to a few prompts at once, for those who need no service: benchmarks and checks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from phi4audio_cli.model.hearing import embed_audio
from phi4audio_cli.model.inputs import Prepared
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.model.writing import Answer, Writer, may_cross_rope_switch, positions_of


def generate(
    model: Phi4AudioForCausalLM,
    batch: Sequence[Prepared],
    stop_tokens: Collection[int],
    heard: Sequence[torch.Tensor] | None = None,
) -> list[Answer]:
    """Answer prompts greedily, side by side.

    Args:
        model: On its device, in evaluation mode.
        batch: One or more prompts. Those for which `may_cross_rope_switch` must come alone.
        stop_tokens: Ids that end a row; they are not part of its answer.
        heard: Audio embeddings of each row, where they are there already (`embed_audio`).

    Returns:
        One answer for each prompt, in the order of `batch`.
    """
    if len(batch) > 1 and any(may_cross_rope_switch(model, row) for row in batch):
        raise ValueError("a prompt that may cross LongRoPE's switch must be answered alone")
    if heard is None:
        with torch.inference_mode():
            heard = embed_audio(model, batch)
    writer = Writer(model, stop_tokens)
    writer.make_room(len(batch), max(map(positions_of, batch)))
    rows = writer.begin(list(zip(batch, heard, strict=True)))
    while writer.rows:
        for row in [row for row in writer.rows if row.done]:
            writer.release(row)
        if writer.rows:
            writer.step()
    answers = {id(row.prompt): row.answer for row in rows}
    return [answers[id(prompt)] for prompt in batch]
