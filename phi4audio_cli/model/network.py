"""Phi-4-Audio: transformers' Phi-4-multimodal classes with everything about images left out.

The vision modules are never built, not even on the meta device, and the tensor names are those of
transformers' class, so checkpoints of the native layout fit without their vision part.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import Phi4MultimodalConfig
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import (
    Phi4MultimodalAudioEmbedding,
    Phi4MultimodalDecoderLayer,
    Phi4MultimodalForCausalLM,
    Phi4MultimodalModel,
    Phi4MultimodalPreTrainedModel,
    Phi4MultimodalRMSNorm,
    Phi4MultimodalRotaryEmbedding,
)

from phi4audio_cli.errors import ModelError
from phi4audio_cli.model.encoder import AudioEncoder


class AudioEmbedding(Phi4MultimodalAudioEmbedding):  # type: ignore[misc]
    """The encoder and its projection to the decoder's width."""

    def __init__(self, config: Phi4MultimodalConfig) -> None:
        nn.Module.__init__(self)
        audio = config.audio_config
        width = audio.hidden_size * audio.downsample_rate
        self.config = config
        self.drop = nn.Dropout(config.embd_pdrop)
        self.encoder = AudioEncoder._from_config(audio)
        self.up_proj_for_speech = nn.Linear(width, config.hidden_size)
        self.down_proj_for_speech = nn.Linear(config.hidden_size, config.hidden_size)

    def embed(self, features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Turn log-mel features (rows, frames, mel) into embeddings (rows, n, decoder width)."""
        encoded = self.encoder(features, mask)
        projected: torch.Tensor = self.down_proj_for_speech(
            nn.functional.gelu(self.up_proj_for_speech(encoded))
        )
        return projected


class AudioOnlyEmbedding(nn.Module):
    """Places audio embeddings on the placeholders; refuses images."""

    def __init__(self, config: Phi4MultimodalConfig) -> None:
        super().__init__()
        self.audio_token_id = config.audio_config.audio_token_id
        self.audio_embed = AudioEmbedding(config)

    def forward(
        self,
        input_ids: torch.Tensor,
        inputs_embeds: torch.Tensor,
        audio_input_features: torch.Tensor | None = None,
        audio_embed_sizes: torch.Tensor | None = None,
        audio_attention_mask: torch.Tensor | None = None,
        **images: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return `inputs_embeds` (rows, n, width) with the audio in its place.

        Raises:
            ModelError: An image was given.
        """
        given = [name for name, value in images.items() if value is not None]
        if given:
            raise ModelError(
                "Phi-4-Audio takes no images",
                where=", ".join(given),
                remedy="use microsoft/Phi-4-multimodal-instruct in transformers for images",
            )
        if audio_input_features is None:
            return inputs_embeds
        merged: torch.Tensor = self.audio_embed(
            input_ids,
            inputs_embeds,
            audio_input_features=audio_input_features,
            audio_embed_sizes=audio_embed_sizes,
            audio_attention_mask=audio_attention_mask,
        )
        return merged


class Phi4AudioModel(Phi4MultimodalModel):  # type: ignore[misc]
    """Decoder with audio embeddings."""

    def __init__(self, config: Phi4MultimodalConfig) -> None:
        Phi4MultimodalPreTrainedModel.__init__(self, config)
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList(
            Phi4MultimodalDecoderLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = Phi4MultimodalRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = Phi4MultimodalRotaryEmbedding(config=config)
        self.gradient_checkpointing = False
        self.embed_dropout = nn.Dropout(config.embd_pdrop)
        self.embed_tokens_extend = AudioOnlyEmbedding(config)
        self.post_init()


class Phi4AudioForCausalLM(Phi4MultimodalForCausalLM):  # type: ignore[misc]
    """Phi-4-Audio: hears, reads and writes; sees nothing.

    Takes what transformers' `Phi4MultimodalForCausalLM` takes, without the images.
    """

    input_modalities = ("audio", "text")

    def __init__(self, config: Phi4MultimodalConfig) -> None:
        Phi4MultimodalPreTrainedModel.__init__(self, config)
        self.model = Phi4AudioModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @property
    def audio(self) -> AudioEmbedding:
        """The encoder with its projection."""
        embedding: AudioEmbedding = self.model.embed_tokens_extend.audio_embed
        return embedding

    def decoder_layers(self) -> Iterable[Any]:
        """The decoder's layers, from the first to the last."""
        layers: Iterable[Any] = self.model.layers
        return layers
