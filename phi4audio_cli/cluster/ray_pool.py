"""The worker pool on Ray actors, with at most one open call per worker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from phi4audio_cli.cluster import package_versions
from phi4audio_cli.cluster.messages import Assignment, Reply, WorkerLost
from phi4audio_cli.cluster.worker import NoticeCallback, Worker, WorkerConfig
from phi4audio_cli.cluster.worker_resources import Node, WorkerResources
from phi4audio_cli.errors import ModelError, UsageError

VERSION_CHECK_SECONDS = 60.0
"""Time limit for a machine to report its versions."""

MAX_CONCURRENT_CALLS = 3
"""Concurrent calls of a worker: one to exchange messages, one to stop, one in reserve."""


class RayPool:
    """Workers that are Ray actors; they end with the driver.

    Args:
        config: Configuration of each worker.
        resources: Resources of each worker.
    """

    def __init__(self, config: WorkerConfig, resources: WorkerResources) -> None:
        self._config = config
        self._resources = resources
        self._actors: dict[str, Any] = {}
        self._open_calls: dict[Any, str] = {}
        self._num_started = 0

    def start(self) -> str:
        """Start a worker and return its name; `WorkerReady` follows."""
        self._num_started += 1
        name = f"worker {self._num_started}"
        kind = ray.remote(
            max_concurrency=MAX_CONCURRENT_CALLS, max_restarts=0, **self._resources.ray_options
        )(Worker)
        actor = self._actors[name] = kind.remote(self._config)
        self._open_calls[actor.prepare.remote()] = name
        return name

    def send(self, worker: str, assignment: Assignment) -> None:
        """Send jobs to a worker."""
        self._open_calls[self._actors[worker].exchange.remote(assignment)] = worker

    def poll(self, timeout_seconds: float) -> Iterator[tuple[str, Reply]]:
        """Yield the replies of workers."""
        if not self._open_calls:
            time.sleep(timeout_seconds)
            return
        calls = list(self._open_calls)
        ray.wait(calls, timeout=timeout_seconds)
        for call in ray.wait(calls, num_returns=len(calls), timeout=0)[0]:
            if worker := self._open_calls.pop(call, None):
                yield worker, _get_reply(call)

    def stop(self, worker: str) -> None:
        """Let a worker finish its batch, without new jobs."""
        self._actors[worker].stop.remote()

    def kill(self, worker: str) -> None:
        """End a worker immediately."""
        self._open_calls = {call: name for call, name in self._open_calls.items() if name != worker}
        if (actor := self._actors.pop(worker, None)) is not None:
            with suppress(RayError, ConnectionError):
                ray.kill(actor)

    def close(self) -> None:
        """End all workers."""
        for worker in list(self._actors):
            self.kill(worker)


def _get_reply(call: Any) -> Reply:
    try:
        reply: Reply = ray.get(call)
    except RayTaskError as error:  # raised by the worker's own code
        return WorkerLost(error.cause if isinstance(error.cause, Exception) else error, died=False)
    except ActorDiedError as error:
        # Ray reports an orderly shutdown of a machine only by this text.
        return WorkerLost(_short_error(error), died="node has died" not in str(error))
    except OutOfMemoryError as error:
        return WorkerLost(_short_error(error), died=True)
    except (RayActorError, RayError) as error:
        return WorkerLost(_short_error(error), died=False)
    return reply


def _short_error(error: RayError) -> Exception:
    """Return the reason in an error of Ray, without the advice after it."""
    text = str(error)
    if "worker process has died" in text:
        return ModelError("its process died")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = next((line for line in lines if "because" in line or "unavailable" in line), lines[0])
    return ModelError(reason[:300])


def cluster_nodes() -> list[Node]:
    """Return the machines of the cluster that have cores or GPUs."""
    found = [Node.from_ray(entry) for entry in ray.nodes() if entry["Alive"]]
    return [node for node in found if node.cpus or node.gpus]


def check_versions(nodes: Sequence[Node], on_notice: NoticeCallback) -> list[Node]:
    """Check that machines have the driver's versions, and return those that answer.

    Args:
        nodes: Machines; Ray may list lost ones for a while.
        on_notice: Called with a line for each machine that does not answer.

    Raises:
        UsageError: A machine has other versions, or none answers.
    """
    expected = package_versions.installed_versions()
    cloudpickle.register_pickle_by_value(package_versions)
    try:
        ask = ray.remote(num_cpus=0, max_retries=0)(package_versions.installed_versions)
        strategies = [NodeAffinitySchedulingStrategy(node.id, soft=False) for node in nodes]
        answers = [ask.options(scheduling_strategy=each).remote() for each in strategies]
    finally:
        cloudpickle.unregister_pickle_by_value(package_versions)
    if answers:
        ray.wait(answers, num_returns=len(answers), timeout=VERSION_CHECK_SECONDS)
    available = []
    for node, answer in zip(nodes, answers, strict=True):
        try:
            actual: Mapping[str, str] = ray.get(answer, timeout=0)
        except RayError as error:
            reason = "no answer" if isinstance(error, GetTimeoutError) else _short_error(error)
            on_notice(f"{node.name} ({node.id[:8]}) can't be used: {reason}")
        else:
            _check_same_versions(node.name, expected, actual)
            available.append(node)
    if not available:
        raise UsageError("no machine of the cluster answers", "--cluster", "look at ray status")
    return available


def _check_same_versions(host: str, expected: Mapping[str, str], actual: Mapping[str, str]) -> None:
    differ = [
        f"{name} {actual.get(name, 'none')}, not {expected[name]}"
        for name in expected
        if actual.get(name) != expected[name]
    ]
    if differ:
        remedy = "install the same versions on all machines"
        raise UsageError(f"has {'; '.join(differ)}", host, remedy)
