"""Small checkpoints of both layouts."""

import shutil
from pathlib import Path

import pytest
import torch

from tools.make_checkpoint import random_checkpoint


@pytest.fixture(scope="session")
def _made(tmp_path_factory):
    made = {}

    def make(layout, **options):
        key = (layout, *sorted(options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp(layout)
            random_checkpoint.make(made[key], layout, **options)
        return made[key]

    return make


@pytest.fixture
def original(_made, tmp_path):
    """A small checkpoint in the original layout, one file; a test may damage it."""
    return Path(shutil.copytree(_made("original"), tmp_path / "original"))


@pytest.fixture
def native(_made, tmp_path):
    """The same network in the native layout, with the adapter folder next to the weights."""
    return Path(shutil.copytree(_made("native"), tmp_path / "native"))


@pytest.fixture
def sharded(_made, tmp_path):
    """The original checkpoint in several shards."""
    made = _made("original", shard_bytes=200_000)
    return Path(shutil.copytree(made, tmp_path / "sharded"))


@pytest.fixture(scope="session")
def native_float32(_made):
    """The native checkpoint in float32, shared: a test must not change it."""
    return _made("native", dtype=torch.float32)
