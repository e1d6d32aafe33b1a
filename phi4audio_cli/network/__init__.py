"""Phi-4-Audio in plain PyTorch: configuration, audio encoder, decoder and KV cache."""
