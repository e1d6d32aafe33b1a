"""The mailbox: jobs go in, messages come out, and no thread waits forever."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from phi4audio_cli.cluster.messages import Notice
from phi4audio_cli.cluster.worker import MAX_QUEUED_JOBS, Mailbox
from phi4audio_cli.types import Job

A, B, C = (Job(index, Path(f"{index}.wav")) for index in range(3))


class BatchReader:
    """Takes the jobs of each batch in a thread."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.batches: list[list[Job]] = []
        self.mailbox = mailbox
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        for jobs in self.mailbox.job_batches():
            self.batches.append(taken := [])
            for job in jobs:
                taken.append(job)
                self.mailbox.publish(Notice(str(job.index)))
        self.mailbox.close()


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_batch_ends_at_end_of_batch_and_the_next_starts_with_the_next_job() -> None:
    mailbox = Mailbox()
    reader = BatchReader(mailbox)
    assert mailbox.poll(0).idle
    mailbox.put([A], end_of_batch=False)
    wait_until(lambda: reader.batches == [[A]])
    mailbox.put([B], end_of_batch=True)
    wait_until(lambda: reader.batches == [[A, B]])
    wait_until(lambda: mailbox.poll(0).idle)
    mailbox.put([C], end_of_batch=True)
    wait_until(lambda: reader.batches == [[A, B], [C]])
    mailbox.stop()
    reader.thread.join(20)
    assert not reader.thread.is_alive()


def test_poll_returns_on_messages_on_demand_for_jobs_and_when_closed() -> None:
    mailbox = Mailbox()
    BatchReader(mailbox)
    mailbox.put([A], end_of_batch=False)
    messages: list[object] = []
    while not messages:  # a request for jobs may come first
        messages += mailbox.poll(60).messages
    assert messages == [Notice("0")]
    mailbox.put([], end_of_batch=True)
    wait_until(lambda: mailbox.poll(60).idle)
    mailbox.stop()
    wait_until(lambda: mailbox.poll(60).closed)


def test_poll_reports_the_free_capacity() -> None:
    mailbox = Mailbox()
    assert mailbox.poll(0).capacity == MAX_QUEUED_JOBS
    mailbox.put([A, B], end_of_batch=False)
    assert mailbox.poll(0).capacity == MAX_QUEUED_JOBS - 2


def test_a_stopped_mailbox_yields_no_jobs() -> None:
    mailbox = Mailbox()
    mailbox.stop()
    mailbox.put([A], end_of_batch=True)
    reader = BatchReader(mailbox)
    reader.thread.join(20)
    assert reader.batches == []
    assert mailbox.stopped()
