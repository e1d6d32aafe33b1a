"""The options of settings, written by `python -m tools.make_options` from settings.py.

Defaults are None, so that only values from the command line override the other sources.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SETTING_KEYS = (
    "model",
    "adapter",
    "language",
    "formats",
    "output_dir",
    "output_template",
    "channel",
    "track",
    "batch_size",
    "readers",
    "chunk_seconds",
    "vad",
    "align",
    "max_line_width",
    "max_lines",
    "max_cue_seconds",
    "highlight_words",
    "max_uncovered",
    "device",
    "dtype",
    "quantize",
    "offline",
)

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Folder, Hugging Face id with optional @revision, or demo: the small bundled "
        "checkpoint, which knows spoken digits only. Default: "
        "microsoft/Phi-4-multimodal-instruct.",
    ),
]

Adapter = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        metavar="DIR",
        help="Folder of a speech LoRA to use in place of the checkpoint's own.",
    ),
]

Language = Annotated[
    str | None,
    typer.Option(
        "--language",
        "-l",
        metavar="LANGUAGE",
        help="Spoken language, by English or native name, or by code. Default: the model detects "
        "it.",
    ),
]

Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="NAMES",
        help="Formats to write, separated by commas. Default: txt,json,srt; for summarize and ask "
        "those of txt, md and json that fit.",
    ),
]

OutputDir = Annotated[
    str | None,
    typer.Option(
        "--output-dir",
        "-o",
        metavar="DIR",
        help="Folder for the outputs, or an s3 or gs URL. Default: the folder of each input.",
    ),
]

OutputTemplate = Annotated[
    str | None,
    typer.Option(
        "--output-template",
        metavar="TEMPLATE",
        help="Names of the outputs, such as {parent}/{stem}.{format}; also {name}, {ext}, {index} "
        "and {language}. Default: the name of each input.",
    ),
]

Channel = Annotated[
    str | None,
    typer.Option(
        "--channel",
        metavar="NAME",
        help="Channels to use: mix, left, right or split. split: left and right as two speakers of "
        "one transcript. Default: mix.",
    ),
]

Track = Annotated[
    int | None,
    typer.Option(
        "--track",
        metavar="N",
        help="Audio track of a video or container, counted from 0. Default: the first.",
    ),
]

BatchSize = Annotated[
    str | None,
    typer.Option(
        "--batch-size",
        "-b",
        metavar="N",
        help="Largest number of chunks of audio that the model works on at once. Default: auto, as "
        "many as fit in memory and make the run faster.",
    ),
]

Readers = Annotated[
    str | None,
    typer.Option(
        "--readers",
        metavar="N",
        help="Number of recordings that are decoded and cut at the same time, each in a process of "
        "its own. Default: auto, which is 1 on the CPU.",
    ),
]

ChunkSeconds = Annotated[
    float | None,
    typer.Option(
        "--chunk-seconds",
        metavar="SECONDS",
        help="Length of the longest chunk of audio given to the model at once, 1 to 40. Default: "
        "40.",
    ),
]

Vad = Annotated[
    bool | None,
    typer.Option(
        "--vad/--no-vad",
        help="Detect speech, and leave out audio without speech; otherwise recordings are cut by "
        "energy only. Default: --vad.",
        show_default=False,
    ),
]

Align = Annotated[
    str | None,
    typer.Option(
        "--align",
        metavar="METHOD",
        help="Method for word times: attention, speech or none. Default: attention.",
    ),
]

MaxLineWidth = Annotated[
    int | None,
    typer.Option(
        "--max-line-width",
        metavar="N",
        help="Characters in a line of a subtitle, 10 to 200. Default: 42.",
    ),
]

MaxLines = Annotated[
    int | None,
    typer.Option(
        "--max-lines",
        metavar="N",
        help="Lines of a subtitle, 1 to 10. Default: 2.",
    ),
]

MaxCueSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-cue-seconds",
        metavar="SECONDS",
        help="Longest time a subtitle is shown, 1 to 60. Default: 7.",
    ),
]

HighlightWords = Annotated[
    bool | None,
    typer.Option(
        "--highlight-words/--plain-words",
        help="Mark each word of a subtitle while it is spoken.",
        show_default=False,
    ),
]

MaxUncovered = Annotated[
    float | None,
    typer.Option(
        "--max-uncovered",
        metavar="PERCENT",
        help="Warn where more than this percentage of the speech has no text, 0 to 100. Default: "
        "5.",
    ),
]

Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        "-d",
        metavar="DEVICE",
        help="Device of the model: auto, cpu, mps, cuda, or one of several GPUs, such as cuda:1. "
        "Default: auto.",
    ),
]

Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="TYPE",
        help="Number format of the weights: auto, bfloat16, float16 or float32. Default: auto.",
    ),
]

Quantize = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="KIND",
        help="Format of the decoder's linear layers: none, int8 or int4. int8 and int4 need less "
        "memory and give less exact answers. Default: none.",
    ),
]

Offline = Annotated[
    bool | None,
    typer.Option(
        "--offline/--online",
        help="Never access the network; the model must already be on this machine.",
        show_default=False,
    ),
]
