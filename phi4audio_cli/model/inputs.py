"""From a chunk and an instruction to what the network takes: token ids and features.

Prompts are built from token ids. The layouts spell the audio placeholder differently, so its id
comes from the configuration, never from a tokenizer's spelling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers.models.phi4_multimodal.feature_extraction_phi4_multimodal import (
    Phi4MultimodalFeatureExtractor,
)

from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.model.features import embedding_count, load_extractor, log_mel
from phi4audio_cli.types import Request

USER, ASSISTANT, SYSTEM, END = "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One request, ready for the network."""

    features: torch.Tensor
    """Log-mel features, float32, shape (frames, mel bands)."""
    before: tuple[int, ...]
    """Token ids before the audio."""
    after: tuple[int, ...]
    """Token ids after the audio."""
    max_new_tokens: int

    @property
    def audio_length(self) -> int:
        """Number of audio embeddings, one every 80 ms."""
        return embedding_count(len(self.features))

    @property
    def prompt_length(self) -> int:
        """Positions of the whole prompt."""
        return len(self.before) + self.audio_length + len(self.after)


class InputBuilder:
    """Builds prompts and features with a checkpoint's own tokenizer and extractor."""

    def __init__(self, tokenizer: Tokenizer, extractor: Phi4MultimodalFeatureExtractor) -> None:
        # Text of a user's must never turn into a control token.
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.extractor = extractor
        self._roles = {name: _token_id(tokenizer, name) for name in (USER, ASSISTANT, END)}

    @classmethod
    def from_folder(cls, folder: Path) -> InputBuilder:
        """Read tokenizer and extractor settings from a checkpoint folder.

        Raises:
            CheckpointError: A file is missing or can't be read.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError("the tokenizer is missing", where=str(path))
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise CheckpointError(f"the tokenizer can't be read: {error}", str(path)) from error
        return cls(tokenizer, load_extractor(folder))

    @property
    def end_token(self) -> int:
        """Id of the token that ends a turn."""
        return self._roles[END]

    def prepare(self, request: Request) -> Prepared:
        """Compute features and token ids: <|user|> audio instruction <|end|> <|assistant|>."""
        chunk = request.chunk
        instruction = self.tokenizer.encode(request.prompt, add_special_tokens=False).ids
        return Prepared(
            features=log_mel(chunk.samples, chunk.sample_rate, self.extractor),
            before=(self._roles[USER],),
            after=(*instruction, self._roles[END], self._roles[ASSISTANT]),
            max_new_tokens=request.max_new_tokens,
        )

    def decode(self, tokens: Sequence[int]) -> str:
        """Turn generated ids into text, control tokens left out."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()


def _token_id(tokenizer: Tokenizer, spelling: str) -> int:
    token: int | None = tokenizer.token_to_id(spelling)
    if token is None:
        raise CheckpointError(f"the tokenizer has no {spelling} token", where="tokenizer.json")
    return token
