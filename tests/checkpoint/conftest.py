"""Small checkpoints of both layouts."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def maker():
    """scripts/make_checkpoint.py as a module."""
    return load_script("make_checkpoint")


@pytest.fixture(scope="session")
def _made(maker, tmp_path_factory):
    made = {}

    def make(layout, **options):
        key = (layout, *sorted(options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp(layout)
            maker.make(made[key], layout, **options)
        return made[key]

    return make


@pytest.fixture
def original(_made, tmp_path):
    """A small checkpoint in the original layout, to read or to spoil: one file."""
    return Path(shutil.copytree(_made("original"), tmp_path / "original"))


@pytest.fixture
def native(_made, tmp_path):
    """The same network in the native layout, its adapters beside it."""
    return Path(shutil.copytree(_made("native"), tmp_path / "native"))


@pytest.fixture
def sharded(_made, tmp_path):
    """The original one in several shards."""
    made = _made("original", shard_bytes=200_000)
    return Path(shutil.copytree(made, tmp_path / "sharded"))


@pytest.fixture(scope="session")
def native_float32(_made):
    """The native one in float32, not to be spoilt."""
    return _made("native", dtype=torch.float32)
