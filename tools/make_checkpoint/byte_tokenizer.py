"""A byte-level tokenizer with the special tokens at the ids that the network expects."""

from __future__ import annotations

from typing import Any

from tools.make_checkpoint.network_sizes import NetworkSize

PLACEHOLDERS = {
    "original": ("<|endoftext10|>", "<|endoftext11|>"),
    "native": ("<|image|>", "<|audio|>"),
}


def tokenizer(layout: str, size: NetworkSize) -> dict[str, Any]:
    """Return `tokenizer.json`."""
    from tokenizers.pre_tokenizers import ByteLevel

    special = special_tokens(layout, size)
    vocabulary = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": content, **flags, "special": True}
            for content, i in special.items()
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary | special, "merges": []},
    }


def tokenizer_config(layout: str, size: NetworkSize) -> dict[str, Any]:
    """Return `tokenizer_config.json`."""
    ends = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<|endoftext|>")
    more = [token for token in special_tokens(layout, size) if token != "<|endoftext|>"]
    return {**ends, "additional_special_tokens": more, "tokenizer_class": "PreTrainedTokenizerFast"}


def special_tokens(layout: str, size: NetworkSize) -> dict[str, int]:
    """Return the ids of the published tokenizer, shifted for another vocabulary size."""
    image, audio = PLACEHOLDERS[layout]
    published = {
        "<|endoftext|>": 199999,
        image: 200010,
        audio: 200011,
        "<|endofprompt|>": 200018,
        "<|assistant|>": 200019,
        "<|end|>": 200020,
        "<|user|>": 200021,
        "<|system|>": 200022,
    }
    return {token: size.token_id(index) for token, index in published.items()}
