"""A network that reports its passes, and whose passes can be made to fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from phi4audio_cli.network.phi4 import Phi4Audio


class NetworkSpy:
    """Behaves like the network that it wraps; the callbacks may raise.

    Args:
        network: Computes.
    """

    def __init__(self, network: Phi4Audio) -> None:
        self.network = network
        self.reset()

    def reset(self) -> None:
        """Remove all callbacks."""
        self.before_encode: Callable[[list[torch.Tensor]], None] = lambda clips: None
        self.before_prefill: Callable[[list[int], list[torch.Tensor]], None] = lambda *given: None
        self.before_decode_step: Callable[[list[int], list[int]], None] = lambda *given: None
        self.before_rescore: Callable[[], None] = lambda: None
        self.on_embeddings: Callable[[list[torch.Tensor]], None] = lambda embeddings: None
        self.on_logits: Callable[[torch.Tensor], None] = lambda logits: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def encode_clips(self, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        self.before_encode(list(clips))
        embeddings = self.network.encode_clips(clips)
        self.on_embeddings(embeddings)
        return embeddings

    def prefill(
        self, cache: Any, slots: Sequence[int], prompts: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        self.before_prefill(list(slots), list(prompts))
        logits = self.network.prefill(cache, slots, prompts)
        self.on_logits(logits)
        return logits

    def decode_step(
        self, cache: Any, tokens: Sequence[int], positions: Sequence[int]
    ) -> torch.Tensor:
        self.before_decode_step(list(tokens), list(positions))
        logits = self.network.decode_step(cache, tokens, positions)
        self.on_logits(logits)
        return logits

    def rescore(self, *arguments: Any) -> None:
        self.before_rescore()
        self.network.rescore(*arguments)
