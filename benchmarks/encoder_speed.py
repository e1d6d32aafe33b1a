#!/usr/bin/env python3
"""The audio encoder's speed beside transformers' own class, on the same random weights.

    python scripts/bench_encoder.py [--sizes mid full] [--batches 1 8] [--threads 1]

Three ways, in turn, in one process: `loop` is transformers' class one clip at a time, `padded` the
same class on a padded batch (which changes what short clips get), `ours` this package's encoder on
that batch. Prints seconds of audio per second, the median ratio to `loop` with its spread, and
where our time goes. Clips are of 3 to 40 s; a batch of one is one clip of 20 s. On one thread it is
the process's own time that counts, which other programs on the machine disturb little.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import torch
from transformers import Phi4MultimodalAudioConfig
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import (
    Phi4MultimodalAudioMLP,
    Phi4MultimodalAudioModel,
)

from benchmarks.speed.stage_timer import StageTimer
from phi4audio_cli.model import conformer
from phi4audio_cli.model.encoder import AudioEncoder
from phi4audio_cli.model.subsampling import MaskedSubsampling
from tools.make_checkpoint.network_sizes import SIZES

FRAMES_PER_SECOND = 100
STAGES = (
    (MaskedSubsampling, "forward", "subsampling"),
    (Phi4MultimodalAudioMLP, "forward", "feed forward"),
    (conformer, "attend", "attention"),
    (conformer, "convolve", "convolution"),
    (AudioEncoder, "forward", "the rest"),
)


def main() -> None:
    """Measure every size and batch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["mid", "full"], choices=list(SIZES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'size':5} {'batch':>5} {'loop':>7} {'padded':>7} {'ours':>7}   ours / loop")
    for size in options.sizes:
        ours, theirs = encoders(size)
        for batch in options.batches:
            measure(size, ours, theirs, make_clips(batch), options.rounds)


def encoders(size: str) -> tuple[AudioEncoder, Phi4MultimodalAudioModel]:
    """Make both classes with one set of random weights."""
    wanted = SIZES[size]
    config = Phi4MultimodalAudioConfig(
        hidden_size=wanted.encoder_hidden,
        num_attention_heads=wanted.encoder_heads,
        intermediate_size=wanted.encoder_mlp,
        num_blocks=wanted.encoder_blocks,
        nemo_conv_channels=wanted.conv_channels,
        ext_pw_out_channel=wanted.encoder_hidden,
        depthwise_separable_out_channel=wanted.encoder_hidden,
        bias_max_distance=500,
    )
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    theirs = Phi4MultimodalAudioModel(config).eval()
    with torch.device("meta"):
        ours = AudioEncoder(config).eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)
    return ours, theirs


def make_clips(count: int) -> list[torch.Tensor]:
    """Make features of 3 to 40 s; alone, of 20 s."""
    rng = random.Random(0)
    seconds = [20.0] if count == 1 else [rng.uniform(3, 40) for _ in range(count)]
    return [torch.randn(round(each * FRAMES_PER_SECOND), 80) for each in seconds]


def measure(
    size: str,
    ours: AudioEncoder,
    theirs: Phi4MultimodalAudioModel,
    batch: list[torch.Tensor],
    rounds: int,
) -> None:
    """Time the three ways in turn, then our stages; print a line for each."""
    padded = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
    lengths = torch.tensor([len(clip) for clip in batch])
    mask = torch.arange(padded.shape[1]) < lengths[:, None] if len(batch) > 1 else None
    ways: dict[str, Callable[[], object]] = {
        "loop": lambda: [theirs(clip[None], None) for clip in batch],
        "padded": lambda: theirs(padded, mask),
        "ours": lambda: ours(padded, mask),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    with torch.inference_mode():
        for way in ways.values():
            way()
        for _ in range(rounds):
            for name, way in ways.items():
                began = clock()
                way()
                times[name].append(clock() - began)
        shares = stage_shares(ways["ours"])
    audio = int(lengths.sum()) / FRAMES_PER_SECOND
    speeds = " ".join(f"{audio / statistics.median(spent):7.1f}" for spent in times.values())
    ratios = [slow / fast for slow, fast in zip(times["loop"], times["ours"], strict=True)]
    print(
        f"{size:5} {len(batch):5} {speeds}   {statistics.median(ratios):.2f} x"
        f" ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    print("      " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))


def stage_shares(run: Callable[[], object]) -> dict[str, float]:
    """Run once with every stage timed; return their shares."""
    watch = StageTimer()
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in STAGES]
    for stage in STAGES:
        watch.wrap(*stage)
    run()
    for owner, name, original in originals:
        setattr(owner, name, original)
    total = sum(watch.seconds.values())
    return {name: spent / total for name, spent in watch.seconds.items()}


if __name__ == "__main__":
    main()
