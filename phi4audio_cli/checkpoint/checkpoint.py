"""Open a checkpoint of any layout and read its tensors under their native names.

Loading and `strip-export` use it. The names and shapes in the headers are checked against the
configuration before any tensor is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from phi4audio_cli.checkpoint import lora as loras
from phi4audio_cli.checkpoint.layout import (
    ADAPTER_FOLDER,
    EXPORT_KEY,
    TIED_HEAD,
    Layout,
    detect_layout,
    exported_lora_state,
    is_speech_lora_tensor,
    is_vision_tensor,
    native_config,
    native_name,
)
from phi4audio_cli.checkpoint.lora import SpeechLora
from phi4audio_cli.checkpoint.mapped_files import MappedFiles
from phi4audio_cli.checkpoint.safetensors_reader import (
    TensorInfo,
    read_blocks,
    read_json,
    read_tensor,
    read_tensor_index,
)
from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.network.config import Config
from phi4audio_cli.network.phi4 import Phi4Audio

SpeechLoraMode = Literal["merge", "keep", "drop"]
"""merge: into the weights; keep: leave weights and LoRA separate; drop: leave the LoRA out."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose tensors have the names and shapes of its configuration."""

    folder: Path
    layout: Layout
    config: Mapping[str, Any]
    """Native configuration with a stub for vision, ready for `Phi4MultimodalConfig(**config)`."""
    expected_shapes: Mapping[str, tuple[int, ...]]
    """Shape of every tensor that `tensors` yields, by native name, in the same order."""
    stored_tensors: Mapping[str, TensorInfo]
    """Position of each of them in a file; the base weight where the speech LoRA is separate."""
    skipped: tuple[TensorInfo, ...]
    """Stored tensors that are not yielded: vision, LoRAs, a copy of a tied head."""
    audio_parameters: int
    """Parameters of the audio-only model."""
    stub_parameters: int
    """Parameters of vision that plain transformers still allocates with `config`."""
    adapter: SpeechLora | None
    """The separate speech LoRA; None: it is merged into the stored weights, or dropped."""
    merge: bool
    """Whether `tensors` merges `adapter`."""
    dtype: torch.dtype | None
    """Of the floating-point tensors that are yielded; None: as stored."""

    @property
    def merged_modules(self) -> frozenset[str]:
        """Native names of the linear layers into which `tensors` merges the speech LoRA."""
        return frozenset(self.adapter.pairs) if self.adapter and self.merge else frozenset()

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the tensors of the audio-only model in the order of `expected_shapes`.

        Yields:
            The native name and a CPU tensor with its own memory, in `dtype` if it is
            floating-point. A tied output head is not among them.

        Raises:
            CheckpointError: A file can't be read or ends too early.
        """
        for name in self.expected_shapes:
            yield name, self.tensor(name)

    def mapped_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the same tensors without copies of those that need no merge and no conversion.

        These are pages of their file, which is mapped once (`MappedFiles`). A program that updates
        the file must replace it by a rename, and never overwrite it while a model uses it.

        Raises:
            CheckpointError: A file can't be read or ends too early.
        """
        files = MappedFiles()
        for name in self.expected_shapes:
            yield name, self.convert(name, files.tensor(self.stored_tensors[name]))

    def tensor(self, name: str) -> torch.Tensor:
        """Return one tensor of `expected_shapes`, as `tensors` yields it.

        Raises:
            CheckpointError: Its file can't be read or ends too early.
        """
        return self.convert(name, read_tensor(self.stored_tensors[name]))

    def convert(self, name: str, stored: torch.Tensor) -> torch.Tensor:
        """Return a stored tensor in its output dtype, with the speech LoRA merged if it has one.

        Args:
            name: Of `expected_shapes`.
            stored: The tensor as it was read.
        """
        module = name.removesuffix(".weight")
        if self.adapter is not None and module in self.merged_modules:
            return self.adapter.merge_into(module, stored, self.dtype)
        return stored.to(self.output_dtype(name))

    def blocks(self, name: str) -> Iterator[torch.Tensor]:
        """Yield the elements of `tensor(name)` in order, in flat blocks, to save memory.

        Raises:
            CheckpointError: Its file can't be read or ends too early.
        """
        if name.removesuffix(".weight") in self.merged_modules:
            yield self.tensor(name).reshape(-1)
            return
        for block in read_blocks(self.stored_tensors[name]):
            yield block.to(self.output_dtype(name))

    def output_dtype(self, name: str) -> torch.dtype:
        """Return the dtype in which `tensors` yields `name`."""
        stored = self.stored_tensors[name].dtype
        return self.dtype if self.dtype and stored.is_floating_point else stored


def open_checkpoint(
    folder: Path,
    *,
    adapter: Path | None = None,
    speech_lora: SpeechLoraMode = "merge",
    dtype: torch.dtype | None = None,
) -> Checkpoint:
    """Open a checkpoint of any layout; read its headers, and a LoRA only as far as needed.

    Args:
        folder: With `config.json` and safetensors weights.
        adapter: Folder of a speech LoRA in peft's format that replaces the checkpoint's own.
        speech_lora: Treatment of a separate speech LoRA.
        dtype: Of the floating-point tensors; None: as stored.

    Raises:
        CheckpointError: A file or tensor is missing, unknown, misshaped or damaged; weights are
            pickles; the speech LoRA is missing; or `adapter` is given for weights into which a
            speech LoRA is merged.
    """
    source_config = read_json(_require_checkpoint_folder(folder) / "config.json")
    infos = read_tensor_index(folder)
    layout = detect_layout(source_config, infos, str(folder))
    config = native_config(source_config, layout, str(folder / "config.json"))
    expected = expected_tensors(config, str(folder / "config.json"))
    stored, skipped = _match_tensors(infos, expected.shapes, folder)
    lora = None
    if speech_lora != "drop":
        lora = _find_lora(folder, layout, infos, source_config, adapter)
    if lora is not None:
        loras.check_shapes(lora, expected.shapes)
        loras.check_not_zero(lora)
    return Checkpoint(
        folder=folder,
        layout=layout,
        config=config,
        expected_shapes=expected.shapes,
        stored_tensors=stored,
        skipped=skipped,
        audio_parameters=expected.parameters,
        stub_parameters=expected.vision_parameters,
        adapter=lora,
        merge=lora is not None and speech_lora == "merge",
        dtype=dtype,
    )


def _require_checkpoint_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise CheckpointError("no such folder", str(folder), "name the folder of a checkpoint")
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            "has no config.json", str(folder), "name a folder with a complete checkpoint"
        )
    return folder


def _match_tensors(
    infos: Mapping[str, TensorInfo], shapes: Mapping[str, tuple[int, ...]], folder: Path
) -> tuple[dict[str, TensorInfo], tuple[TensorInfo, ...]]:
    """Return the stored tensors of the audio-only model by native name, and the others.

    Raises:
        CheckpointError: One is missing, unknown or misshaped.
    """
    kept: dict[str, TensorInfo] = {}
    skipped = []
    for stored_name, info in infos.items():
        name = native_name(stored_name)
        if is_vision_tensor(stored_name) or is_speech_lora_tensor(stored_name):
            skipped.append(info)
        elif name == TIED_HEAD and TIED_HEAD not in shapes:
            _check_shape(info, shapes["model.embed_tokens.weight"])
            skipped.append(info)
        elif name not in shapes:
            raise CheckpointError(
                "the model has no such tensor",
                info.description,
                "check that the checkpoint has the architecture of Phi-4-multimodal",
            )
        elif name in kept:
            raise CheckpointError(f"is a second copy of {name}", info.description)
        else:
            _check_shape(info, shapes[name])
            kept[name] = info
    if missing := [name for name in shapes if name not in kept]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(
            f"{missing[0]}{more} missing", str(folder), "download or copy the checkpoint again"
        )
    return {name: kept[name] for name in shapes}, tuple(skipped)


def _check_shape(info: TensorInfo, shape: tuple[int, ...]) -> None:
    if info.shape != shape:
        raise CheckpointError(
            f"has the shape {list(info.shape)}, but its config needs {list(shape)}",
            info.description,
            "use the config and the weights of the same model",
        )


def _find_lora(
    folder: Path,
    layout: Layout,
    infos: Mapping[str, TensorInfo],
    config: Mapping[str, Any],
    adapter: Path | None,
) -> SpeechLora | None:
    """Return the separate speech LoRA, or None if it is merged into the stored weights.

    Raises:
        CheckpointError: It is missing; or `adapter` is given for weights that have it merged.
    """
    state = exported_lora_state(config)
    own_folder = folder / ADAPTER_FOLDER
    separate = own_folder.is_dir() or any(map(is_speech_lora_tensor, infos))
    merged = state == "merged" or (state is None and layout == "stripped" and not separate)
    if adapter is not None:
        if merged:
            raise _second_lora_error(folder)
        return loras.read_peft_adapter(adapter)
    if merged:
        return None
    if inline := loras.read_inline_lora(infos, config, str(folder)):
        return inline
    if own_folder.is_dir():
        return loras.read_peft_adapter(own_folder)
    raise CheckpointError(
        f"has no speech LoRA: neither among its weights nor in {ADAPTER_FOLDER}/, "
        "and without it the model can't transcribe",
        str(folder),
        f"add the {ADAPTER_FOLDER} folder of its source, or name one with --adapter; if it is "
        f'merged into the weights, set in config.json: "{EXPORT_KEY}": {{"speech_lora": "merged"}}',
    )


def _second_lora_error(folder: Path) -> CheckpointError:
    return CheckpointError(
        "its weights have a speech LoRA merged already, and --adapter would add a second one",
        str(folder),
        "leave out --adapter, or use it with the source of this checkpoint, "
        "or with an export made by `strip-export --speech-lora keep` or `drop`",
    )


STUB_TOWER_PARAMETERS = 22
"""Parameters of transformers' vision tower where its configuration is `config.VISION_STUB`."""


@dataclass(frozen=True, slots=True)
class ExpectedTensors:
    """The tensors of the audio-only model, in the order of transformers' class."""

    shapes: Mapping[str, tuple[int, ...]]
    """By native name; parameters and stored buffers; a tied output head is left out."""
    parameters: int
    """Number of parameters, a tied output head counted once, buffers not counted."""
    vision_parameters: int
    """Parameters of vision that transformers' class still builds with this configuration."""


def expected_tensors(config: Mapping[str, Any], where: str) -> ExpectedTensors:
    """Lists the tensors of the network, which is built on the meta device.

    Args:
        config: Native configuration.
        where: The checkpoint, for the message.

    Raises:
        CheckpointError: The configuration is damaged, or of another network.
    """
    sizes = Config.from_dict(config, where)
    with torch.device("meta"):
        network = Phi4Audio(sizes)
    shapes = {
        name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if not (sizes.tie_word_embeddings and name == TIED_HEAD)
    }
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return ExpectedTensors(shapes, parameters, _vision_parameters(sizes))


def _vision_parameters(config: Config) -> int:
    """Count the linear layers to and from the decoder's width, and the stub of a tower."""
    width = config.hidden_size
    speech_up = width * (config.audio.hidden_size + 1)
    image_up = width * 2  # from the stub's width of 1
    down = width * (width + 1)
    return speech_up + image_up + 2 * down + STUB_TOWER_PARAMETERS
