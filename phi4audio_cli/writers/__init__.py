"""Transcripts out: one small file a format."""
