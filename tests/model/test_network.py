"""The network without vision: its size, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from transformers import Phi4MultimodalForCausalLM
from transformers.models.phi4_multimodal import modeling_phi4_multimodal as library

from phi4audio_cli.errors import ModelError
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from tests.model.small import AUDIO_TOKEN, features, real_config, small_model


def count(cls: type[torch.nn.Module]) -> int:
    with torch.device("meta"):
        model = cls(real_config())
    return sum(parameter.numel() for parameter in model.parameters())


def test_audio_only_model_has_the_published_size():
    assert count(Phi4AudioForCausalLM) == 4_289_848_960


def test_full_model_has_the_published_size():
    assert count(Phi4MultimodalForCausalLM) == 4_743_988_032


def test_vision_is_never_built(monkeypatch: pytest.MonkeyPatch):
    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise AssertionError(f"{type(self).__name__} was built")

    for name in ("Phi4MultimodalVisionModel", "Phi4MultimodalImageEmbedding"):
        monkeypatch.setattr(getattr(library, name), "__init__", refuse)
    names = small_model().state_dict()
    assert not [name for name in names if "image" in name or "vision" in name]


def test_images_are_refused():
    ids = torch.tensor([[1, 2, 3]])
    with pytest.raises(ModelError, match="takes no images"):
        small_model()(input_ids=ids, image_pixel_values=torch.zeros(1, 1, 3, 8, 8))


def test_takes_audio_as_transformers_class_does():
    """One clip, given as features beside placeholders: the same logits as the full class."""
    ours = small_model()
    full = Phi4MultimodalForCausalLM(ours.config).eval()
    full.load_state_dict(ours.state_dict(), strict=False)
    full.tie_weights()
    clip = features(100)
    inputs = {
        "input_ids": torch.tensor([[2, *[AUDIO_TOKEN] * 13, 7, 3, 4]]),
        "audio_input_features": clip[None],
        "audio_embed_sizes": torch.tensor([13]),
    }
    with torch.no_grad():
        logits = full(**inputs).logits
        torch.testing.assert_close(ours(**inputs).logits, logits, rtol=1e-4, atol=1e-4)
