"""How many workers there are, and what each gets of the machines."""

from __future__ import annotations

import pytest

from phi4audio_cli.cluster.sizes import Node, Share, Workers, share_out
from phi4audio_cli.errors import ModelError, UsageError


def node(cpus: int, gpus: int = 0) -> Node:
    return Node(f"{cpus}-{gpus}", "machine", cpus, gpus)


@pytest.mark.parametrize(("text", "expected"), [("4", (4, 4)), ("2:16", (2, 16)), (" 1 ", (1, 1))])
def test_numbers_of_workers(text: str, expected: tuple[int, int]) -> None:
    assert Workers.parse(text) == Workers(*expected)


@pytest.mark.parametrize("text", ["0", "-1", "3:2", "many", "2:", ":2", "", "1:2:3", "0:4"])
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--workers"):
        Workers.parse(text)


def test_one_worker_a_gpu_which_shares_the_cores_beside_it() -> None:
    workers, share = share_out([node(16, 4), node(2), node(8, 1)], None, "auto")
    assert workers == Workers(5, 5)
    assert share == Share(gpu=True, threads=4, readers=3)
    assert share.resources == {"num_gpus": 1, "num_cpus": 1}
    assert [share.fits(each) for each in (node(16, 4), node(2))] == [4, 0]


@pytest.mark.parametrize(
    ("machines", "wanted", "expected", "threads"),
    [
        ([node(8)], None, 1, 8),
        ([node(8), node(4)], None, 2, 4),
        ([node(8)], Workers(3, 3), 3, 2),
        ([node(2), node(2)], Workers(1, 1), 1, 2),
        ([node(2), node(2)], Workers(3, 4), 3, 1),
        ([node(0), node(1), node(1)], None, 2, 1),
    ],
)
def test_without_gpus_the_cores_are_divided(machines, wanted, expected, threads) -> None:
    workers, share = share_out(machines, wanted, "auto")
    assert workers.least == expected
    assert share == Share(gpu=False, threads=threads, readers=None)
    assert sum(map(share.fits, machines)) >= expected


def test_a_gpu_is_left_alone_where_the_processor_was_asked_for() -> None:
    workers, share = share_out([node(8, 2)], Workers(4, 4), "cpu")
    assert (workers.least, share.gpu, share.threads) == (4, False, 2)


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match=r"5 workers are more than .* devices: 4 GPUs"):
        share_out([node(16, 4)], Workers(5, 5), "cuda")
    with pytest.raises(UsageError, match=r"3 workers are more than .* devices: 2 cores"):
        share_out([node(2)], Workers(3, 3), "auto")
    with pytest.raises(ModelError, match="no GPU"):
        share_out([node(2)], None, "cuda")
    with pytest.raises(UsageError, match="--device cuda"):
        share_out([node(2, 2)], None, "cuda:1")


def test_more_than_there_is_now_may_come_later() -> None:
    workers, _ = share_out([node(4, 2)], Workers(2, 64), "auto")
    assert workers == Workers(2, 64)
