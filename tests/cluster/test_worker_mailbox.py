"""Jobs go in, news come out, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from phi4audio_cli.cluster.messages import Notice
from phi4audio_cli.cluster.worker import MAX_QUEUED_JOBS, Mailbox
from phi4audio_cli.types import Job

A, B, C = (Job(index, Path(f"{index}.wav")) for index in range(3))


class Engine:
    """Takes the jobs of each round."""

    def __init__(self, hatch: Mailbox) -> None:
        self.rounds: list[list[Job]] = []
        self.hatch = hatch
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        for jobs in self.hatch.job_batches():
            self.rounds.append(taken := [])
            for job in jobs:
                taken.append(job)
                self.hatch.publish(Notice(str(job.index)))
        self.hatch.close()


def wait_until(true) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_batch_ends_at_end_of_batch_and_the_next_starts_with_the_next_job() -> None:
    hatch = Mailbox()
    engine = Engine(hatch)
    assert hatch.poll(0).idle
    hatch.put([A], end_of_batch=False)
    wait_until(lambda: engine.rounds == [[A]])
    hatch.put([B], end_of_batch=True)
    wait_until(lambda: engine.rounds == [[A, B]])
    wait_until(lambda: hatch.poll(0).idle)
    hatch.put([C], end_of_batch=True)
    wait_until(lambda: engine.rounds == [[A, B], [C]])
    hatch.stop()
    engine.thread.join(20)
    assert not engine.thread.is_alive()


def test_poll_returns_on_messages_on_demand_for_jobs_and_when_closed() -> None:
    hatch = Mailbox()
    Engine(hatch)
    hatch.put([A], end_of_batch=False)
    heard: list[object] = []
    while not heard:  # hunger may be told before, or with it
        heard += hatch.poll(60).messages
    assert heard == [Notice("0")]
    hatch.put([], end_of_batch=True)
    wait_until(lambda: hatch.poll(60).idle)
    hatch.stop()
    wait_until(lambda: hatch.poll(60).closed)


def test_poll_reports_the_free_capacity() -> None:
    hatch = Mailbox()
    assert hatch.poll(0).capacity == MAX_QUEUED_JOBS
    hatch.put([A, B], end_of_batch=False)
    assert hatch.poll(0).capacity == MAX_QUEUED_JOBS - 2


def test_a_stopped_mailbox_yields_no_jobs() -> None:
    hatch = Mailbox()
    hatch.stop()
    hatch.put([A], end_of_batch=True)
    engine = Engine(hatch)
    engine.thread.join(20)
    assert engine.rounds == []
    assert hatch.stopped()
