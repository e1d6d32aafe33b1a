"""The model card and the licence of an export."""

from __future__ import annotations

import re
from string import Template

from phi4audio_cli.checkpoint.export_plan import ExportPlan

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
    "merge": "The speech LoRA is merged into the weights.",
    "keep": "The speech LoRA is in `speech-lora/`, in peft's format, and **must be loaded**: "
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
    """Return the card in Markdown, without times and paths, so that exports can be compared."""
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
