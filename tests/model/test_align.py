"""Heads, words, and the extra pass over finished answers."""

from __future__ import annotations

import pytest
import torch

from phi4audio_cli.model import align as aligning
from phi4audio_cli.model.align import align
from phi4audio_cli.model.heads import HEADS_KEPT, BestHeads, follow_scores
from phi4audio_cli.model.hearing import embed_audio
from phi4audio_cli.model.words import spell
from phi4audio_cli.model.writing import Answer, Row, Writer
from phi4audio_cli.types import Word
from tests.model.small import AUDIO_TOKEN, prompt, small_model


def head(places: list[float], frames: int = 100, width: float = 1.5) -> torch.Tensor:
    """Return a head that looks at one place for each token, (tokens, frames)."""
    grid = torch.arange(frames, dtype=torch.float32)
    weights = torch.exp(-((grid - torch.tensor(places)[:, None]) ** 2) / (2 * width**2))
    return weights / weights.sum(dim=1, keepdim=True)


FOLLOWS = [5.0, 20.0, 33.0, 50.0, 71.0, 90.0]


def test_a_head_that_follows_scores_above_all_others():
    others = {
        "stares at the first frame": head([0.0] * 6),
        "goes backwards": head(FOLLOWS[::-1]),
        "jumps about": head([50.0, 5.0, 90.0, 20.0, 71.0, 33.0]),
        "looks everywhere": torch.full((6, 100), 0.01),
    }
    scores = follow_scores(torch.stack([head(FOLLOWS), *others.values()])).tolist()
    assert scores[0] > 0.8
    for name, score in zip(others, scores[1:], strict=True):
        assert score < 0.3, name


def test_the_best_heads_of_all_layers_are_kept():
    best = BestHeads()
    noise = torch.rand(12, 6, 100, generator=torch.Generator().manual_seed(1)).softmax(dim=-1)
    best.offer(noise)
    best.offer(torch.stack([head(FOLLOWS, width=2.0), head([0.0] * 6)]))
    best.offer(noise.flip(0))
    assert len(best.scores) == HEADS_KEPT
    torch.testing.assert_close(best.together(), head(FOLLOWS, width=2.0))


def test_no_head_is_lost_by_not_looking_at_its_focus():
    """The kept ones are the best of all by the whole score."""
    generator = torch.Generator().manual_seed(3)
    blurred = [head(FOLLOWS, width=float(width)) for width in range(1, 12)]
    noise = [torch.rand(6, 100, generator=generator).softmax(dim=-1) for _ in range(13)]
    every = torch.stack([*blurred, *noise])[torch.randperm(24, generator=generator)]
    best = BestHeads()
    for layer in every.split(4):
        best.offer(layer)
    expected = follow_scores(every).sort(descending=True).values[:HEADS_KEPT]
    torch.testing.assert_close(torch.tensor(best.scores), expected)


VOCABULARY = [
    "seven",
    " two",
    " hun",
    "dred",
    ".",
    " ",
    "你",
    "好",
    b"\xe4\xb8",
    b"\x96",
    "?",
    "don",
    "'t",
]


def decode(tokens) -> str:
    pieces = (VOCABULARY[token] for token in tokens)
    joined = b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)
    return joined.decode(errors="replace")


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([0, 1, 2, 3, 4], ["seven", " two", " hundred."]),
        ([6, 7, 4], ["你", "好."]),
        ([6, 8, 9, 10], ["你", "世?"]),
        ([11, 12, 1], ["don't", " two"]),
        ([], []),
    ],
)
def test_tokens_become_words(tokens, words):
    spelled = spell(tokens, decode)
    assert [word.text for word in spelled] == words
    covered = [index for word in spelled for index in range(word.first, word.stop)]
    assert covered == list(range(len(tokens)))


def finished(model, batch, answers) -> tuple[Writer, list[Row]]:
    """Return rows as they are when such answers were just written."""
    with torch.no_grad():
        heard = embed_audio(model, batch)
    writer = Writer(model, set())
    longest = max(one.prompt_length + len(said) for one, said in zip(batch, answers, strict=True))
    writer.make_room(len(batch), longest)
    rows = writer.begin(list(zip(batch, heard, strict=True)))
    for row in rows:
        said = answers[batch.index(row.prompt)]
        row.answer = Answer(said, [-0.1] * len(said), "stop")
        row.length = row.prompt.prompt_length + len(said)
    return writer, sorted(rows, key=lambda row: batch.index(row.prompt))


def words_of(model, batch, answers) -> list[tuple[Word, ...]]:
    writer, rows = finished(model, batch, answers)
    return [align(writer.decoder, row, letters) for row in rows]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_weights_are_those_of_a_whole_forward(attention, monkeypatch):
    """What is looked at is transformers' own attention, cut to the audio and scaled to 1."""
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(BestHeads, "offer", lambda self, weights: seen.append(weights))
    monkeypatch.setattr(aligning, "_words", lambda *anything: ())
    one, said = prompt(300), [7, 8, 9, 10, 11]
    words_of(small_model(attention), [one], [said])
    ids = [*one.before, *[AUDIO_TOKEN] * one.audio_length, *one.after, *said]
    with torch.no_grad():
        output = small_model("eager")(
            input_ids=torch.tensor([ids]),
            audio_input_features=one.features[None],
            audio_embed_sizes=torch.tensor([one.audio_length]),
            output_attentions=True,
            use_cache=False,
        )
    first = one.prompt_length - 1
    start = len(one.before)
    assert len(seen) == len(output.attentions) > 0
    for ours, theirs in zip(seen, output.attentions, strict=True):
        cut = theirs[0, :, first : first + len(said), start : start + one.audio_length]
        torch.testing.assert_close(ours, cut / cut.sum(-1, keepdim=True), rtol=1e-3, atol=1e-5)


def test_words_are_the_same_in_a_batch_and_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aligning, "LEAST_SCORE", -1.0)  # of a random network none follows
    model = small_model()
    batch = [prompt(frames, seed) for seed, frames in enumerate((300, 80, 900))]
    answers = [[7, 8, 9, 10], [11, 12, 13], [8, 9, 20, 21, 22, 23, 24, 25]]
    together = words_of(model, batch, answers)
    for index, one in enumerate(batch):
        [alone] = words_of(model, [one], [answers[index]])
        assert [word.word for word in alone] == [word.word for word in together[index]]
        assert [word.start for word in alone] == [word.start for word in together[index]]
    for words, one in zip(together, batch, strict=True):
        edges = [edge for word in words for edge in (word.start, word.end)]
        assert edges == sorted(edges)
        assert all(word.start < word.end for word in words)
        assert edges[-1] <= one.audio_length * 0.08 + 1e-9


def letters(tokens) -> str:
    return "".join(f" {token}" for token in tokens)


def test_no_times_where_no_head_follows():
    [words, nothing] = words_of(small_model(), [prompt(300), prompt(90)], [list(range(7, 40)), []])
    assert words == ()
    assert nothing == ()


def test_the_pass_leaves_no_hook_behind():
    model = small_model()
    words_of(model, [prompt(200)], [[7, 8, 9]])
    assert not any(layer.self_attn._forward_pre_hooks for layer in model.model.layers)
