"""Answers of a backend, without its failures."""

from __future__ import annotations

from collections.abc import Iterable

from phi4audio_cli.model.torch_backend import TorchBackend
from phi4audio_cli.types import Generation, Request, RequestFailed


def answer_all(backend: TorchBackend, requests: Iterable[Request | None]) -> list[Generation]:
    """Answer requests.

    Returns:
        The answers in the order in which they finish.

    Raises:
        Phi4AudioError: A request fails.
    """
    answers = []
    for response in backend.generate(requests):
        if isinstance(response, RequestFailed):
            raise response.error
        answers.append(response)
    return answers
