"""Write docs/transcript.schema.json from the types that write and read transcripts."""

from __future__ import annotations

import json
from pathlib import Path

from phi4audio_cli.writers.transcript_json import json_schema

TARGET = Path(__file__).resolve().parents[1] / "docs" / "transcript.schema.json"

if __name__ == "__main__":
    TARGET.write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")
    print(f"wrote {TARGET}")
