"""Requests, answers and resume stores for the tests of journals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from phi4audio_cli.jobs.resume import ResumeStore
from phi4audio_cli.types import (
    WIDE_BAND,
    Chunk,
    Generation,
    Job,
    Request,
    Segment,
    Transcript,
    Word,
)

IDENTITY: Mapping[str, Any] = {"task": "Transcribe", "model": "m", "settings": {"vad": True}}

TRANSCRIPT = Transcript(
    "na\udce9 \u00fc", "French", (
        Segment(0, 0.1, 1 / 3, "na", "attention", -0.123, words=(Word(" na", 0.1, 1 / 3, 0.5),)),
        Segment(1, 1, 2.0, "ü", "chunk", None, "length", flags=("loop",), tried=("halves",)),
    ), 2.0, "Transcribe.", language_from="given", speech=1.5, uncovered=0,
)  # fmt: skip


def request(start: int = 0, **fields) -> Request:
    chunk = Chunk(0, np.zeros(100, np.float32), WIDE_BAND, start)
    return Request(0, chunk, "prompt", 10, **fields)


def answer(to: Request, text: str = "hello") -> Generation:
    words = (Word("hello", 0.1, 1 / 3, None),)
    return Generation(to, text, (5, 6), (-0.1, -math.pi), "stop", words)


def make_store(identity: Mapping[str, Any] = IDENTITY, **options) -> ResumeStore:
    return ResumeStore(lambda job: identity, lambda job: nullcontext(job.source), **options)


def opened_store(job: Job, **options) -> ResumeStore:
    store = make_store(**options)
    store.open_recording(job, job.source)
    return store
