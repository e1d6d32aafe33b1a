"""The files of an export next to its weights: model card, licence, configuration, tokenizer."""

from __future__ import annotations

import re
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint.export_plan import ExportPlan
from pathlib import Path
from typing import Any

from phi4audio_cli.checkpoint.checkpoint import Checkpoint
from phi4audio_cli.checkpoint.export_plan import ExportPlan
from phi4audio_cli.checkpoint.layout import ADAPTER_CONFIG, ADAPTER_FOLDER, EXPORT_KEY
from phi4audio_cli.checkpoint.safetensors_reader import read_json
from phi4audio_cli.checkpoint.safetensors_writer import write_json, write_text
from phi4audio_cli.errors import CheckpointError

BASE_MODEL = "microsoft/Phi-4-multimodal-instruct"
CARD_LANGUAGES = ("en", "zh", "de", "fr", "it", "ja", "es", "pt")

MIT_LICENSE = """\
MIT License

Copyright (c) Microsoft Corporation.

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""

_LORA_SENTENCES = {
    "merge": "The speech LoRA is merged into the weights: nothing else is needed to listen.",
    "keep": "The speech LoRA lies in `speech-lora/`, in peft's format, and **must be loaded**: "
    "without it the model answers that it can't listen.",
    "drop": "**The speech LoRA was left out: this model does not understand audio.** "
    "It is a base for further training.",
}

_LOAD_ADAPTER = """
from peft import PeftModel

model = PeftModel.from_pretrained(model, folder + "/speech-lora")
"""

_CARD = Template("""\
---
library_name: transformers
license: mit
base_model: $base
pipeline_tag: automatic-speech-recognition
language:
$languages
tags:
- audio
- speech-recognition
- speech-translation
- phi-4-multimodal
---
# Phi-4-Audio

Phi-4-multimodal-instruct without its vision parts, made from `$source` by
`phi4audio strip-export --speech-lora $mode`.

$speech_lora

| | source | this export | saved |
| --- | ---: | ---: | ---: |
| parameters | $parameters_before | $parameters_after | $parameters_saved |
| bytes of weights | $bytes_before | $bytes_after | $bytes_saved |

## Use
```
phi4audio transcribe --model FOLDER recording.flac
```
or with plain transformers; no remote code, no torchvision:
```python
import soundfile
import torch
from transformers import AutoFeatureExtractor, AutoModelForCausalLM, AutoTokenizer


class NoVision(torch.nn.Module):
    def forward(self, *args, **kwargs):
        raise ValueError("this model has no vision")


folder = "FOLDER"
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", device_map="auto")
extend = model.model.embed_tokens_extend
extend.image_embed = NoVision()
extend.audio_embed.down_proj_for_vision_speech = NoVision()
extend.audio_embed.up_proj_for_vision_speech = NoVision()
$load_adapter
tokenizer = AutoTokenizer.from_pretrained(folder)
extractor = AutoFeatureExtractor.from_pretrained(folder)
samples, rate = soundfile.read("recording.flac", dtype="float32")  # mono, 16 kHz, up to 40 s
audio = extractor(samples, sampling_rate=rate, return_tensors="pt").to(model.device)
prompt = (
    "<|user|>"
    + tokenizer.audio_token * int(audio["audio_embed_sizes"][0])
    + "Transcribe the audio clip into text.<|end|><|assistant|>"
)
text = tokenizer(prompt, return_tensors="pt").to(model.device)
answer = model.generate(
    **text,
    audio_input_features=audio["audio_input_features"].to(model.dtype),
    audio_embed_sizes=audio["audio_embed_sizes"],
    max_new_tokens=256,
)
print(tokenizer.decode(answer[0, text["input_ids"].shape[1] :], skip_special_tokens=True))
```
transformers' class still builds $stub_parameters parameters for vision ($stub_share % of the
model's) before the three lines take them away; it warns that they are not in the files. One clip
at a time: transformers lets the padding of a batch leak into shorter clips, phi4audio does not.

## Licence and citation
MIT, as its source.
```bibtex
@article{phi4mini2025,
  title = {Phi-4-Mini Technical Report: Compact yet Powerful Multimodal Language Models via
           Mixture-of-LoRAs},
  author = {{Microsoft}},
  journal = {arXiv preprint arXiv:2503.01743},
  year = {2025},
  url = {https://arxiv.org/abs/2503.01743}
}
```
""")


def model_card(plan: ExportPlan) -> str:
    """The card in Markdown. It holds no time and no path, so that exports can be compared.

    Args:
        plan: Of the export.
    """
    table = plan.as_dict()
    parameters, size = table["parameters"], table["bytes"]
    return _CARD.substitute(
        base=plan.source.split("@")[0] if _is_hub_id(plan.source) else BASE_MODEL,
        source=plan.source,
        mode=plan.mode,
        languages="\n".join(f"- {language}" for language in CARD_LANGUAGES),
        speech_lora=_LORA_SENTENCES[plan.mode],
        load_adapter=_LOAD_ADAPTER if plan.mode == "keep" else "",
        stub_parameters=f"{plan.checkpoint.stub_parameters:,}",
        stub_share=f"{100 * plan.checkpoint.stub_parameters / parameters['after']:.2g}",
        **{f"parameters_{key}": f"{value:,}" for key, value in parameters.items()},
        **{f"bytes_{key}": f"{value:,}" for key, value in size.items()},
    )


def _is_hub_id(source: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", source) is not None


COPIED_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "vocab.json",
)
LORA_STATES = {"merge": "merged", "keep": "kept", "drop": "dropped"}
DEFAULT_EOS_IDS = (200020, 199999)
"""`<|end|>` and `<|endoftext|>`: where generation stops, should the source not say."""

# One of several linears of the same names: only the decoder's take the LoRA.
_DECODER_PREFIX = r"model\.layers\.\d+\."
_DROPPED_KEYS = ("_name_or_path", "auto_map", "transformers_version")


def write_sidecars(plan: ExportPlan, folder: Path) -> None:
    """Writes configuration, tokenizer, feature extractor, model card and licence.

    Args:
        plan: Of the export.
        folder: Its folder.

    Raises:
        CheckpointError: A file of the source can't be used.
        OSError: A file can't be written.
    """
    source = plan.checkpoint.folder
    write_json(folder / "config.json", export_config(plan))
    write_json(folder / "generation_config.json", _generation_config(plan.checkpoint))
    write_json(folder / "preprocessor_config.json", _preprocessor_config(source))
    for name in COPIED_FILES:
        if (source / name).is_file():
            write_text(folder / name, (source / name).read_text(encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", _tokenizer_config(plan.checkpoint))
    licence = source / "LICENSE"
    text = licence.read_text(encoding="utf-8") if licence.is_file() else MIT_LICENSE
    write_text(folder / "LICENSE", text)
    write_text(folder / "README.md", model_card(plan))
    if plan.adapter is not None:
        write_json(folder / ADAPTER_FOLDER / ADAPTER_CONFIG, _adapter_config(plan.checkpoint))


def check_sidecars(folder: Path) -> None:
    """Checks that the source has what an export needs beside the weights.

    Raises:
        CheckpointError: The tokenizer is missing, or a file isn't JSON.
    """
    read_json(folder / "tokenizer.json")
    read_json(folder / "tokenizer_config.json")
    _preprocessor_config(folder)


def export_config(plan: ExportPlan) -> dict[str, Any]:
    """`config.json` of the export; says what became of the speech LoRA."""
    config = {
        key: value for key, value in plan.checkpoint.config.items() if key not in _DROPPED_KEYS
    }
    apart = plan.checkpoint.adapter is not None or plan.mode == "drop"
    return {**config, EXPORT_KEY: {"speech_lora": LORA_STATES[plan.mode] if apart else "merged"}}


def _generation_config(checkpoint: Checkpoint) -> dict[str, Any]:
    file = checkpoint.folder / "generation_config.json"
    found = read_json(file) if file.is_file() else {}
    # The first one lets transformers make it anew from config.json, which knows one end only.
    for key in ("_from_model_config", "transformers_version"):
        found.pop(key, None)
    for key in ("bos_token_id", "pad_token_id"):
        found.setdefault(key, checkpoint.config.get(key))
    found.setdefault("eos_token_id", list(DEFAULT_EOS_IDS))
    return found


def _preprocessor_config(folder: Path) -> dict[str, Any]:
    file = folder / "preprocessor_config.json"
    found = read_json(file) if file.is_file() else {}
    found.pop("auto_map", None)
    return {
        **found,
        "feature_extractor_type": "Phi4MultimodalFeatureExtractor",
        "image_processor_type": "Phi4MultimodalImageProcessor",
        "processor_class": "Phi4MultimodalProcessor",
    }


def _tokenizer_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The source's, with the placeholders under the names transformers' processor asks for."""
    found = read_json(checkpoint.folder / "tokenizer_config.json")
    found.pop("auto_map", None)
    audio = checkpoint.config["audio_config"].get("audio_token_id", 200011)
    image = checkpoint.config["vision_config"].get("image_token_id", 200010)
    spelling = special_token_texts(checkpoint.folder)
    for key, token_id in (("audio_token", audio), ("image_token", image)):
        if token_id in spelling:
            found.setdefault(key, spelling[token_id])
    found["processor_class"] = "Phi4MultimodalProcessor"
    return found


def special_token_texts(folder: Path) -> dict[int, str]:
    """How a tokenizer spells its special tokens, by id: the layouts differ in it."""
    tokens = read_json(folder / "tokenizer.json").get("added_tokens") or []
    try:
        return {int(token["id"]): str(token["content"]) for token in tokens}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError("its added_tokens are damaged", str(folder)) from error


def _adapter_config(checkpoint: Checkpoint) -> dict[str, Any]:
    lora = checkpoint.adapter
    assert lora is not None
    tails = sorted({module.split(".", 3)[-1] for module in lora.pairs})
    names = "|".join(tail.replace(".", r"\.") for tail in tails)
    return {
        "base_model_name_or_path": None,
        "bias": "none",
        "inference_mode": True,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": lora.rank,
        "target_modules": f"{_DECODER_PREFIX}({names})",
        "task_type": "CAUSAL_LM",
        "use_rslora": lora.rank_stabilized,
    }
