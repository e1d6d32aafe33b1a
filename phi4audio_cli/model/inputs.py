"""From a request to the network's input: token ids and log-mel features.

Prompts are built from token ids. The layouts spell the audio placeholder differently, so audio
embeddings are inserted between ids, and no placeholder token is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from phi4audio_cli.errors import CheckpointError, ModelError
from phi4audio_cli.model.features import FeatureExtractor, embedding_count, load_feature_config
from phi4audio_cli.model.oom import is_oom, out_of_memory_error
from phi4audio_cli.types import Chunk, Request, RequestFailed

CPU = torch.device("cpu")

PREFETCHED_REQUESTS = 8
"""Requests that are prepared before the scheduler takes them."""

USER, ASSISTANT, SYSTEM, END = "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"


@dataclass(frozen=True, slots=True, eq=False)
class AudioInput:
    """Audio of one chunk. All requests about the chunk share one object, which is hashable."""

    features: torch.Tensor
    """Log-mel features, float32, shape (frames, mel bands), on the CPU or the network's device."""

    @property
    def length(self) -> int:
        """Number of audio embeddings, one every 80 ms."""
        return embedding_count(len(self.features))


@dataclass(frozen=True, slots=True, eq=False)
class ModelInput:
    """Input of the network for one request: prefix ids, audio, suffix ids."""

    audio: AudioInput | None
    """None: a prompt without audio."""
    prefix_ids: tuple[int, ...]
    """Token ids before the audio."""
    suffix_ids: tuple[int, ...]
    """Token ids after the audio."""
    max_new_tokens: int
    repetition_penalty: float = 1.0
    """See `ExportRequest.repetition_penalty`."""

    @property
    def features(self) -> torch.Tensor | None:
        """Log-mel features of the audio."""
        return None if self.audio is None else self.audio.features

    @property
    def audio_length(self) -> int:
        """Number of audio embeddings."""
        return 0 if self.audio is None else self.audio.length

    @property
    def prompt_length(self) -> int:
        """Positions of the prompt."""
        return len(self.prefix_ids) + self.audio_length + len(self.suffix_ids)

    @property
    def max_length(self) -> int:
        """Positions of the prompt and the longest output."""
        return self.prompt_length + self.max_new_tokens


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request and its input of the network."""

    request: Request
    model_input: ModelInput


class PromptBuilder:
    """Builds prompts and features with a checkpoint's tokenizer and feature settings."""

    def __init__(self, tokenizer: Tokenizer, extractor: FeatureExtractor) -> None:
        # A user's text must never turn into a control token.
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self._extractor = extractor
        self._roles = {name: _token_id(tokenizer, name) for name in (USER, ASSISTANT, END)}
        self._system = tokenizer.token_to_id(SYSTEM)

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device = CPU) -> PromptBuilder:
        """Read tokenizer and feature settings from a checkpoint folder.

        Args:
            folder: Of the checkpoint.
            device: Device of the network; on CUDA features are computed there, too.

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
        return cls(tokenizer, FeatureExtractor(load_feature_config(folder), device))

    @property
    def end_token(self) -> int:
        """Id of the token that ends a turn."""
        return self._roles[END]

    def build(self, request: Request, audio: AudioInput | None = None) -> ModelInput:
        """Build the input <|user|> audio instruction <|end|> <|assistant|>.

        Args:
            request: To build it for.
            audio: Audio of its chunk, if it is extracted already.
        """
        if audio is None and request.chunk is not None:
            audio = self.extract_audio(request.chunk)
        return ModelInput(
            audio=audio,
            prefix_ids=(*self._system_turn(request.system), self._roles[USER]),
            suffix_ids=(*self._ids(request.prompt), self._roles[END], self._roles[ASSISTANT]),
            max_new_tokens=request.max_new_tokens,
            repetition_penalty=request.repetition_penalty,
        )

    def extract_audio(self, chunk: Chunk) -> AudioInput:
        """Compute the features of a chunk."""
        return AudioInput(self._extractor(chunk.samples, chunk.sample_rate))

    def decode(self, tokens: Sequence[int]) -> str:
        """Turn generated ids into text, without control tokens and outer spaces."""
        return self.decode_raw(tokens).strip()

    def decode_raw(self, tokens: Sequence[int]) -> str:
        """Turn ids into text without control tokens; a leading space stays."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

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


def prepare_requests(
    builder: PromptBuilder, requests: Iterable[Request | None]
) -> Iterator[PreparedRequest | RequestFailed | None]:
    """Prepare requests in order; successive requests about one chunk share its features.

    Yields:
        For each request its input, or `RequestFailed` where that can't be built; None for None.

    Raises:
        ModelError: The tokenizer lacks a control token that every prompt needs.
    """
    chunk: Chunk | None = None
    audio: AudioInput | None = None
    for request in requests:
        if request is None:
            yield None
            continue
        if request.chunk is not chunk:
            chunk, audio = request.chunk, None
        prepared = _prepare(builder, request, audio)
        if isinstance(prepared, PreparedRequest):
            audio = prepared.model_input.audio
        yield prepared


def _prepare(
    builder: PromptBuilder, request: Request, audio: AudioInput | None
) -> PreparedRequest | RequestFailed:
    try:
        return PreparedRequest(request, builder.build(request, audio))
    except ModelError:
        raise
    except Exception as error:
        if is_oom(error):
            return RequestFailed(request, out_of_memory_error(request, CPU, torch.bfloat16))
        return RequestFailed(request, error)


def _token_id(tokenizer: Tokenizer, spelling: str) -> int:
    token: int | None = tokenizer.token_to_id(spelling)
    if token is None:
        raise CheckpointError(f"the tokenizer has no {spelling} token", where="tokenizer.json")
    return token
