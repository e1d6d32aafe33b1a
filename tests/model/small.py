"""Prompts, features and a tokenizer for small networks, and a backend with one."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from phi4audio_cli.model.inputs import AudioInput, ModelInput, PromptBuilder
from phi4audio_cli.model.torch_backend import TorchBackend
from phi4audio_cli.types import WIDE_BAND, Chunk
from tests.model.network_spy import NetworkSpy
from tests.network.networks import VOCABULARY, small_network


def save_tokenizer(folder: Path) -> None:
    """Write a tokenizer with one token a letter, and the control tokens by their usual names."""
    control = ["<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|audio|>"]
    letters = [chr(code) for code in range(ord("A"), ord("A") + VOCABULARY - len(control))]
    vocabulary = {token: index for index, token in enumerate(control + letters)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    tokenizer.decoder = Fuse()
    tokenizer.add_special_tokens(control)
    tokenizer.save(str(folder / "tokenizer.json"))


def small_backend(
    folder: Path, *, stop_tokens: frozenset[int] = frozenset(), batch_size: int = 8
) -> tuple[TorchBackend, NetworkSpy]:
    """Return a backend on a small random network, and the spy on its passes.

    Args:
        folder: Where the tokenizer is written.
        stop_tokens: Ids that end an answer.
        batch_size: Most requests at once.
    """
    save_tokenizer(folder)
    spy = NetworkSpy(small_network())
    builder = PromptBuilder.from_folder(folder)
    return TorchBackend(spy, builder, stop_tokens, batch_size), spy


def noise_chunk(index: int, seconds: float) -> Chunk:
    """Return a chunk of noise that differs for every index, starting at `shard_index` seconds."""
    generator = torch.Generator().manual_seed(index)
    samples = torch.randn(int(seconds * WIDE_BAND), generator=generator).numpy()
    return Chunk(index, samples, WIDE_BAND, index * WIDE_BAND)


def features(frames: int, seed: int = 0) -> torch.Tensor:
    """Return random features, shape (frames, 80)."""
    generator = torch.Generator().manual_seed(1000 * seed + frames)
    return 3 * torch.randn(frames, 80, generator=generator)


def prompt(frames: int, seed: int = 0, max_new_tokens: int = 12) -> ModelInput:
    """Return a prompt with random audio."""
    audio = AudioInput(features(frames, seed))
    return ModelInput(audio, (2,), (7 + seed % 9, 11, 3, 4), max_new_tokens)
