"""Compare the answers of an export with those of its source, in plain transformers.

The source runs with a separate, active adapter. The two models run one after the other on one
recording. No other module of the program imports transformers' model.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from phi4audio_cli.checkpoint.checkpoint import Checkpoint, open_checkpoint
from phi4audio_cli.checkpoint.lora import SpeechLora
from phi4audio_cli.checkpoint.safetensors_reader import read_tensor
from phi4audio_cli.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

COMPARED_TOKENS = 8
"""Number of compared greedy tokens."""
MAX_LOGIT_DEVIATION = 0.3
"""Largest accepted difference of the logits, as a share of their standard deviation. Rounding the
merged weights to bfloat16 gives up to 0.09 in tiny random networks, a missing adapter more than 1.
"""
TIE_FACTOR = 6.0
"""Two tokens tie if the difference of their logits is below this multiple of the deviation."""

TRANSCRIBE_INSTRUCTION = "Transcribe the audio clip into text."


@dataclass(frozen=True, slots=True)
class TransformersInputs:
    """One recording and its prompt as inputs of transformers' class."""

    input_ids: torch.Tensor
    """(1, length)"""
    audio_input_features: torch.Tensor
    """(1, frames, 80), log-mel"""
    audio_embed_sizes: torch.Tensor
    """(1,), number of audio tokens in the prompt"""


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Result of the comparison."""

    tokens: int
    """Number of compared greedy tokens."""
    same: int
    """Number of equal tokens; the others are ties."""
    deviation: float
    """Largest deviation of the logits, as a share of their standard deviation."""


def build_inputs(
    folder: Path, samples: npt.NDArray[np.float32], audio_token_id: int
) -> TransformersInputs:
    """Return the prompt of a transcription.

    Args:
        folder: With the tokenizer and the feature extractor of transformers.
        samples: Mono, 16 kHz, at most 40 s.
        audio_token_id: Id of the placeholder of audio.
    """
    from transformers import AutoTokenizer, Phi4MultimodalFeatureExtractor

    tokenizer = AutoTokenizer.from_pretrained(folder)
    extractor = Phi4MultimodalFeatureExtractor.from_pretrained(folder)
    audio = extractor(samples, sampling_rate=16_000, return_tensors="pt")
    count = int(audio["audio_embed_sizes"][0])
    head = tokenizer.encode("<|user|>", add_special_tokens=False)
    tail = tokenizer.encode(
        f"{TRANSCRIBE_INSTRUCTION}<|end|><|assistant|>", add_special_tokens=False
    )
    ids = torch.tensor([head + [audio_token_id] * count + tail])
    return TransformersInputs(ids, audio["audio_input_features"], torch.tensor([count]))


def compare_answers(
    source: Checkpoint,
    export: Path,
    inputs: TransformersInputs,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Equivalence:
    """Compare the greedy tokens of the source with those of the export after the same tokens.

    Args:
        source: Opened with its adapter.
        export: Folder of the export.
        inputs: Inputs of both models.
        device: Holds the weights of one model at a time.
        dtype: Of the computation of both models.

    Raises:
        CheckpointError: The answers differ.
    """
    expected = _run_checkpoint(source, inputs, None, device, dtype)
    chosen = [int(row.argmax()) for row in expected]
    gc.collect()  # the first network has reference cycles; free it before the second is loaded
    found = _run_checkpoint(open_checkpoint(export), inputs, chosen, device, dtype)
    deviations = [
        float((new - old).square().mean().sqrt()) / float(old.std())
        for old, new in zip(expected, found, strict=True)
    ]
    if (worst := max(deviations)) > MAX_LOGIT_DEVIATION:
        raise CheckpointError(
            f"its logits differ from the source's by {100 * worst:.0f} % of their spread",
            str(export),
            "this is a bug, please report it",
        )
    same = sum(
        _same_token(old, new, export, step)
        for step, (old, new) in enumerate(zip(expected, found, strict=True))
    )
    return Equivalence(len(expected), same, worst)


def _same_token(old: torch.Tensor, new: torch.Tensor, export: Path, step: int) -> bool:
    """Return whether both choose the same token.

    Raises:
        CheckpointError: The tokens differ and do not tie.
    """
    mine, theirs = int(new.argmax()), int(old.argmax())
    if mine == theirs:
        return True
    noise = float((new - old).square().mean().sqrt())
    if float(old[theirs] - old[mine]) > TIE_FACTOR * noise:
        raise CheckpointError(
            f"token {step} of its answer is {mine}, the source's is {theirs}",
            str(export),
            "this is a bug, please report it",
        )
    return False


def _run_checkpoint(
    checkpoint: Checkpoint,
    inputs: TransformersInputs,
    forced: list[int] | None,
    device: str,
    dtype: torch.dtype,
) -> list[torch.Tensor]:
    """Return the logits of a checkpoint; a separate adapter is active and not merged."""
    separate = replace(checkpoint, merge=False, dtype=dtype)
    model = _build_reference_model(separate, device)
    with _adapter_hooks(separate.adapter, model, dtype):
        return _decode(model, inputs, forced)


def _build_reference_model(checkpoint: Checkpoint, device: str) -> Any:
    """Build transformers' class with a stub for vision and fill it tensor by tensor."""
    from accelerate.utils import set_module_tensor_to_device
    from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM
    from transformers.models.phi4_multimodal import modeling_phi4_multimodal as native

    config = Phi4MultimodalConfig(**copy.deepcopy(dict(checkpoint.config)))
    with torch.device("meta"):
        model = Phi4MultimodalForCausalLM(config)
    for name, tensor in checkpoint.tensors():
        set_module_tensor_to_device(model, name, device, value=tensor, dtype=tensor.dtype)
    model.model.rotary_emb = native.Phi4MultimodalRotaryEmbedding(config=config).to(device)
    model.tie_weights()
    extend = model.model.embed_tokens_extend
    del extend.image_embed, extend.audio_embed.up_proj_for_vision_speech
    del extend.audio_embed.down_proj_for_vision_speech
    return model.eval()


@contextmanager
def _adapter_hooks(lora: SpeechLora | None, model: Any, dtype: torch.dtype) -> Iterator[None]:
    """Add scale * B(A(x)) to the outputs of the linear layers of a LoRA, as peft does."""
    hooks = []
    if lora is not None:
        for module, pair in lora.pairs.items():
            linear = model.get_submodule(module)
            a = read_tensor(pair.a).to(linear.weight.device, dtype)
            b = read_tensor(pair.b).to(linear.weight.device, dtype)
            hooks.append(linear.register_forward_hook(_lora_hook(a, b, lora.scale)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _lora_hook(a: torch.Tensor, b: torch.Tensor, scale: float) -> Callable[..., torch.Tensor]:
    def add(module: object, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return output + scale * (inputs[0] @ a.T @ b.T)

    return add


@torch.inference_mode()
def _decode(model: Any, inputs: TransformersInputs, forced: list[int] | None) -> list[torch.Tensor]:
    """Return the logits of each step, (vocabulary,) in float32: greedy, or after given tokens."""
    place = model.model.embed_tokens.weight
    ids = inputs.input_ids.to(place.device)
    features = inputs.audio_input_features.to(place.device, place.dtype)
    audio = {
        "audio_input_features": features,
        "audio_embed_sizes": inputs.audio_embed_sizes.to(place.device),
    }
    logits = []
    cache = None
    for step in range(COMPARED_TOKENS):
        output = model(
            input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **audio
        )
        cache, audio = output.past_key_values, {}
        logits.append(output.logits[0, -1].float().cpu())
        ids = ids.new_tensor([[forced[step] if forced else int(logits[-1].argmax())]])
    return logits
