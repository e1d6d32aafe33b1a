"""Mutations of a file: damage by disks, networks, recorders and attackers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

HEADER_BYTES = 512
"""Bytes that contain most headers."""

EXTREME_NUMBERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
"""Numbers that programs often handle wrongly."""


def mutate(data: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """Damage a file in one to three ways.

    Args:
        data: The file.
        other: A file of another format.
        random: The source of randomness.
    """
    for _ in range(random.integers(1, 4)):
        mutation = MUTATIONS[random.integers(len(MUTATIONS))]
        data = mutation(data, other, random) or data
    return data


def flip_bits(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Flip up to 4 bits anywhere."""
    return _flip_random_bits(data, len(data), random)


def flip_header_bits(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Flip up to 4 bits where headers are."""
    return _flip_random_bits(data, min(HEADER_BYTES, len(data)), random)


def set_number(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Put an extreme number into the header, of 1, 2, 4 or 8 bytes and either order."""
    width = int(random.choice([1, 2, 4, 8]))
    place = int(random.integers(min(HEADER_BYTES, len(data))))
    number: int = int(random.choice(EXTREME_NUMBERS)) & (256**width - 1)
    order: Literal["little", "big"] = "little" if random.integers(2) else "big"
    return data[:place] + number.to_bytes(width, order) + data[place + width :]


def truncate(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Remove the end."""
    return data[: random.integers(1, len(data) + 1)]


def lose_block(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Remove up to 4 KB."""
    start, stop = _random_block(data, random)
    return data[:start] + data[stop:]


def zero_block(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Replace up to 4 KB by zeros, as on a failed disk."""
    start, stop = _random_block(data, random)
    return data[:start] + bytes(stop - start) + data[stop:]


def zero_header(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Replace the first bytes by zeros."""
    length = random.integers(1, min(64, len(data)) + 1)
    return bytes(length) + data[length:]


def noise_block(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Replace up to 4 KB by random bytes."""
    start, stop = _random_block(data, random)
    return data[:start] + random.bytes(stop - start) + data[stop:]


def swap_blocks(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Exchange two adjacent parts."""
    first, middle, last = np.sort(random.integers(0, len(data) + 1, 3))
    return data[:first] + data[middle:last] + data[first:middle] + data[last:]


def repeat_block(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Repeat up to 4 KB."""
    start, stop = _random_block(data, random)
    return data[:stop] + data[start:stop] * int(random.integers(1, 8)) + data[stop:]


def splice(data: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """Begin as one format and end as another."""
    return data[: random.integers(len(data) + 1)] + other[random.integers(len(other)) :]


Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]
MUTATIONS: list[Mutation] = [
    flip_bits, flip_header_bits, flip_header_bits, set_number, set_number, truncate, lose_block,
    zero_block, zero_header, noise_block, swap_blocks, repeat_block, splice,
]  # fmt: skip


def _flip_random_bits(data: bytes, stop: int, random: np.random.Generator) -> bytes:
    flipped = bytearray(data)
    for place in random.integers(0, stop, random.integers(1, 5)):
        flipped[place] ^= 1 << random.integers(8)
    return bytes(flipped)


def _random_block(data: bytes, random: np.random.Generator) -> tuple[int, int]:
    start = int(random.integers(len(data)))
    return start, min(len(data), start + int(random.integers(1, 4096)))
