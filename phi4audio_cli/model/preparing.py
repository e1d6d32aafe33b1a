"""From requests to what the network takes, one by one: what can't be prepared costs itself only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from phi4audio_cli.errors import ModelError
from phi4audio_cli.model.failures import is_of_memory, too_large
from phi4audio_cli.model.inputs import InputBuilder, Pending
from phi4audio_cli.types import Request, RequestFailed

PREPARED = 8
"""Requests that are prepared before the network takes them in."""


def prepare(
    inputs: InputBuilder, feed: Iterable[Request | None]
) -> Iterator[Pending | RequestFailed | None]:
    """Prepare requests in order, each when it comes; None stays None.

    Raises:
        ModelError: The checkpoint lacks what prompts are made of.
    """
    current: list[Request | None] = []

    def prepared() -> Iterator[Pending | None]:
        # Takes what lies there; the second argument, which would end it, never does.
        return inputs.prepare_all(iter(current.pop, current))

    stream = prepared()
    for request in feed:
        current.append(request)
        try:
            yield next(stream)
        except ModelError:
            raise
        except Exception as error:
            if request is None:
                raise
            yield RequestFailed(request, _worded(request, error))
            stream = prepared()  # a generator that raised is over


def _worded(request: Request, error: Exception) -> Exception:
    if is_of_memory(error):
        return too_large(request, torch.device("cpu"), torch.bfloat16)
    return error
