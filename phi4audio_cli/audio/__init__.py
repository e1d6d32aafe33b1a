"""Recordings in: decoding to blocks, finding speech, cutting chunks."""
