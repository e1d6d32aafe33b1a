"""Write the demo checkpoint: native names, no vision, tied embeddings, bfloat16."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Phi4MultimodalFeatureExtractor, Phi4MultimodalForCausalLM

from training.spoken_digits.digit_tasks import END, END_OF_TEXT, build_tokenizer, special_id

_DROPPED = ("image_embed", "proj_for_vision_speech", "lm_head")


def stored_tensors(model: Phi4MultimodalForCausalLM) -> dict[str, Tensor]:
    """Return the tensors of a stripped checkpoint, as bfloat16."""
    return {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if not any(part in name for part in _DROPPED)
    }


def export_checkpoint(model: Phi4MultimodalForCausalLM, folder: Path) -> None:
    """Write weights, configuration, tokenizer and feature extractor settings into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors.part"
    save_file(stored_tensors(model), weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    weights.replace(folder / "model.safetensors")
    model.config.dtype = torch.bfloat16
    model.config.save_pretrained(folder)
    model.config.dtype = torch.float32
    Phi4MultimodalFeatureExtractor().save_pretrained(folder)
    build_tokenizer().save(str(folder / "tokenizer.json"))
    _write_json(folder / "generation_config.json", _generation_config())
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())


def _generation_config() -> dict[str, object]:
    """Return greedy decoding with the stop tokens of the real model."""
    start, end = special_id(END_OF_TEXT), special_id(END)
    return {
        "bos_token_id": start,
        "do_sample": False,
        "eos_token_id": [start, end],
        "pad_token_id": start,
        "use_cache": True,
    }


def _tokenizer_config() -> dict[str, object]:
    """Return `tokenizer_config.json`."""
    return {
        "bos_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _write_json(path: Path, content: dict[str, object]) -> None:
    """Write a JSON file, keys sorted."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
