"""Starts Ray on this machine or joins a cluster; the only module that calls `ray.init`."""

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

INSTALL_COMMAND = "pip install 'phi4audio[cluster]'"

MINIMUM_RAY = "2.56"
"""Older releases have published security holes; before 2.52 they know no token at all, so that any
process that reaches the port could run code."""

LOOPBACK = "127.0.0.1"

CONNECT_TIMEOUT_SECONDS = 5.0
"""How long a cluster may take to accept a connection; Ray itself would try for minutes."""

OBJECT_STORE_BYTES = 80_000_000
"""Shared memory for Ray's objects, its least: nothing large goes between driver and workers."""

QUIET_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
"""For Ray, which reads them when it is imported."""

LOCAL_ENV = {
    # Else it takes an address that other machines reach for its own, and listens there; the name
    # is of the systems where that is the default.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # It ends what uses the memory most, which is the network.
    "RAY_memory_monitor_refresh_ms": "0",
}


def check_address(address: str) -> None:
    """Check what can be told of `--cluster` at once: how it is written, and Ray's presence.

    Raises:
        UsageError: It can't be used.
    """
    if address not in ("auto", "local") and not re.fullmatch(r"ray://[^/:]+:[0-9]{1,5}/?", address):
        raise UsageError(
            f"{address!r} is no cluster", "--cluster", "give auto, local, or ray://host:10001"
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
    """Be part of a cluster; one that was started here ends with it.

    Args:
        address: `local`, `auto`, or an address of Ray's client.
        cpu_only: Whether a cluster started here is to leave the GPUs alone.

    Raises:
        UsageError: No such cluster, or one of other versions.
    """
    os.environ.update(QUIET_ENV)
    if address == "local":
        # A password of its own, so that Ray makes and keeps none in the user's home.
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.environ.update(LOCAL_ENV | token)
    import ray

    folder = None
    try:
        with _restore_sigterm_handler(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if address == "local":
                folder = _make_temp_dir()
                _start_local(ray, folder, cpu_only)
            else:
                _join_existing(ray, address)
        _disable_worker_logs()
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _start_local(ray: Any, folder: str, cpu_only: bool) -> None:
    ray.init(
        address="local",
        num_gpus=0 if cpu_only else None,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address=LOOPBACK,
        _temp_dir=folder,
    )
    [node] = ray.nodes()
    if node["NodeManagerAddress"] != LOOPBACK:
        raise UsageError(
            "this version of Ray would listen on the network",
            "--cluster local",
            "install one that phi4audio was tested with: " + INSTALL_COMMAND,
        )


def _join_existing(ray: Any, where: str) -> None:
    address = _find_address(where)
    if address is not None:
        _check_reachable(address, where)
    try:
        ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        # Ray's own words, such as "Version mismatch: The cluster was started with ..."
        what = " ".join(str(error).split())[:500]
        remedy = (
            "all machines need the same versions, and the cluster's token if it has one; "
            "a machine under load may just need another try"
        )
        raise UsageError(
            f"the cluster can't be joined: {what}", f"--cluster {where}", remedy
        ) from error


def _find_address(where: str) -> str | None:
    """Return the host and port of a cluster, or None where only Ray can find it.

    Raises:
        UsageError: There is none.
    """
    if where != "auto":
        return where.removeprefix("ray://").rstrip("/")
    if named := os.environ.get("RAY_ADDRESS"):
        return named.removeprefix("ray://")
    from ray._private import services

    try:
        found: str | None = services.canonicalize_bootstrap_address("auto")
        return found
    except ConnectionError as error:
        raise _not_found_error(where) from error


def _check_reachable(address: str, where: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection(
            (host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_SECONDS
        ):
            return
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(
            f"no cluster answers at {address}: {why}",
            f"--cluster {where}",
            "check the address, and whether Ray runs there (ray status)",
        ) from error


def _not_found_error(where: str) -> UsageError:
    return UsageError(
        "no cluster was found",
        f"--cluster {where}",
        "run it on a machine of the cluster, set RAY_ADDRESS, or give local or ray://host:10001",
    )


def _make_temp_dir() -> str:
    """Make a folder for Ray; its sockets' names must stay below 108 bytes."""
    place = tempfile.gettempdir()
    if len(place) > 20 and sys.platform != "win32":
        place = "/tmp"
    return tempfile.mkdtemp(prefix="p4a-", dir=place)


def _disable_worker_logs() -> None:
    """Keep Ray from printing what its processes say: standard output is for transcripts."""
    from ray._private import worker

    worker._worker_logs_enabled = False


@contextmanager
def _restore_sigterm_handler() -> Iterator[None]:
    """Ray takes SIGTERM for itself; Ctrl-C and it are ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
