"""Jobs go in, news come out, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from phi4audio_cli.cluster.hatch import AHEAD, Hatch
from phi4audio_cli.cluster.wire import Note
from phi4audio_cli.types import Job

A, B, C = (Job(index, Path(f"{index}.wav")) for index in range(3))


class Engine:
    """Takes the jobs of each round."""

    def __init__(self, hatch: Hatch) -> None:
        self.rounds: list[list[Job]] = []
        self.hatch = hatch
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        for jobs in self.hatch.rounds():
            self.rounds.append(taken := [])
            for job in jobs:
                taken.append(job)
                self.hatch.tell(Note(str(job.index)))
        self.hatch.leave()


def until(true) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_round_ends_when_no_more_come_and_the_next_begins_with_the_next_job() -> None:
    hatch = Hatch()
    engine = Engine(hatch)
    assert hatch.listen(0).idle
    hatch.give([A], last=False)
    until(lambda: engine.rounds == [[A]])
    hatch.give([B], last=True)
    until(lambda: engine.rounds == [[A, B]])
    until(lambda: hatch.listen(0).idle)
    hatch.give([C], last=True)
    until(lambda: engine.rounds == [[A, B], [C]])
    hatch.stop()
    engine.thread.join(20)
    assert not engine.thread.is_alive()


def test_listening_ends_at_once_with_news_with_hunger_and_when_all_is_done() -> None:
    hatch = Hatch()
    Engine(hatch)
    hatch.give([A], last=False)
    heard: list[object] = []
    while not heard:  # hunger may be told before, or with it
        heard += hatch.listen(60).sent
    assert heard == [Note("0")]
    hatch.give([], last=True)
    until(lambda: hatch.listen(60).idle)
    hatch.stop()
    until(lambda: hatch.listen(60).left)


def test_it_says_for_how_many_it_has_room() -> None:
    hatch = Hatch()
    assert hatch.listen(0).room == AHEAD
    hatch.give([A, B], last=False)
    assert hatch.listen(0).room == AHEAD - 2


def test_when_stopped_it_gives_out_nothing_more() -> None:
    hatch = Hatch()
    hatch.stop()
    hatch.give([A], last=True)
    engine = Engine(hatch)
    engine.thread.join(20)
    assert engine.rounds == []
    assert hatch.stopped()
