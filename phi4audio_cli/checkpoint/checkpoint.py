"""Open a checkpoint of any layout and read its tensors under their native names.

The model in memory and `strip-export` both read it. Headers are checked against the configuration
before the first tensor is read.
"""

from __future__ import annotations

import contextlib
import copy
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
from phi4audio_cli.checkpoint.safetensors_reader import (
    TensorInfo,
    map_tensor,
    read_blocks,
    read_json,
    read_tensor,
    read_tensor_index,
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
    expected_shapes: Mapping[str, tuple[int, ...]]
    """Shape of every tensor `tensors` yields, by native name, in the same order."""
    stored_tensors: Mapping[str, TensorInfo]
    """Where each of them lies (its base weight, where the speech LoRA is apart)."""
    skipped: tuple[TensorInfo, ...]
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
        """The audio-only model's tensors, one at a time, in the order of `expected_shapes`.

        Yields:
            Native name and a CPU tensor in memory of its own, in `dtype` where it is
            floating-point. A tied output head is not among them.

        Raises:
            CheckpointError: A file can't be read or ends too early.
        """
        for name in self.expected_shapes:
            yield name, self.tensor(name)

    def mapped_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The same as `tensors`, without copies of what is stored as it is wanted.

        Those are pages of their file (`map_tensor`), to be replaced by a rename and never
        overwritten while a model runs on them.

        Raises:
            CheckpointError: A file can't be read or ends too early.
        """
        for name in self.expected_shapes:
            yield name, self.convert(name, map_tensor(self.stored_tensors[name]))

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor of `expected_shapes`, as `tensors` yields it.

        Raises:
            CheckpointError: Its file can't be read or ends too early.
        """
        return self.convert(name, read_tensor(self.stored_tensors[name]))

    def convert(self, name: str, stored: torch.Tensor) -> torch.Tensor:
        """What becomes of a stored tensor: merged where it must be, and in its dtype.

        Args:
            name: Of `expected_shapes`.
            stored: As it was read, in its stored shape.
        """
        module = name.removesuffix(".weight")
        if self.adapter is not None and module in self.merged_modules:
            return self.adapter.merge_into(module, stored, self.dtype)
        return stored.to(self.output_dtype(name))

    def blocks(self, name: str) -> Iterator[torch.Tensor]:
        """The elements of `tensor(name)` in order, flat and a part at a time to save memory.

        Raises:
            CheckpointError: Its file can't be read or ends too early.
        """
        if name.removesuffix(".weight") in self.merged_modules:
            yield self.tensor(name).reshape(-1)
            return
        for piece in read_blocks(self.stored_tensors[name]):
            yield piece.to(self.output_dtype(name))

    def output_dtype(self, name: str) -> torch.dtype:
        """Dtype that `tensors` yields `name` in."""
        stored = self.stored_tensors[name].dtype
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
    source_config = read_json(_require_checkpoint_folder(folder) / "config.json")
    infos = read_tensor_index(folder)
    layout = detect_layout(source_config, infos, str(folder))
    config = native_config(source_config, layout, str(folder / "config.json"))
    expected = expected_tensors(config, str(folder / "config.json"))
    stored, left_out = _match_tensors(infos, expected.shapes, folder)
    found = None
    if speech_lora != "drop":
        found = _find_lora(folder, layout, infos, source_config, adapter)
    if found is not None:
        loras.check_shapes(found, expected.shapes)
        loras.check_not_zero(found)
    return Checkpoint(
        folder=folder,
        layout=layout,
        config=config,
        source_config=source_config,
        expected_shapes=expected.shapes,
        stored_tensors=stored,
        skipped=left_out,
        audio_parameters=expected.parameters,
        stub_parameters=expected.vision_parameters,
        adapter=found,
        merge=found is not None and speech_lora == "merge",
        dtype=dtype,
    )


def _require_checkpoint_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise CheckpointError("there is no such folder", str(folder), "name a checkpoint's folder")
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            "holds no config.json", str(folder), "name a folder with a complete checkpoint"
        )
    return folder


def _match_tensors(
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
        if is_vision_tensor(stored_name) or is_speech_lora_tensor(stored_name):
            left_out.append(info)
        elif name == TIED_HEAD and TIED_HEAD not in shapes:
            _check_shape(info, shapes["model.embed_tokens.weight"])
            left_out.append(info)
        elif name not in shapes:
            raise CheckpointError(
                "is a tensor this model doesn't have",
                info.description,
                "is it another architecture?",
            )
        elif name in kept:
            raise CheckpointError(f"is {name} for a second time", info.description)
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
            info.description,
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
        return loras.read_peft_adapter(adapter)
    mark = exported_lora_state(config)
    if mark == "merged":
        return None
    if inline := loras.read_inline_lora(infos, config, str(folder)):
        return inline
    if (folder / ADAPTER_FOLDER).is_dir():
        return loras.read_peft_adapter(folder / ADAPTER_FOLDER)
    if layout == "stripped" and mark is None:
        return None
    raise CheckpointError(
        f"has no speech LoRA: neither among its weights nor in {ADAPTER_FOLDER}/, "
        "and without it the model can't listen",
        str(folder),
        f"add the {ADAPTER_FOLDER} folder of its source, or name one with --adapter; where it is "
        f'merged already, say so in config.json: "{EXPORT_KEY}": {{"speech_lora": "merged"}}',
    )


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
    """Builds transformers' class on the meta device and lists its tensors without vision.

    Args:
        config: Native configuration.
        where: The checkpoint, for the message.

    Raises:
        CheckpointError: transformers refuses the configuration.
    """
    # 3.5 s to import, and not needed to find or download a checkpoint.
    from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM
    from transformers.initialization import no_init_weights

    # A copy, because transformers adds to the dictionaries it is given.
    own = copy.deepcopy(dict(config))
    try:
        with _transformers_errors_only(), torch.device("meta"), no_init_weights():
            model = Phi4MultimodalForCausalLM(Phi4MultimodalConfig(**own))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"its configuration is refused: {reason}", where) from error
    tied = bool(config.get("tie_word_embeddings", False))
    shapes = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if not is_vision_tensor(name) and not (tied and name == TIED_HEAD)
    }
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    vision = sum(size for name, size in sizes.items() if is_vision_tensor(name))
    return ExpectedTensors(shapes, sum(sizes[name] for name in shapes if name in sizes), vision)


@contextlib.contextmanager
def _transformers_errors_only() -> Iterator[None]:
    """Keeps transformers' advice on how a published config could be written to itself."""
    import logging as levels

    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(levels.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
