"""Recordings: decoding, voice activity detection, chunking."""
