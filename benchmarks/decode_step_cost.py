"""Cost of a decode step on a CPU, by the number of sequences that run at once.

    python -m benchmarks.decode_step_cost [--layers 6] [--rounds 5]

Layers of the mid-size decoder with random weights, one thread, processor time; the numbers of
sequences take turns. Shows how many sequences `--batch-size auto` should run if memory is plenty.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from phi4audio_cli.model.loading import build, fill
from phi4audio_cli.model.placement import Placement
from phi4audio_cli.network.phi4 import Phi4Audio
from tools.make_checkpoint.checkpoint_configs import native_config
from tools.make_checkpoint.network_sizes import SIZES

NUM_SEQUENCES = (1, 2, 4, 8, 16, 32, 64)

POSITION = 300
"""Of the token: about a prompt of 20 s and half of its answer."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = random_network(options.layers, getattr(torch, options.dtype))
    cache = network.new_cache(max(NUM_SEQUENCES), POSITION + 1)
    spent: dict[int, list[float]] = {count: [] for count in NUM_SEQUENCES}
    with torch.inference_mode():
        for _ in range(options.rounds + 1):
            for count in NUM_SEQUENCES:
                began = time.process_time()
                network.decode_step(cache, [1] * count, [POSITION] * count)
                spent[count].append(time.process_time() - began)
    for count, times in spent.items():
        step = 1000 * statistics.median(times[1:])  # the first round is a warm-up
        print(f"{count:3} sequences: {step:7.1f} ms a step, {step / count:6.2f} ms a sequence")


def random_network(layers: int, dtype: torch.dtype) -> Phi4Audio:
    """Make a mid-size network with some layers and random weights."""
    config = native_config(SIZES["mid"])
    config["num_hidden_layers"] = layers
    config["audio_config"]["num_blocks"] = 1
    network = build(config)
    weights = (
        (name, 0.02 * torch.randn(tensor.shape))
        for name, tensor in network.state_dict().items()
        if name != "lm_head.weight"
    )
    fill(network, weights, dtype, Placement(torch.device("cpu"), layers, layers))
    return network


if __name__ == "__main__":
    main()
