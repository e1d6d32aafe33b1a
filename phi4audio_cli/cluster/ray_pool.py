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
"""How long a machine may take to say its versions."""

MAX_CONCURRENT_CALLS = 3
"""Calls a worker takes at the same time: one for news, one to stop, one to spare."""


class RayPool:
    """Workers that are actors, none of which outlives the driver.

    Args:
        config: What they do.
        resources: What each gets.
    """

    def __init__(self, config: WorkerConfig, resources: WorkerResources) -> None:
        self._config = config
        self._resources = resources
        self._actors: dict[str, Any] = {}
        self._open_calls: dict[Any, str] = {}
        self._num_started = 0

    def start(self) -> str:
        """Begin to start a worker."""
        self._num_started += 1
        name = f"worker {self._num_started}"
        kind = ray.remote(
            max_concurrency=MAX_CONCURRENT_CALLS, max_restarts=0, **self._resources.ray_options
        )(Worker)
        actor = self._actors[name] = kind.remote(self._config)
        self._open_calls[actor.prepare.remote()] = name
        return name

    def send(self, worker: str, assignment: Assignment) -> None:
        """Hand a worker jobs."""
        self._open_calls[self._actors[worker].exchange.remote(assignment)] = worker

    def poll(self, timeout_seconds: float) -> Iterator[tuple[str, Reply]]:
        """Yield what came from workers."""
        if not self._open_calls:
            time.sleep(timeout_seconds)
            return
        calls = list(self._open_calls)
        ray.wait(calls, timeout=timeout_seconds)
        for call in ray.wait(calls, num_returns=len(calls), timeout=0)[0]:
            if worker := self._open_calls.pop(call, None):
                yield worker, _get_reply(call)

    def stop(self, worker: str) -> None:
        """Let a worker finish its batch."""
        self._actors[worker].stop.remote()

    def kill(self, worker: str) -> None:
        """End a worker at once."""
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
        # Of a machine that went away in good order Ray says so, in these words only.
        return WorkerLost(_short_error(error), died="node has died" not in str(error))
    except OutOfMemoryError as error:
        return WorkerLost(_short_error(error), died=True)
    except (RayActorError, RayError) as error:
        return WorkerLost(_short_error(error), died=False)
    return reply


def _short_error(error: RayError) -> Exception:
    """Return Ray's reason without the advice that follows it."""
    text = str(error)
    if "worker process has died" in text:
        return ModelError("its process died")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in lines if "because" in line or "unavailable" in line), lines[0])
    return ModelError(said[:300])


def cluster_nodes() -> list[Node]:
    """Return the machines of the cluster that have anything to give."""
    found = [Node.from_ray(entry) for entry in ray.nodes() if entry["Alive"]]
    return [node for node in found if node.cpus or node.gpus]


def check_versions(nodes: Sequence[Node], on_notice: NoticeCallback) -> list[Node]:
    """Check that machines have the driver's versions, and return those that answer.

    Args:
        nodes: Some of which may be gone, and Ray not know it yet.
        on_notice: Told of those that don't answer.

    Raises:
        UsageError: One has other versions, or none answers.
    """
    mine = package_versions.installed_versions()
    cloudpickle.register_pickle_by_value(package_versions)
    try:
        ask = ray.remote(num_cpus=0, max_retries=0)(package_versions.installed_versions)
        places = [NodeAffinitySchedulingStrategy(node.id, soft=False) for node in nodes]
        answers = [ask.options(scheduling_strategy=place).remote() for place in places]
    finally:
        cloudpickle.unregister_pickle_by_value(package_versions)
    if answers:
        ray.wait(answers, num_returns=len(answers), timeout=VERSION_CHECK_SECONDS)
    there = []
    for node, answer in zip(nodes, answers, strict=True):
        try:
            theirs: Mapping[str, str] = ray.get(answer, timeout=0)
        except RayError as error:
            why = "no answer" if isinstance(error, GetTimeoutError) else _short_error(error)
            on_notice(f"{node.name} ({node.id[:8]}) can't be used: {why}")
        else:
            _check_same_versions(node.name, mine, theirs)
            there.append(node)
    if not there:
        raise UsageError("no machine of the cluster answers", "--cluster", "look at ray status")
    return there


def _check_same_versions(name: str, expected: Mapping[str, str], actual: Mapping[str, str]) -> None:
    differ = [
        f"{what} {actual.get(what, 'none')}, not {expected[what]}"
        for what in expected
        if actual.get(what) != expected[what]
    ]
    if differ:
        remedy = "install the same versions on all machines"
        raise UsageError(f"has {'; '.join(differ)}", name, remedy)
