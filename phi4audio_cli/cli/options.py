"""The options that commands share, each written once.

Defaults are None: only what the user gave goes before the environment and the configuration file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help="Recordings, folders, patterns, URLs, - for standard input, or @list.txt, "
        "@list.jsonl, @list.csv.",
    ),
]
Recursive = Annotated[
    bool,
    typer.Option("--recursive", "-r", help="Take the recordings in folders inside folders too."),
]
OutputDir = Annotated[
    str | None,
    typer.Option(
        "--output-dir",
        "-o",
        metavar="DIR",
        help="Folder for the outputs, or an s3 or gs URL. Without it they lie beside the inputs.",
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="NAMES",
        help="Formats to write, with commas between. Default: txt,json,srt.",
    ),
]
LongFormFormats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="NAMES",
        help="Formats to write, with commas between. Default: those of txt, md and json that fit.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A folder, a Hugging Face id with optional @revision, or demo. "
        "Default: microsoft/Phi-4-multimodal-instruct.",
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
SpokenLanguage = Annotated[
    str | None,
    typer.Option(
        "--language",
        "-l",
        metavar="LANGUAGE",
        help="The language that is spoken, by name or code. Without it the model finds out.",
    ),
]
Offline = Annotated[
    bool | None,
    typer.Option(
        "--offline/--online",
        help="Never touch the network: the model must be on this machine already.",
        show_default=False,
    ),
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        "--batch-size",
        "-b",
        metavar="N",
        help="Most chunks that are worked on at once. "
        "Default: auto, as many as fit the memory and pay.",
    ),
]
Readers = Annotated[
    str | None,
    typer.Option(
        "--readers",
        metavar="N",
        help="Recordings that are decoded and cut at the same time, each in a process of its own. "
        "Default: auto, which is 1 on the CPU.",
    ),
]
ChunkSeconds = Annotated[
    float | None,
    typer.Option(
        "--chunk-seconds",
        metavar="SECONDS",
        help="Longest stretch given to the model at once, 1 to 40. Default: 40.",
    ),
]
Vad = Annotated[
    bool | None,
    typer.Option(
        "--vad/--no-vad",
        help="Search for speech, and leave out what holds none. Without it recordings are cut "
        "by energy only. Default: --vad.",
        show_default=False,
    ),
]
Align = Annotated[
    str | None,
    typer.Option(
        "--align",
        metavar="HOW",
        help="Where word times come from: attention, speech or none. Default: attention.",
    ),
]
MaxLineWidth = Annotated[
    int | None,
    typer.Option(
        "--max-line-width",
        metavar="N",
        help="Letters in a line of a subtitle, 10 to 200. Default: 42.",
    ),
]
MaxLines = Annotated[
    int | None,
    typer.Option("--max-lines", metavar="N", help="Lines of a subtitle, 1 to 10. Default: 2."),
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
        help="Mark each word of a subtitle as it is said.",
        show_default=False,
    ),
]
MaxMinutes = Annotated[
    float,
    typer.Option(
        "--max-minutes",
        metavar="MINUTES",
        min=1,
        max=30,
        help="Longest stretch given to the model at once.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        "-d",
        metavar="DEVICE",
        help="auto, cpu, mps, cuda, or one of several, as cuda:1. Default: auto.",
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype", metavar="TYPE", help="auto, bfloat16, float16 or float32. Default: auto."
    ),
]
Quantize = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="KIND",
        help="int8 or int4: weights of the decoder in less memory, answers less exact. "
        "Default: none.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="A TOML file, or a preset: default, cpu, gpu-8gb, gpu-24gb, gpu-80gb.",
    ),
]
OutputTemplate = Annotated[
    str | None,
    typer.Option(
        "--output-template",
        metavar="TEMPLATE",
        help="How outputs are named, as {parent}/{stem}.{format}; also {name}, {ext}, {index} "
        "and {language}.",
    ),
]
Channel = Annotated[
    str | None,
    typer.Option(
        "--channel",
        metavar="WHICH",
        help="mix, left or right; split: both, as two speakers of one transcript. Default: mix.",
    ),
]
Track = Annotated[
    int | None,
    typer.Option(
        "--track",
        metavar="N",
        help="Which audio track of a video or container, from 0. Default: the first.",
    ),
]
MaxUncovered = Annotated[
    float | None,
    typer.Option(
        "--max-uncovered",
        metavar="PERCENT",
        help="More speech than this without text is a warning, 0 to 100. Default: 5.",
    ),
]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Begin anew, whatever an earlier run has done."),
]
Shared = Annotated[
    bool,
    typer.Option("--shared", help="Work beside other jobs on the same output folder."),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="PART",
        help="3/16: do the third of sixteen parts, cut evenly by bytes; implies --shared.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="WHERE",
        help="Spread the work by Ray: local (the devices of this machine), auto (the cluster it "
        "belongs to), or ray://host:10001.",
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Workers of a cluster, or as few and as many as 2:16. Default: one a GPU.",
    ),
]
FailFast = Annotated[
    bool,
    typer.Option("--fail-fast", help="Stop at the first recording that fails."),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="End with exit code 10 where there are warnings, too."),
]
ReportFile = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Where to write what became of each recording, as JSON. Default: report.json in "
        "--output-dir, where that is given.",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show problems only, no progress."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show settings, prompts, every chunk, and tracebacks."),
]
