"""Outputs of a few prompts in one batch, without a scheduler."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from phi4audio_cli.model.batch_decoder import (
    BatchDecoder,
    SequenceOutput,
    may_exceed_short_context,
)
from phi4audio_cli.model.inputs import ModelInput
from phi4audio_cli.network.phi4 import Phi4Audio


def embed_audio(network: Phi4Audio, batch: Sequence[ModelInput]) -> list[torch.Tensor]:
    """Encode the audio of prompts in one pass; return embeddings (audio_length, width) of each."""
    audio = list(dict.fromkeys(each.audio for each in batch if each.audio is not None))
    with torch.inference_mode():
        encoded = network.encode_clips([each.features for each in audio])
        embeddings = dict(zip(audio, encoded, strict=True))
        return [
            network.embed(()) if each.audio is None else embeddings[each.audio] for each in batch
        ]


def generate(
    network: Phi4Audio,
    batch: Sequence[ModelInput],
    stop_tokens: Collection[int],
    embeddings: Sequence[torch.Tensor] | None = None,
) -> list[SequenceOutput]:
    """Decode prompts greedily in one batch.

    Args:
        network: On its device, in evaluation mode.
        batch: One or more prompts. One that may exceed the short context must come alone.
        stop_tokens: Ids that end an output.
        embeddings: Audio embeddings of each prompt, if they are computed already.

    Returns:
        One output for each prompt, in order.
    """
    if len(batch) > 1 and any(may_exceed_short_context(network, each) for each in batch):
        raise ValueError("a prompt that may exceed the short context must be decoded alone")
    audio = embed_audio(network, batch) if embeddings is None else embeddings
    decoder = BatchDecoder(network, stop_tokens)
    decoder.allocate(len(batch), max(each.max_length for each in batch))
    sequences = decoder.prefill(list(zip(batch, audio, strict=True)))
    while decoder.sequences:
        for sequence in [each for each in decoder.sequences if each.done]:
            decoder.free(sequence)
        if decoder.sequences:
            decoder.step()
    return [sequence.output for sequence in sequences]
