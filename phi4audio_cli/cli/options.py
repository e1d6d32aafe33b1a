"""The options that no setting has and several commands share.

They have no key in a configuration file and, `--config` excepted, no environment variable. An
option of one command is in the command's module.
"""

from __future__ import annotations

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
    typer.Option("--recursive", "-r", help="Search the subfolders of folders for recordings, too."),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="A TOML file of settings, or a preset: default, cpu, gpu-8gb, gpu-24gb, gpu-80gb.",
    ),
]
MaxMinutes = Annotated[
    float,
    typer.Option(
        "--max-minutes",
        metavar="MINUTES",
        min=1,
        max=30,
        help="Length of the longest part of a recording given to the model at once.",
    ),
]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Ignore the results of earlier runs."),
]
Shared = Annotated[
    bool,
    typer.Option("--shared", help="Share the output folder with other jobs."),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="PART",
        help="Part of the recordings to process: 3/16 is the third of sixteen parts of about "
        "equal size in bytes; implies --shared.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Distribute the work with Ray: local (the devices of this machine), auto (the "
        "cluster of this machine), or ray://host:10001.",
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Number of workers of a cluster, or a range such as 2:16. Default: one per GPU.",
    ),
]
FailFast = Annotated[
    bool,
    typer.Option("--fail-fast", help="Stop at the first recording that fails."),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Exit with code 10 also if a recording has warnings."),
]
ReportFile = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="File or URL for the report on each recording, as JSON. Default: report.json in "
        "--output-dir, if that is given.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show problems only, no progress."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show settings, prompts, every chunk, and tracebacks."),
]
