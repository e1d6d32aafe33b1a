"""Run the model card's script up to its first chunk: FOLDER CLIP DTYPE."""

from __future__ import annotations

import sys
from typing import NoReturn

import soundfile
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Phi4MultimodalFeatureExtractor
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalAudioModel

from benchmarks.startup.step_times import finish, record_step

folder, clip, dtype = sys.argv[1:4]


def stop_at_encoder(*given: object) -> NoReturn:
    """End the process in place of the encoder."""
    finish("first chunk")


AutoModelForCausalLM._model_mapping  # noqa: B018  # imports the class behind the lazy name
record_step("imported")
tokenizer = AutoTokenizer.from_pretrained(folder)
extractor = Phi4MultimodalFeatureExtractor.from_pretrained(folder)
record_step("opened")
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
record_step("weights in")
Phi4MultimodalAudioModel.forward = stop_at_encoder
samples, rate = soundfile.read(clip, dtype="float32")
audio = extractor([samples], sampling_rate=rate, return_tensors="pt")
ids = tokenizer.encode("<|user|>", add_special_tokens=False)
ids += [model.config.audio_config.audio_token_id] * int(audio["audio_embed_sizes"][0])
ids += tokenizer.encode("Transcribe the audio clip into text.<|end|><|assistant|>")
model.generate(
    input_ids=torch.tensor([ids]),
    audio_input_features=audio["audio_input_features"].to(model.dtype),
    audio_embed_sizes=audio["audio_embed_sizes"],
    max_new_tokens=1,
)
