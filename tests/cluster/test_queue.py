"""Which recordings wait, who has which, and which are taken for what workers die of."""

from __future__ import annotations

from pathlib import Path

from phi4audio_cli.cluster.queue import (
    CLAIM_PATIENCE,
    CLAIM_PAUSE,
    DEATHS,
    LOSSES,
    Queue,
    long_ones_first,
)
from phi4audio_cli.types import Job


def jobs(count: int) -> list[Job]:
    return [Job(index, Path(f"{index}.wav")) for index in range(count)]


def indexes(given) -> list[int]:
    return [job.index for job in given.jobs]


def test_jobs_go_out_in_order_as_there_is_room_and_the_last_is_told() -> None:
    queue = Queue(jobs(5))
    first, second, third = queue.give("a", 2), queue.give("b", 2), queue.give("a", 4)
    assert (indexes(first), first.last) == ([0, 1], False)
    assert (indexes(second), second.last) == ([2, 3], False)
    assert (indexes(third), third.last) == ([4], True)
    assert not queue.finished
    for worker, index in (("a", 0), ("a", 1), ("b", 2), ("b", 3), ("a", 4)):
        queue.settle(worker, Job(index, Path("x")))
    assert queue.finished
    assert queue.give("a", 4).last, "a round ends where nothing waits"


def test_what_a_dead_worker_had_is_done_alone_and_one_after_the_other() -> None:
    queue = Queue(jobs(4))
    queue.give("a", 2)
    queue.give("b", 1)
    assert queue.lose("a", died=True) == []
    assert indexes(queue.give("b", 1)) == [3], "who has something gets no suspect"
    suspect = queue.give("c", 4)
    assert (indexes(suspect), suspect.last, suspect.again) == ([0], True, {0})
    assert queue.give("c", 4).jobs == (), "nothing comes beside a suspect"
    queue.settle("c", suspect.jobs[0])
    assert indexes(queue.give("c", 4)) == [1]


def test_a_recording_with_which_workers_die_is_given_up_and_the_others_are_not() -> None:
    queue = Queue(jobs(2))
    queue.give("w0", 2)
    assert queue.lose("w0", died=True) == []
    for death in range(1, DEATHS):
        assert indexes(queue.give(f"w{death}", 2)) == [0]
        lost = queue.lose(f"w{death}", died=True)
        if death < DEATHS - 1:
            assert indexes(queue.give("other", 2)) == [1]
            queue.settle("other", jobs(2)[1])
    assert [job.index for job in lost] == [0]
    assert queue.finished


def test_a_lost_machine_is_no_fault_of_its_recordings() -> None:
    queue = Queue(jobs(2))
    for loss in range(1, LOSSES):
        queue.give(f"w{loss}", 2)
        assert queue.lose(f"w{loss}", died=False) == [], loss
    again = queue.give("w", 2)
    assert sorted(indexes(again)) == [0, 1], "together: nobody suspects them"
    assert again.again == {0, 1}
    assert len(queue.lose("w", died=False)) == 2, "but not for ever"


def test_a_claimed_recording_is_tried_again_until_patience_ends() -> None:
    now = 0.0
    queue = Queue(jobs(2), now=lambda: now)
    queue.give("a", 2)
    job = jobs(1)[0]
    assert queue.postpone("a", job)
    queue.settle("a", jobs(2)[1])
    assert queue.give("a", 1).jobs == ()
    assert not queue.finished
    now = CLAIM_PAUSE
    assert indexes(queue.give("a", 1)) == [0]
    now = CLAIM_PATIENCE
    assert not queue.postpone("a", job)
    assert queue.finished


def test_each_job_is_settled_once_whatever_becomes_of_the_workers() -> None:
    import random

    dice = random.Random(7)
    for _ in range(50):
        queue = Queue(jobs(20))
        settled: list[int] = []
        held: dict[str, list[Job]] = {}
        for step in range(5000):
            if queue.finished:
                break
            worker = dice.choice(["a", "b", "c"])
            held.setdefault(worker, []).extend(queue.give(worker, dice.randint(1, 4)).jobs)
            if held[worker] and dice.random() < 0.6:
                job = held[worker].pop(dice.randrange(len(held[worker])))
                queue.settle(worker, job)
                settled.append(job.index)
            elif dice.random() < 0.05:
                settled += [job.index for job in queue.lose(worker, died=step % 2 == 0)]
                held[worker] = []
        assert sorted(settled) == list(range(20))


def test_recordings_far_longer_than_most_come_first_and_the_others_stay_in_order() -> None:
    sizes = [5, 3, 9, 4] * 10
    sizes[30] = 900
    ordered = long_ones_first(jobs(40), lambda job: sizes[job.index])
    assert [job.index for job in ordered] == [30, *(index for index in range(40) if index != 30)]
    assert long_ones_first([]) == []
