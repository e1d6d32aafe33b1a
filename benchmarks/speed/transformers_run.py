"""Transcribe the clips with transformers: the model card's loop, or padded batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Phi4MultimodalFeatureExtractor

from benchmarks.speed.clips import TimedClip, read_clip

INSTRUCTION = "Transcribe the audio clip into text."
MAX_NEW_TOKENS = 512


class TransformersModel:
    """The model in transformers' own class, without vision, as in the card's snippet."""

    def __init__(self, folder: Path, device: str, dtype: torch.dtype) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device)
        self.model.eval()
        extend = self.model.model.embed_tokens_extend
        extend.image_embed = torch.nn.Identity()
        extend.audio_embed.down_proj_for_vision_speech = torch.nn.Identity()
        extend.audio_embed.up_proj_for_vision_speech = torch.nn.Identity()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.extractor = Phi4MultimodalFeatureExtractor.from_pretrained(folder)
        self.device, self.dtype = device, dtype
        self.padded = self.positions = 0

    def answer(self, work: Sequence[TimedClip]) -> int:
        """Answer one batch; return the number of tokens that count."""
        audio = self.extractor(
            [read_clip(each.path) for each in work], sampling_rate=16_000, return_tensors="pt"
        )
        ids, mask = self._prompts(audio["audio_embed_sizes"].tolist())
        features = audio["audio_input_features"].to(self.device, self.dtype)
        attended = audio.get("audio_attention_mask") if len(work) > 1 else None
        if attended is not None:
            self.positions += attended.numel()
            self.padded += int((~attended.bool()).sum())
        wanted = [each.tokens for each in work if each.tokens is not None]
        forced = {"min_new_tokens": max(wanted), "max_new_tokens": max(wanted)} if wanted else {}
        with torch.inference_mode():
            answer = self.model.generate(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                audio_input_features=features,
                audio_embed_sizes=audio["audio_embed_sizes"].to(self.device),
                audio_attention_mask=None if attended is None else attended.to(self.device),
                do_sample=False,
                **({"max_new_tokens": MAX_NEW_TOKENS} | forced),
            )
        texts = answer[:, ids.shape[1] :]
        self.tokenizer.batch_decode(texts, skip_special_tokens=True)
        pad = self.model.generation_config.pad_token_id
        return sum(wanted) if wanted else int((texts != pad).sum())

    def _prompts(self, sizes: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        audio_token = self.model.config.audio_config.audio_token_id
        head = self.tokenizer.encode("<|user|>", add_special_tokens=False)
        tail = self.tokenizer.encode(f"{INSTRUCTION}<|end|><|assistant|>", add_special_tokens=False)
        rows = [head + [audio_token] * size + tail for size in sizes]
        longest = max(map(len, rows))
        pad = self.model.generation_config.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        return ids, mask


def run_transformers(
    folder: Path, work: Sequence[TimedClip], *, batch: int, device: str, dtype: torch.dtype
) -> dict[str, Any]:
    """Answer all clips in the given order, in batches; loading is not counted."""
    plain = TransformersModel(folder, device, dtype)
    plain.answer(work[:1])  # warm-up
    plain.padded = plain.positions = 0
    began = time.perf_counter()
    tokens = sum(plain.answer(work[at : at + batch]) for at in range(0, len(work), batch))
    return {
        "seconds": time.perf_counter() - began,
        "tokens": tokens,
        "padding": plain.padded / plain.positions if plain.positions else 0.0,
        "stages": {},
    }
