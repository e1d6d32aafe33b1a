"""From a chunk and an instruction to what the network takes: token ids and features.

Prompts are built from token ids. The layouts spell the audio placeholder differently, so its id
comes from the configuration, never from a tokenizer's spelling.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from tokenizers import Tokenizer
from transformers.models.phi4_multimodal.feature_extraction_phi4_multimodal import (
    Phi4MultimodalFeatureExtractor,
)

from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.model.features import LogMel, embedding_count, load_extractor
from phi4audio_cli.types import Chunk, Request

CPU = torch.device("cpu")

USER, ASSISTANT, SYSTEM, END = "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One request, ready for the network."""

    features: torch.Tensor | None
    """Log-mel features, float32, shape (frames, mel bands), on the processor or the network's
    device, one object for all requests about a chunk; None: nothing to hear."""
    before: tuple[int, ...]
    """Token ids before the audio."""
    after: tuple[int, ...]
    """Token ids after the audio."""
    max_new_tokens: int
    repetition_penalty: float = 1.0
    """See `ExportRequest.repetition_penalty`."""

    @property
    def audio_length(self) -> int:
        """Number of audio embeddings, one every 80 ms."""
        return 0 if self.features is None else embedding_count(len(self.features))

    @property
    def prompt_length(self) -> int:
        """Positions of the whole prompt."""
        return len(self.before) + self.audio_length + len(self.after)


Pending: TypeAlias = tuple[Request, Prepared]
"""A request and what the network takes for it."""


class InputBuilder:
    """Builds prompts and features with a checkpoint's own tokenizer and extractor."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        extractor: Phi4MultimodalFeatureExtractor,
        device: torch.device = CPU,
    ) -> None:
        # Text of a user's must never turn into a control token.
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.extractor = extractor
        self._log_mel = LogMel(extractor, device)
        self._roles = {name: _token_id(tokenizer, name) for name in (USER, ASSISTANT, END)}
        self._system = tokenizer.token_to_id(SYSTEM)

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device = CPU) -> InputBuilder:
        """Read tokenizer and extractor settings from a checkpoint folder.

        Args:
            folder: Of the checkpoint.
            device: Where the network runs; on CUDA features are computed there, too.

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
        return cls(tokenizer, load_extractor(folder), device)

    @property
    def end_token(self) -> int:
        """Id of the token that ends a turn."""
        return self._roles[END]

    def prepare_all(self, requests: Iterable[Request | None]) -> Iterator[Pending | None]:
        """Prepare requests in order; the features of a chunk are computed once in a row.

        Yields:
            Each request with what the network takes, and None for None.
        """
        chunk: Chunk | None = None
        features: torch.Tensor | None = None
        for request in requests:
            if request is None:
                yield None
                continue
            if request.chunk is not chunk:
                chunk = request.chunk
                features = None if chunk is None else self.hear(chunk)
            yield request, self._prompt(request, features)

    def prepare(self, request: Request) -> Prepared:
        """Compute features and token ids: <|user|> audio instruction <|end|> <|assistant|>."""
        chunk = request.chunk
        return self._prompt(request, None if chunk is None else self.hear(chunk))

    def hear(self, chunk: Chunk) -> torch.Tensor:
        """Compute a chunk's features, float32, shape (frames, mel bands), on any device."""
        return self._log_mel(chunk.samples, chunk.sample_rate)

    def _prompt(self, request: Request, features: torch.Tensor | None) -> Prepared:
        return Prepared(
            features=features,
            before=(*self._system_turn(request.system), self._roles[USER]),
            after=(*self._ids(request.prompt), self._roles[END], self._roles[ASSISTANT]),
            max_new_tokens=request.max_new_tokens,
            repetition_penalty=request.repetition_penalty,
        )

    def _system_turn(self, text: str) -> tuple[int, ...]:
        """Return the ids of <|system|> text <|end|>, or nothing for no text."""
        if not text:
            return ()
        if self._system is None:
            raise CheckpointError(f"the tokenizer has no {SYSTEM} token", where="tokenizer.json")
        return (self._system, *self._ids(text), self._roles[END])

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Turn generated ids into text, control tokens left out."""
        return self.decode_raw(tokens).strip()

    def decode_raw(self, tokens: Sequence[int]) -> str:
        """Turn ids into text with the space it may begin with."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text


def _token_id(tokenizer: Tokenizer, spelling: str) -> int:
    token: int | None = tokenizer.token_to_id(spelling)
    if token is None:
        raise CheckpointError(f"the tokenizer has no {spelling} token", where="tokenizer.json")
    return token
