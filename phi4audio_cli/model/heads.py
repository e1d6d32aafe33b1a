"""Finding the attention heads that follow the audio, for one text and without any training.

A head that follows looks at one place at a time, and that place moves on with the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

HEADS_KEPT = 6
FOCUS_FRAMES = 5
"""A head's gaze: the frames (of 80 ms) over which its weight counts as one place."""
LONGEST_STEP = 3
"""A step further than this many times the average, and 10 frames, is a jump."""
WORTH_KEEPING = 0.3
"""Share of the best head's score under which a head is not listened to."""


def follow_scores(weights: torch.Tensor) -> torch.Tensor:
    """Score how well each head follows the audio.

    The product of three numbers from 0 to 1: correlation of the looked-at place with the place
    in the text, share of steps that go forward without a jump, and share of the weight that
    lies in one place.

    Args:
        weights: Attention of text tokens to audio frames, rows adding up to 1, shape
            (heads, tokens, frames), at least 2 tokens.

    Returns:
        Shape (heads,), from 0 to 1.
    """
    return _order(weights) * _focus(weights)


def _order(weights: torch.Tensor) -> torch.Tensor:
    """Return the first two of a head's numbers, multiplied: its score is no higher."""
    _, tokens, frames = weights.shape
    places = torch.arange(frames, dtype=weights.dtype, device=weights.device)
    steps = weights.argmax(dim=-1).diff(dim=-1)
    forward = (steps >= 0) & (steps <= LONGEST_STEP * frames / tokens + 10)
    moved = forward.to(weights.dtype).mean(dim=-1)
    return _correlation_with_order(weights @ places).clamp(min=0) * moved


def _focus(weights: torch.Tensor) -> torch.Tensor:
    """Return the share of each head's weight that lies in one place, mean over the tokens."""
    heads, tokens, frames = weights.shape
    rows = weights.reshape(heads * tokens, 1, frames)
    pooled = torch.nn.functional.avg_pool1d(rows, FOCUS_FRAMES, 1, FOCUS_FRAMES // 2)
    return pooled.amax(dim=-1).reshape(heads, tokens).mean(dim=-1) * FOCUS_FRAMES


def _correlation_with_order(centres: torch.Tensor) -> torch.Tensor:
    """Pearson's correlation of each row with 0, 1, 2, ...; shape (rows, n) to (rows,)."""
    order = torch.arange(centres.shape[1], dtype=centres.dtype, device=centres.device)
    order = order - order.mean()
    moved = centres - centres.mean(dim=1, keepdim=True)
    spread = (moved.square().sum(dim=1) * order.square().sum()).sqrt()
    return (moved * order).sum(dim=1) / spread.clamp(min=1e-6)


@dataclass(slots=True)
class BestHeads:
    """The best heads seen so far, layer after layer, so that the others needn't be kept."""

    scores: list[float] = field(default_factory=list)
    weights: list[torch.Tensor] = field(default_factory=list)

    def offer(self, weights: torch.Tensor) -> None:
        """Take the heads of one layer, shape (heads, tokens, frames), as `follow_scores` does.

        The focus, which takes most of the time, is looked at of those only that may be kept.
        """
        order = _order(weights)
        least = self.scores[-1] if len(self.scores) == HEADS_KEPT else -1.0
        weights = weights[order > least]
        if not len(weights):
            return
        scores = order[order > least] * _focus(weights)
        candidates = list(zip(scores.tolist(), weights, strict=True))
        candidates += zip(self.scores, self.weights, strict=True)
        best = sorted(candidates, key=lambda one: one[0], reverse=True)[:HEADS_KEPT]
        self.scores = [score for score, _ in best]
        self.weights = [kept.clone() for _, kept in best]

    @property
    def score(self) -> float:
        """Of the best head, from 0 to 1."""
        return self.scores[0] if self.scores else 0.0

    def together(self) -> torch.Tensor:
        """Mean of the heads worth listening to, shape (tokens, frames)."""
        worth = [
            weights
            for score, weights in zip(self.scores, self.weights, strict=True)
            if score >= WORTH_KEEPING * self.score
        ]
        return torch.stack(worth).mean(dim=0)
