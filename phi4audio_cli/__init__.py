"""phi4audio: transcripts, translations, subtitles and summaries with Phi-4-Audio."""

__version__ = "0.1.0"
