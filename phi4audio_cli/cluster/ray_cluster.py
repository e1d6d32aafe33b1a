"""Starts Ray on this machine or joins a cluster.

The only module that calls `ray.init` or uses a private module of Ray.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from phi4audio_cli.errors import UsageError
from phi4audio_cli.storage import error_reason

INSTALL_COMMAND = "pip install 'phi4audio[cluster]'"

MINIMUM_RAY = "2.56"
"""Older releases have published security holes; before 2.52 they know no token at all, so that any
process that reaches the port could run code."""

LOOPBACK = "127.0.0.1"

CONNECT_TIMEOUT_SECONDS = 5.0
"""Time limit for a connection to a cluster; Ray itself would try for minutes."""

OBJECT_STORE_BYTES = 80_000_000
"""Shared memory for Ray's objects, its minimum: messages of driver and workers are small."""

QUIET_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
"""Environment variables that Ray reads on import."""

LOCAL_ENV = {
    # Without this, Ray listens on an address that other machines can reach. The variable is named
    # after the systems on which this is the default.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # The monitor kills the process with the most memory, which is the model's.
    "RAY_memory_monitor_refresh_ms": "0",
}


def check_address(address: str) -> None:
    """Check the syntax of `--cluster`, and that Ray is installed.

    Raises:
        UsageError: An invalid address, or a missing package.
    """
    if address not in ("auto", "local") and not re.fullmatch(r"ray://[^/:]+:[0-9]{1,5}/?", address):
        raise UsageError(
            f"invalid cluster address {address!r}",
            "--cluster",
            "give auto, local, or ray://host:10001",
        )
    from importlib.util import find_spec

    needed = ["ray", "grpc"] if address.startswith("ray://") else ["ray"]
    if not all(map(find_spec, needed)):
        raise UsageError("needs Ray, which is not installed", "--cluster", INSTALL_COMMAND)
    _check_version()


def _check_version() -> None:
    from importlib import metadata

    from packaging.version import Version

    found = metadata.version("ray")
    if Version(found) < Version(MINIMUM_RAY):
        raise UsageError(
            f"Ray {found} is too old: releases before {MINIMUM_RAY} have known security holes",
            "--cluster",
            INSTALL_COMMAND,
        )


@contextmanager
def ray_session(address: str, *, cpu_only: bool = False) -> Iterator[None]:
    """Connect to a cluster; a local one is started first and ends with the context.

    Args:
        address: `local`, `auto`, or an address for Ray's client.
        cpu_only: Whether a local cluster uses no GPU.

    Raises:
        UsageError: No such cluster, or one with other versions.
    """
    os.environ.update(QUIET_ENV)
    if address == "local":
        # Its own token, so that Ray stores none in the user's home.
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.environ.update(LOCAL_ENV | token)
    import ray

    temp_dir = None
    try:
        with _restore_sigterm_handler(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if address == "local":
                temp_dir = _make_temp_dir()
                _start_local(ray, temp_dir, cpu_only)
            else:
                _join_existing(ray, address)
        _disable_worker_logs()
        yield
    finally:
        ray.shutdown()
        if temp_dir is not None:
            shutil.rmtree(temp_dir, ignore_errors=True)


def _start_local(ray: Any, temp_dir: str, cpu_only: bool) -> None:
    ray.init(
        address="local",
        num_gpus=0 if cpu_only else None,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address=LOOPBACK,
        _temp_dir=temp_dir,
    )
    [node] = ray.nodes()
    if node["NodeManagerAddress"] != LOOPBACK:
        raise UsageError(
            "this version of Ray listens on the network",
            "--cluster local",
            "install a version tested with phi4audio: " + INSTALL_COMMAND,
        )


def _join_existing(ray: Any, option: str) -> None:
    address = _find_address(option)
    if address is not None:
        _check_reachable(address, option)
    try:
        ray.init(address=option, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        # The message of Ray, such as "Version mismatch: The cluster was started with ..."
        what = " ".join(str(error).split())[:500]
        remedy = (
            "all machines need the same versions, and the cluster's token if it has one; "
            "if a machine is under load, try again"
        )
        raise UsageError(
            f"the cluster can't be joined: {what}", f"--cluster {option}", remedy
        ) from error


def _find_address(option: str) -> str | None:
    """Return the host and port of a cluster, or None if only Ray can find it.

    Raises:
        UsageError: No cluster.
    """
    if option != "auto":
        return option.removeprefix("ray://").rstrip("/")
    if named := os.environ.get("RAY_ADDRESS"):
        return named.removeprefix("ray://")
    from ray._private import services

    try:
        found: str | None = services.canonicalize_bootstrap_address("auto")
        return found
    except ConnectionError as error:
        raise _not_found_error(option) from error


def _check_reachable(address: str, option: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection(
            (host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_SECONDS
        ):
            return
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no cluster answers at {address}: {error_reason(error)}",
            f"--cluster {option}",
            "check the address, and whether Ray runs there (ray status)",
        ) from error


def _not_found_error(option: str) -> UsageError:
    return UsageError(
        "no cluster was found",
        f"--cluster {option}",
        "run it on a machine of the cluster, set RAY_ADDRESS, or give local or ray://host:10001",
    )


def _make_temp_dir() -> str:
    """Create a folder for Ray; the paths of its sockets may have at most 107 bytes."""
    parent = tempfile.gettempdir()
    if len(parent) > 20 and sys.platform != "win32":
        parent = "/tmp"
    return tempfile.mkdtemp(prefix="p4a-", dir=parent)


def _disable_worker_logs() -> None:
    """Stop Ray from printing the output of its processes: standard output is for transcripts."""
    from ray._private import worker

    worker._worker_logs_enabled = False


@contextmanager
def _restore_sigterm_handler() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
