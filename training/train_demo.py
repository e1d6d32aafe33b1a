"""Train the demo checkpoint: a very small Phi-4-Audio that transcribes spoken digits.

    python -m training.train_demo --fsdd ../shared/fsdd

Two phases, both on the CPU: the encoder alone, then the projection and the decoder on cached
encoder outputs. Each has a time budget; --resume continues an earlier run.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from transformers import Phi4MultimodalForCausalLM

from training import DEMO, FSDD
from training.spoken_digits import data_parallel
from training.spoken_digits.clip_pool import ClipPool
from training.spoken_digits.decoder_training import DecoderTrainingModel, train_decoder
from training.spoken_digits.demo_checkpoint import export_checkpoint
from training.spoken_digits.demo_network import new_model
from training.spoken_digits.digit_corpus import Bank, load_bank
from training.spoken_digits.encoder_training import (
    EncoderTrainingModel,
    feature_statistics,
    initialize_encoder,
    train_encoder,
)
from training.spoken_digits.training_clock import TrainingClock

log = logging.getLogger("train_demo")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--fsdd", type=Path, default=FSDD,
        help="folder of the Free Spoken Digit Dataset, with recordings/ in it",
    )  # fmt: skip
    parser.add_argument(
        "--work", type=Path, default=Path("build/demo-training"), help="folder for state files"
    )
    parser.add_argument(
        "--out", type=Path, default=DEMO / "checkpoint",
        help="folder the checkpoint is written to",
    )  # fmt: skip
    parser.add_argument(
        "--phases", nargs="+", choices=["encoder", "decoder"], default=["encoder", "decoder"]
    )
    parser.add_argument("--encoder-minutes", type=float, default=38.0, help="time for phase 1")
    parser.add_argument("--decoder-minutes", type=float, default=141.0, help="time for phase 2")
    parser.add_argument("--decoder-rate", type=float, default=1.5e-3, help="learning rate, phase 2")
    parser.add_argument("--processes", type=int, default=2, help="number of processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="continue from the state in --work")
    parser.add_argument(
        "--smoke", action="store_true",
        help="all phases with very little data and time, to test that they run",
    )  # fmt: skip
    return parser.parse_args()


def train(arguments: argparse.Namespace) -> None:
    """Run the chosen phases in one of the processes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(arguments.seed)
    bank = load_bank(arguments.fsdd, arguments.work, limit=2 if arguments.smoke else None)
    model = new_model()
    module = EncoderTrainingModel(model.model.embed_tokens_extend.audio_embed.encoder)
    if "encoder" in arguments.phases:
        initialize_encoder(module.audio, *feature_statistics(bank, arguments.seed))
        clock = TrainingClock("encoder", arguments.encoder_minutes, decay_from=0.3)
        state = arguments.work / "encoder.pt"
        train_encoder(module, bank, clock, state, seed=arguments.seed)
    if "decoder" in arguments.phases:
        train_decoder_phase(arguments, bank, model, module)


def train_decoder_phase(
    arguments: argparse.Namespace,
    bank: Bank,
    model: Phi4MultimodalForCausalLM,
    module: EncoderTrainingModel,
) -> None:
    """Run the second phase on the encoder of the last saved state."""
    saved = torch.load(arguments.work / "encoder.pt", weights_only=True)
    module.load_state_dict(saved["module"])
    seed, rank = arguments.seed, data_parallel.rank()
    state = arguments.work / "decoder.pt"
    clock = TrainingClock("decoder", arguments.decoder_minutes, decay_from=0.4)
    decoder = DecoderTrainingModel(model)
    pool_seed = 1000 * (seed + 1) + rank + (int(state.stat().st_mtime) if state.exists() else 0)
    groups = 4 if arguments.smoke else 40
    pool = ClipPool(bank, module, pool_seed)
    train_decoder(
        decoder, pool, clock, state, lambda: export_checkpoint(model, arguments.out),
        rate=arguments.decoder_rate, seed=seed, first_groups=groups,
    )  # fmt: skip


def main() -> None:
    """Run the script."""
    arguments = parse_arguments()
    if arguments.smoke:
        arguments.encoder_minutes = arguments.decoder_minutes = 0.15
    arguments.work.mkdir(parents=True, exist_ok=True)
    load_bank(arguments.fsdd, arguments.work, limit=2 if arguments.smoke else None)
    if not arguments.resume:
        for phase in arguments.phases:
            (arguments.work / f"{phase}.pt").unlink(missing_ok=True)
    data_parallel.run_processes(train, arguments.processes, arguments.work / "meeting", arguments)


if __name__ == "__main__":
    main()
