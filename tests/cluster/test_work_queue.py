"""The work queue: leases, acknowledgements, quarantine and locks."""

from __future__ import annotations

from pathlib import Path

from phi4audio_cli.cluster.work_queue import (
    LOCK_RETRY_SECONDS,
    LOCK_TIMEOUT_SECONDS,
    MAX_CRASHES,
    MAX_LOSSES,
    WorkQueue,
    long_recordings_first,
)
from phi4audio_cli.types import Job


def make_jobs(count: int) -> list[Job]:
    return [Job(index, Path(f"{index}.wav")) for index in range(count)]


def indexes(given) -> list[int]:
    return [job.index for job in given.jobs]


def test_jobs_are_leased_in_order_up_to_capacity_and_end_of_batch_is_marked() -> None:
    queue = WorkQueue(make_jobs(5))
    first, second, third = queue.lease("a", 2), queue.lease("b", 2), queue.lease("a", 4)
    assert (indexes(first), first.end_of_batch) == ([0, 1], False)
    assert (indexes(second), second.end_of_batch) == ([2, 3], False)
    assert (indexes(third), third.end_of_batch) == ([4], True)
    assert not queue.finished
    for worker, index in (("a", 0), ("a", 1), ("b", 2), ("b", 3), ("a", 4)):
        queue.ack(worker, Job(index, Path("x")))
    assert queue.finished
    assert queue.lease("a", 4).end_of_batch, "a batch ends when no job is waiting"


def test_jobs_of_a_crashed_worker_are_quarantined_one_at_a_time() -> None:
    queue = WorkQueue(make_jobs(4))
    queue.lease("a", 2)
    queue.lease("b", 1)
    assert queue.requeue("a", crashed=True) == []
    assert indexes(queue.lease("b", 1)) == [3], "a worker with jobs gets no quarantined one"
    quarantined = queue.lease("c", 4)
    assert (indexes(quarantined), quarantined.end_of_batch, quarantined.redelivered) == (
        [0],
        True,
        {0},
    )
    assert queue.lease("c", 4).jobs == (), "a quarantined job is alone"
    queue.ack("c", quarantined.jobs[0])
    assert indexes(queue.lease("c", 4)) == [1]


def test_a_recording_that_crashes_workers_is_given_up_alone() -> None:
    queue = WorkQueue(make_jobs(2))
    queue.lease("w0", 2)
    assert queue.requeue("w0", crashed=True) == []
    for death in range(1, MAX_CRASHES):
        assert indexes(queue.lease(f"w{death}", 2)) == [0]
        lost = queue.requeue(f"w{death}", crashed=True)
        if death < MAX_CRASHES - 1:
            assert indexes(queue.lease("other", 2)) == [1]
            queue.ack("other", make_jobs(2)[1])
    assert [job.index for job in lost] == [0]
    assert queue.finished


def test_a_lost_node_does_not_quarantine_its_recordings() -> None:
    queue = WorkQueue(make_jobs(2))
    for loss in range(1, MAX_LOSSES):
        queue.lease(f"w{loss}", 2)
        assert queue.requeue(f"w{loss}", crashed=False) == [], loss
    again = queue.lease("w", 2)
    assert sorted(indexes(again)) == [0, 1], "both together, without quarantine"
    assert again.redelivered == {0, 1}
    assert len(queue.requeue("w", crashed=False)) == 2, "the limit of losses"


def test_a_locked_recording_is_retried_until_the_timeout() -> None:
    now = 0.0
    queue = WorkQueue(make_jobs(2), now=lambda: now)
    queue.lease("a", 2)
    job = make_jobs(1)[0]
    assert queue.retry_later("a", job)
    queue.ack("a", make_jobs(2)[1])
    assert queue.lease("a", 1).jobs == ()
    assert not queue.finished
    now = LOCK_RETRY_SECONDS
    assert indexes(queue.lease("a", 1)) == [0]
    now = LOCK_TIMEOUT_SECONDS
    assert not queue.retry_later("a", job)
    assert queue.finished


def test_each_job_is_acknowledged_once_under_random_worker_loss() -> None:
    import random

    dice = random.Random(7)
    for _ in range(50):
        queue = WorkQueue(make_jobs(20))
        finished: list[int] = []
        leased: dict[str, list[Job]] = {}
        for step in range(5000):
            if queue.finished:
                break
            worker = dice.choice(["a", "b", "c"])
            leased.setdefault(worker, []).extend(queue.lease(worker, dice.randint(1, 4)).jobs)
            if leased[worker] and dice.random() < 0.6:
                job = leased[worker].pop(dice.randrange(len(leased[worker])))
                queue.ack(worker, job)
                finished.append(job.index)
            elif dice.random() < 0.05:
                finished += [job.index for job in queue.requeue(worker, crashed=step % 2 == 0)]
                leased[worker] = []
        assert sorted(finished) == list(range(20))


def test_very_long_recordings_come_first_and_the_others_keep_their_order() -> None:
    sizes = [5, 3, 9, 4] * 10
    sizes[30] = 900
    ordered = long_recordings_first(make_jobs(40), lambda job: sizes[job.index])
    assert [job.index for job in ordered] == [30, *(index for index in range(40) if index != 30)]
    assert long_recordings_first([]) == []
