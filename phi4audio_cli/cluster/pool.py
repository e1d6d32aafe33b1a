"""Workers as Ray actors: started, spoken to and ended. One call is open to each at a time."""

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

from phi4audio_cli.cluster import versions
from phi4audio_cli.cluster.calls import Lost, Reply
from phi4audio_cli.cluster.sizes import Node, Share
from phi4audio_cli.cluster.wire import Gift
from phi4audio_cli.cluster.worker import Plan, Say, Worker
from phi4audio_cli.errors import ModelError, UsageError

PROBE_SECONDS = 60.0
"""How long a machine may take to say its versions."""

CALLS = 3
"""Calls a worker takes at the same time: one for news, one to stop, one to spare."""


class RayPool:
    """Workers that are actors, none of which outlives the driver.

    Args:
        plan: What they do.
        share: What each gets.
    """

    def __init__(self, plan: Plan, share: Share) -> None:
        self._plan = plan
        self._share = share
        self._actors: dict[str, Any] = {}
        self._open: dict[Any, str] = {}
        self._count = 0

    def start(self) -> str:
        """Begin to start a worker."""
        self._count += 1
        name = f"worker {self._count}"
        kind = ray.remote(max_concurrency=CALLS, max_restarts=0, **self._share.resources)(Worker)
        actor = self._actors[name] = kind.remote(self._plan)
        self._open[actor.prepare.remote()] = name
        return name

    def send(self, worker: str, gift: Gift) -> None:
        """Hand a worker jobs."""
        self._open[self._actors[worker].exchange.remote(gift)] = worker

    def wait(self, seconds: float) -> Iterator[tuple[str, Reply]]:
        """Yield what came from workers."""
        if not self._open:
            time.sleep(seconds)
            return
        calls = list(self._open)
        ray.wait(calls, timeout=seconds)
        for call in ray.wait(calls, num_returns=len(calls), timeout=0)[0]:
            if worker := self._open.pop(call, None):
                yield worker, _reply(call)

    def stop(self, worker: str) -> None:
        """Let a worker finish its batch."""
        self._actors[worker].stop.remote()

    def end(self, worker: str) -> None:
        """End a worker at once."""
        self._open = {call: name for call, name in self._open.items() if name != worker}
        if (actor := self._actors.pop(worker, None)) is not None:
            with suppress(RayError, ConnectionError):
                ray.kill(actor)

    def close(self) -> None:
        """End all workers."""
        for worker in list(self._actors):
            self.end(worker)


def _reply(call: Any) -> Reply:
    try:
        reply: Reply = ray.get(call)
    except RayTaskError as error:  # raised by the worker's own code
        return Lost(error.cause if isinstance(error.cause, Exception) else error, died=False)
    except ActorDiedError as error:
        # Of a machine that went away in good order Ray says so, in these words only.
        return Lost(_shortened(error), died="node has died" not in str(error))
    except OutOfMemoryError as error:
        return Lost(_shortened(error), died=True)
    except (RayActorError, RayError) as error:
        return Lost(_shortened(error), died=False)
    return reply


def _shortened(error: RayError) -> Exception:
    """Return Ray's reason without the advice that follows it."""
    text = str(error)
    if "worker process has died" in text:
        return ModelError("its process died")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in lines if "because" in line or "unavailable" in line), lines[0])
    return ModelError(said[:300])


def nodes() -> list[Node]:
    """Return the machines of the cluster that have anything to give."""
    found = [Node.of(entry) for entry in ray.nodes() if entry["Alive"]]
    return [node for node in found if node.cpus or node.gpus]


def check_versions(machines: Sequence[Node], say: Say) -> list[Node]:
    """Check that machines have the driver's versions, and return those that answer.

    Args:
        machines: Some of which may be gone, and Ray not know it yet.
        say: Told of those that don't answer.

    Raises:
        UsageError: One has other versions, or none answers.
    """
    mine = versions.versions()
    cloudpickle.register_pickle_by_value(versions)
    try:
        ask = ray.remote(num_cpus=0, max_retries=0)(versions.versions)
        places = [NodeAffinitySchedulingStrategy(node.id, soft=False) for node in machines]
        answers = [ask.options(scheduling_strategy=place).remote() for place in places]
    finally:
        cloudpickle.unregister_pickle_by_value(versions)
    if answers:
        ray.wait(answers, num_returns=len(answers), timeout=PROBE_SECONDS)
    there = []
    for node, answer in zip(machines, answers, strict=True):
        try:
            theirs: Mapping[str, str] = ray.get(answer, timeout=0)
        except RayError as error:
            why = "no answer" if isinstance(error, GetTimeoutError) else _shortened(error)
            say(f"{node.name} ({node.id[:8]}) can't be used: {why}")
        else:
            _compare(node.name, mine, theirs)
            there.append(node)
    if not there:
        raise UsageError("no machine of the cluster answers", "--cluster", "look at ray status")
    return there


def _compare(name: str, mine: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    differ = [
        f"{what} {theirs.get(what, 'none')}, not {mine[what]}"
        for what in mine
        if theirs.get(what) != mine[what]
    ]
    if differ:
        remedy = "install the same versions on all machines"
        raise UsageError(f"has {'; '.join(differ)}", name, remedy)
