"""Resolve a model name to a local folder: the demo, a folder, or a download from the hub."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi4audio_cli.checkpoint.layout import (
    ADAPTER_CONFIG,
    ADAPTER_FOLDER,
    ADAPTER_WEIGHTS,
    INDEX_FILE,
    WEIGHTS_FILE,
)
from phi4audio_cli.errors import ModelError
from phi4audio_cli.formatting import format_bytes
from phi4audio_cli.storage import nearest_existing

DEMO_MODEL = "demo"
HUB_TIMEOUT_SECONDS = 5.0
"""Time limit of an answer of the hub."""

_HUB_ID = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?$")
_SMALL_FILES = frozenset(
    {
        "LICENSE",
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "preprocessor_config.json",
        "processor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    }
)
_WEIGHT_FILE = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
_ADAPTER_FILES = frozenset(
    {f"{ADAPTER_FOLDER}/{ADAPTER_CONFIG}", f"{ADAPTER_FOLDER}/{ADAPTER_WEIGHTS}"}
)


@dataclass(frozen=True, slots=True)
class Download:
    """Files of a hub repository that are missing on this machine."""

    repo: str
    revision: str
    """The commit, so that all files are of one version."""
    files: tuple[str, ...]
    total_bytes: int
    folder: Path
    """The cache of the hub's library."""


DownloadListener = Callable[[Download, int], None]
"""Called with the finished bytes: with 0 before the first one, then with every block."""


def _no_listener(download: Download, done: int) -> None:
    """Ignore the progress of a download."""


def resolve_model(
    model: str, *, offline: bool, on_download: DownloadListener = _no_listener
) -> Path:
    """Return the folder of a model; download it from the hub if needed.

    Args:
        model: `demo`, a folder, or a hub id with an optional `@revision`.
        offline: Never use the network.
        on_download: Called before a download starts and while it runs.

    Raises:
        ModelError: The model does not exist or can't be downloaded.
    """
    if model == DEMO_MODEL:
        return _demo_folder()
    if Path(model).expanduser().is_dir():
        return Path(model).expanduser()
    match = _HUB_ID.match(model)
    if match is None or model.startswith("."):
        raise ModelError(
            "no such folder, and not a hub id",
            model,
            f"name a folder, an id like microsoft/Phi-4-multimodal-instruct, or `{DEMO_MODEL}`",
        )
    repo, revision = match["repo"], match["revision"]
    if (cached := _cached_snapshot(repo, revision)) is not None:
        return cached
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise ModelError(
            "isn't on this machine, and --offline is on", model, _download_advice(match)
        )
    return _download(match, on_download)


def prefetch_weights(folder: Path) -> None:
    """Ask the system to read a checkpoint's weights into its cache in the background."""
    files = [
        file for file in sorted(folder.glob("*.safetensors")) if _WEIGHT_FILE.fullmatch(file.name)
    ]
    if hasattr(os, "posix_fadvise"):  # not on macOS and Windows
        # On a slow disk even the request takes time.
        threading.Thread(target=_advise_will_need, args=(files,), daemon=True).start()


def _advise_will_need(files: Iterable[Path]) -> None:
    import psutil

    with contextlib.suppress(OSError):
        # Weights that do not fit would evict each other.
        if sum(file.stat().st_size for file in files) > psutil.virtual_memory().available / 2:
            return
        for file in files:
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _demo_folder() -> Path:
    folder = Path(str(importlib.resources.files("phi4audio_cli"))) / "demo" / "checkpoint"
    if not (folder / "config.json").is_file():
        raise ModelError(
            "the bundled checkpoint is missing", str(folder), "install phi4audio again"
        )
    return folder


def _download_advice(match: re.Match[str]) -> str:
    revision = f" --revision {match['revision']}" if match["revision"] else ""
    return (
        f"download it with a network: `hf download {match['repo']}{revision}`, "
        f"or name its folder, or try `--model {DEMO_MODEL}`"
    )


def _cached_snapshot(repo: str, revision: str | None) -> Path | None:
    """Return the snapshot in the local hub cache if it has all files of the model."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repo, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if _is_complete(folder) else None


def _is_complete(folder: Path) -> bool:
    """Return whether a snapshot has all needed files, by their names."""
    if not all((folder / name).is_file() for name in ("tokenizer.json", "config.json")):
        return False
    if (folder / INDEX_FILE).is_file():
        text = (folder / INDEX_FILE).read_text(encoding="utf-8")
        shards = set(re.findall(r'"(model-[^"/]+\.safetensors)"', text))
        # A checkpoint with vision and without inline LoRA has the LoRA in its own folder.
        separate = "lora_A.speech" not in text and ".image_embed." in text
        adapter = not separate or all((folder / name).is_file() for name in _ADAPTER_FILES)
        return adapter and all((folder / name).is_file() for name in shards)
    return (folder / WEIGHTS_FILE).is_file()


def _download(match: re.Match[str], listener: DownloadListener) -> Path:
    """Download the needed files that are missing.

    Raises:
        ModelError: The hub can't be reached or lacks the model, or the disk is too small.
    """
    from huggingface_hub.errors import HfHubHTTPError

    model = match.group()
    try:
        return _fetch_files(match["repo"], match["revision"], listener)
    except ModelError:
        raise
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        what = {
            401: "the hub does not have it, or it is private",
            403: "the hub denies access to it",
            404: "the hub does not have this model or revision",
        }.get(status or 0, f"the hub answered with status {status}")
        raise ModelError(what, model, _download_advice(match)) from error
    except Exception as error:
        # The classes of network errors depend on the version of the hub's library.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"isn't on this machine, and the hub can't be reached: {reason}",
            model,
            _download_advice(match),
        ) from error


def _fetch_files(repo: str, revision: str | None, listener: DownloadListener) -> Path:
    from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache

    info = HfApi().model_info(
        repo, revision=revision, files_metadata=True, timeout=HUB_TIMEOUT_SECONDS
    )
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    commit = info.sha or revision or "main"

    def get(name: str, bar: type[Any] | None = None) -> Path:
        # By the name of the revision, under which a later run finds the file in the cache.
        more: dict[str, Any] = {"tqdm_class": bar} if bar else {}
        timeout = HUB_TIMEOUT_SECONDS
        return Path(hf_hub_download(repo, name, revision=revision, etag_timeout=timeout, **more))

    inline = INDEX_FILE in sizes and "lora_A.speech" in get(INDEX_FILE).read_text(encoding="utf-8")
    needed = required_files(sizes, inline_lora=inline)
    _require_weights(needed, sizes, repo)
    missing = tuple(
        name
        for name in needed
        if not isinstance(try_to_load_from_cache(repo, name, revision=commit), str)
    )
    total = sum(sizes[name] for name in missing)
    download = Download(repo, commit, missing, total, Path(constants.HF_HUB_CACHE))
    _check_disk_space(download)
    listener(download, 0)
    bar = _progress_bar_class(download, listener)
    # The configuration comes last, so that it is found only in a complete snapshot.
    for name in sorted(needed, key=lambda name: (name == "config.json", name)):
        get(name, bar)
    return get("config.json").parent


def required_files(names: Iterable[str], *, inline_lora: bool) -> tuple[str, ...]:
    """Return the files of a repository that a load reads: no vision LoRA, ONNX, code or pickles.

    Args:
        names: All files of the repository.
        inline_lora: The speech LoRA is among the weights, so that its folder is not needed.
    """
    wanted = _SMALL_FILES if inline_lora else _SMALL_FILES | _ADAPTER_FILES
    return tuple(
        sorted(
            name
            for name in names
            if name in wanted or name == INDEX_FILE or _WEIGHT_FILE.fullmatch(name) is not None
        )
    )


def _require_weights(needed: tuple[str, ...], names: Iterable[str], repo: str) -> None:
    if any(_WEIGHT_FILE.fullmatch(name) for name in needed):
        return
    if any(name.endswith((".bin", ".pt", ".pth")) for name in names):
        raise ModelError(
            "has its weights in pickle files only; these are refused, because opening one "
            "can run any code",
            repo,
            "name a model in safetensors",
        )
    raise ModelError("has no safetensors weights", repo, "name a model in safetensors")


def _check_disk_space(download: Download) -> None:
    free = shutil.disk_usage(nearest_existing(download.folder)).free
    if free < download.total_bytes:
        needed = format_bytes(download.total_bytes)
        raise ModelError(
            f"the download needs {needed}, {format_bytes(free)} are free",
            str(download.folder),
            "make room, or set HF_HOME to a larger disk",
        )


def _progress_bar_class(download: Download, listener: DownloadListener) -> type[Any]:
    """Return a class with the interface of a tqdm bar that reports the bytes of all files."""

    class Bar:
        """Interface of a bar in the hub's library, which makes one for each file."""

        done = 0
        """Bytes of all files."""

        def __init__(self, *args: Any, total: int | None = None, initial: int = 0, **_: Any):
            self.total = total
            self.n = 0
            if initial:
                self.update(initial)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *exception: object) -> None:
            return None

        def update(self, n: float | None = 1) -> None:
            self.n += int(n or 0)
            Bar.done += int(n or 0)
            listener(download, min(Bar.done, download.total_bytes))

        def nothing(self, *args: Any, **kwargs: Any) -> None:
            """Ignore the rate and requests to redraw."""

        update_transfer = set_postfix_str = set_transfer_postfix_str = nothing
        set_description = refresh = close = nothing

    return Bar
