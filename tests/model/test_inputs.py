"""Prompts: turns, control tokens, and requests without audio."""

from __future__ import annotations

from pathlib import Path

import torch

from phi4audio_cli.model.inputs import PreparedRequest, PromptBuilder, prepare_requests
from phi4audio_cli.types import Request
from tests.model.generate import generate
from tests.model.small import noise_chunk, save_tokenizer, small_backend
from tests.network.networks import small_network


def builder(folder: Path) -> PromptBuilder:
    save_tokenizer(folder)
    return PromptBuilder.from_folder(folder)


def test_the_system_text_is_a_turn_before_the_users(tmp_path: Path):
    prompts = builder(tmp_path)
    name = prompts.tokenizer.id_to_token
    one = prompts.build(Request(0, noise_chunk(0, 1.0), "CD", 8, system="A<|end|>B"))
    prefix = [name(token) for token in one.prefix_ids]
    assert (prefix[0], prefix[-2], prefix[-1]) == ("<|system|>", "<|end|>", "<|user|>")
    assert prefix.count("<|end|>") == 1  # the user's own is text
    assert [name(token) for token in one.suffix_ids] == ["C", "D", "<|end|>", "<|assistant|>"]
    plain = prompts.build(Request(0, noise_chunk(0, 1.0), "CD", 8))
    assert [name(token) for token in plain.prefix_ids] == ["<|user|>"]


def test_successive_requests_about_a_chunk_share_its_features(tmp_path: Path):
    first, second = noise_chunk(0, 1.0), noise_chunk(1, 1.0)
    feed = [Request(0, first, "A", 8), Request(0, first, "B", 8), None, Request(0, second, "A", 8)]
    one, other, flush, third = prepare_requests(builder(tmp_path), feed)
    assert isinstance(one, PreparedRequest)
    assert isinstance(other, PreparedRequest)
    assert isinstance(third, PreparedRequest)
    assert flush is None
    assert one.model_input.audio is other.model_input.audio
    assert third.model_input.audio is not one.model_input.audio


def test_requests_with_and_without_audio_are_answered_in_one_batch_as_alone(tmp_path: Path):
    backend, _ = small_backend(tmp_path, stop_tokens=frozenset({0, 1}), batch_size=4)
    requests = [
        Request(0, noise_chunk(0, 2.0), "AB", 8),
        Request(0, None, "DEFGHDEFGH", 8),
        Request(0, None, "K", 8, system="LMN"),
        Request(0, noise_chunk(1, 1.0), "C", 8, system="OP"),
    ]
    together = {answer.request: answer for answer in backend.generate(requests)}
    assert len(together) == 4
    for request in requests:
        [alone] = backend.generate([request])
        assert together[request].tokens == alone.tokens


def test_without_audio_each_token_is_the_best_after_the_whole_text_before_it(tmp_path: Path):
    network = small_network()
    one = builder(tmp_path).build(Request(0, None, "DEFGH", 8, system="AB"))
    [output] = generate(network, [one], set())
    ids = [*one.prefix_ids, *one.suffix_ids]
    for token in output.tokens:
        cache = network.new_cache(1, 64)
        with torch.inference_mode():
            logits = network.prefill(cache, [0], [network.embed(ids)])
        assert int(logits[0].argmax()) == token
        ids.append(token)
    assert len(output.tokens) == 8
