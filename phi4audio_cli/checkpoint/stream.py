"""One stream of (name, tensor) out of a checkpoint of any layout.

Two sinks read it: the model in memory and the files of `strip-export`. Everything that can be
known from the headers is checked before the first tensor is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from phi4audio_cli.checkpoint import lora as loras
from phi4audio_cli.checkpoint.config import MARK, native_config, speech_lora_mark
from phi4audio_cli.checkpoint.expected import expected_tensors
from phi4audio_cli.checkpoint.layout import (
    TIED,
    Layout,
    detect,
    is_speech_lora,
    is_vision,
    native_name,
)
from phi4audio_cli.checkpoint.lora import SpeechLora
from phi4audio_cli.checkpoint.names import ADAPTER_FOLDER
from phi4audio_cli.checkpoint.shards import (
    TensorInfo,
    map_tensor,
    read_json,
    read_pieces,
    read_tensor,
    weight_infos,
)
from phi4audio_cli.errors import CheckpointError

SpeechLoraMode = Literal["merge", "keep", "drop"]
"""merge: into the weights; keep: apart, the weights as they are; drop: without."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose names and shapes were found to be those of its configuration."""

    folder: Path
    layout: Layout
    config: Mapping[str, Any]
    """Native configuration with a stub for vision, ready for `Phi4MultimodalConfig(**config)`."""
    source_config: Mapping[str, Any]
    """`config.json` as it lies there."""
    expected: Mapping[str, tuple[int, ...]]
    """Shape of every tensor `tensors` yields, by native name, in the same order."""
    stored: Mapping[str, TensorInfo]
    """Where each of them lies (its base weight, where the speech LoRA is apart)."""
    left_out: tuple[TensorInfo, ...]
    """Stored tensors that are not yielded: vision, LoRAs, a second copy of a tied head."""
    audio_parameters: int
    """Parameters of the audio-only model."""
    stub_parameters: int
    """Parameters of vision that plain transformers still allocates with `config`."""
    adapter: SpeechLora | None
    """The speech LoRA that lies apart; None where the weights have it merged, or it is dropped."""
    merge: bool
    """Whether `tensors` merges `adapter`."""
    dtype: torch.dtype | None
    """Of the floating-point tensors that are yielded; as stored where None."""

    @property
    def tokenizer_files(self) -> Path:
        """Folder with the tokenizer's files."""
        return self.folder

    @property
    def preprocessor(self) -> Path:
        """Folder with `preprocessor_config.json`."""
        return self.folder

    @property
    def merged_modules(self) -> frozenset[str]:
        """Native names of the linear layers `tensors` merges the speech LoRA into."""
        return frozenset(self.adapter.pairs) if self.adapter and self.merge else frozenset()

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The audio-only model's tensors, one at a time, in the order of `expected`.

        Yields:
            Native name and a CPU tensor in memory of its own, in `dtype` where it is
            floating-point. A tied output head is not among them.

        Raises:
            CheckpointError: A file can't be read or ends too early.
        """
        for name in self.expected:
            yield name, self.tensor(name)

    def mapped_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The same as `tensors`, without copies of what is stored as it is wanted.

        Those are pages of their file (`map_tensor`), to be replaced by a rename and never
        overwritten while a model runs on them.

        Raises:
            CheckpointError: A file can't be read or ends too early.
        """
        for name in self.expected:
            yield name, self.finish(name, map_tensor(self.stored[name]))

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor of `expected`, as `tensors` yields it.

        Raises:
            CheckpointError: Its file can't be read or ends too early.
        """
        return self.finish(name, read_tensor(self.stored[name]))

    def finish(self, name: str, stored: torch.Tensor) -> torch.Tensor:
        """What becomes of a stored tensor: merged where it must be, and in its dtype.

        Args:
            name: Of `expected`.
            stored: As it was read, in its stored shape.
        """
        module = name.removesuffix(".weight")
        if self.adapter is not None and module in self.merged_modules:
            return self.adapter.merged(module, stored, self.dtype)
        return stored.to(self.result_dtype(name))

    def pieces(self, name: str) -> Iterator[torch.Tensor]:
        """The elements of `tensor(name)` in order, flat and a part at a time to save memory.

        Raises:
            CheckpointError: Its file can't be read or ends too early.
        """
        if name.removesuffix(".weight") in self.merged_modules:
            yield self.tensor(name).reshape(-1)
            return
        for piece in read_pieces(self.stored[name]):
            yield piece.to(self.result_dtype(name))

    def result_dtype(self, name: str) -> torch.dtype:
        """Dtype that `tensors` yields `name` in."""
        stored = self.stored[name].dtype
        return self.dtype if self.dtype and stored.is_floating_point else stored


def open_checkpoint(
    folder: Path,
    *,
    adapter: Path | None = None,
    speech_lora: SpeechLoraMode = "merge",
    dtype: torch.dtype | None = None,
) -> Checkpoint:
    """Opens a checkpoint of any layout; reads headers, and no more of a LoRA than needed.

    Args:
        folder: With `config.json` and safetensors weights.
        adapter: A folder with another speech LoRA, in peft's format, than the checkpoint's own.
        speech_lora: What to do with a speech LoRA that lies apart.
        dtype: Of the floating-point tensors; as stored where None.

    Raises:
        CheckpointError: A file or tensor is missing, unknown, misshaped or damaged; weights are
            pickles; or the speech LoRA is missing where the layout has one apart.
    """
    source_config = read_json(_existing(folder) / "config.json")
    infos = weight_infos(folder)
    layout = detect(source_config, infos, str(folder))
    config = native_config(source_config, layout, str(folder / "config.json"))
    expected = expected_tensors(config, str(folder / "config.json"))
    stored, left_out = _sort(infos, expected.shapes, folder)
    found = None
    if speech_lora != "drop":
        found = _find_lora(folder, layout, infos, source_config, adapter)
    if found is not None:
        loras.check_fit(found, expected.shapes)
        loras.check_not_zero(found)
    return Checkpoint(
        folder=folder,
        layout=layout,
        config=config,
        source_config=source_config,
        expected=expected.shapes,
        stored=stored,
        left_out=left_out,
        audio_parameters=expected.parameters,
        stub_parameters=expected.vision_parameters,
        adapter=found,
        merge=found is not None and speech_lora == "merge",
        dtype=dtype,
    )


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise CheckpointError("there is no such folder", str(folder), "name a checkpoint's folder")
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            "holds no config.json", str(folder), "name a folder with a complete checkpoint"
        )
    return folder


def _sort(
    infos: Mapping[str, TensorInfo], shapes: Mapping[str, tuple[int, ...]], folder: Path
) -> tuple[dict[str, TensorInfo], tuple[TensorInfo, ...]]:
    """The stored tensors of the audio-only model, by native name, and the others.

    Raises:
        CheckpointError: One is missing, unknown or misshaped.
    """
    kept: dict[str, TensorInfo] = {}
    left_out = []
    for stored_name, info in infos.items():
        name = native_name(stored_name)
        if is_vision(stored_name) or is_speech_lora(stored_name):
            left_out.append(info)
        elif name == TIED and TIED not in shapes:
            _check_shape(info, shapes["model.embed_tokens.weight"])
            left_out.append(info)
        elif name not in shapes:
            raise CheckpointError(
                "is a tensor this model doesn't have", info.where, "is it another architecture?"
            )
        elif name in kept:
            raise CheckpointError(f"is {name} for a second time", info.where)
        else:
            _check_shape(info, shapes[name])
            kept[name] = info
    if missing := [name for name in shapes if name not in kept]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(
            f"{missing[0]}{more} missing", str(folder), "download or copy the checkpoint again"
        )
    return {name: kept[name] for name in shapes}, tuple(left_out)


def _check_shape(info: TensorInfo, shape: tuple[int, ...]) -> None:
    if info.shape != shape:
        raise CheckpointError(
            f"has shape {list(info.shape)}, its config asks for {list(shape)}",
            info.where,
            "config and weights come from different models",
        )


def _find_lora(
    folder: Path,
    layout: Layout,
    infos: Mapping[str, TensorInfo],
    config: Mapping[str, Any],
    adapter: Path | None,
) -> SpeechLora | None:
    """The speech LoRA that lies apart, or None where the weights have it already.

    Raises:
        CheckpointError: The layout has it apart and it isn't there.
    """
    if adapter is not None:
        return loras.folder_lora(adapter)
    mark = speech_lora_mark(config)
    if mark == "merged":
        return None
    if inline := loras.inline_lora(infos, config, str(folder)):
        return inline
    if (folder / ADAPTER_FOLDER).is_dir():
        return loras.folder_lora(folder / ADAPTER_FOLDER)
    if layout == "stripped" and mark is None:
        return None
    raise CheckpointError(
        f"has no speech LoRA: neither among its weights nor in {ADAPTER_FOLDER}/, "
        "and without it the model can't listen",
        str(folder),
        f"add the {ADAPTER_FOLDER} folder of its source, or name one with --adapter; where it is "
        f'merged already, say so in config.json: "{MARK}": {{"speech_lora": "merged"}}',
    )
