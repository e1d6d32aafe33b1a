"""Edits that damage a checkpoint, and the inputs of the reference."""

import json

from safetensors.torch import load_file, save_file


def edit_weights(file, change):
    """Rewrite a safetensors file after `change(tensors)`."""
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def edit_json(file, **values):
    """Set keys of a JSON file; None removes a key."""
    content = json.loads(file.read_text())
    content.update(values)
    file.write_text(json.dumps({key: v for key, v in content.items() if v is not None}))


def features_inputs(reference_tensors, clip, *, audio_token=200011):
    """Return the prompt and the features of a reference clip as inputs of transformers."""
    features = reference_tensors[f"{clip}.features"][None]
    ids = reference_tensors[f"{clip}.input_ids"][None].long()
    return {
        "input_ids": ids,
        "audio_input_features": features,
        "audio_embed_sizes": (ids == audio_token).sum(1),
    }
