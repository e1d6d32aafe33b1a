"""Trains the demo checkpoint: a tiny Phi-4-Audio that transcribes spoken digits.

Two phases, both on the CPU: the encoder alone, then the projection and the decoder on cached
encoder outputs. Each has a time budget; with --resume a run goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from demo_training import team
from demo_training.checkpoint import export_checkpoint
from demo_training.clock import Clock
from demo_training.corpus import Bank, load_bank
from demo_training.decoder import DecoderPupil, train_decoder
from demo_training.encoder import EncoderPupil, feature_statistics, initialise, train_encoder
from demo_training.network import new_model
from demo_training.pool import Pool
from transformers import Phi4MultimodalForCausalLM

log = logging.getLogger("train_demo")

_ROOT = Path(__file__).resolve().parent.parent


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--fsdd", type=Path, default=_ROOT.parent / "shared" / "fsdd",
        help="folder of the Free Spoken Digit Dataset, with recordings/ in it",
    )  # fmt: skip
    parser.add_argument(
        "--work", type=Path, default=Path("build/demo-training"), help="folder for state files"
    )
    parser.add_argument(
        "--out", type=Path, default=_ROOT / "phi4audio_cli" / "demo" / "checkpoint",
        help="folder the checkpoint is written to",
    )  # fmt: skip
    parser.add_argument(
        "--phases", nargs="+", choices=["encoder", "decoder"], default=["encoder", "decoder"]
    )
    parser.add_argument("--encoder-minutes", type=float, default=38.0, help="time for phase 1")
    parser.add_argument("--decoder-minutes", type=float, default=141.0, help="time for phase 2")
    parser.add_argument("--decoder-rate", type=float, default=1.5e-3, help="learning rate, phase 2")
    parser.add_argument("--processes", type=int, default=2, help="processes that train together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from the state in --work")
    parser.add_argument(
        "--smoke", action="store_true",
        help="all phases with next to no data and time, to see that they run",
    )  # fmt: skip
    return parser.parse_args()


def train(arguments: argparse.Namespace) -> None:
    """Runs the phases asked for, as one member of the team."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(arguments.seed)
    bank = load_bank(arguments.fsdd, arguments.work, limit=2 if arguments.smoke else None)
    model = new_model()
    pupil = EncoderPupil(model.model.embed_tokens_extend.audio_embed.encoder)
    if "encoder" in arguments.phases:
        initialise(pupil.audio, *feature_statistics(bank, arguments.seed))
        clock = Clock("encoder", arguments.encoder_minutes, decay_from=0.3)
        state = arguments.work / "encoder.pt"
        train_encoder(pupil, bank, clock, state, seed=arguments.seed)
    if "decoder" in arguments.phases:
        teach_decoder(arguments, bank, model, pupil)


def teach_decoder(
    arguments: argparse.Namespace,
    bank: Bank,
    model: Phi4MultimodalForCausalLM,
    pupil: EncoderPupil,
) -> None:
    """Runs the second phase on the encoder as it was saved last."""
    saved = torch.load(arguments.work / "encoder.pt", weights_only=True)
    pupil.load_state_dict(saved["module"])
    seed, rank = arguments.seed, team.rank()
    state = arguments.work / "decoder.pt"
    clock = Clock("decoder", arguments.decoder_minutes, decay_from=0.4)
    decoder = DecoderPupil(model)
    pool_seed = 1000 * (seed + 1) + rank + (int(state.stat().st_mtime) if state.exists() else 0)
    groups = 4 if arguments.smoke else 40
    pool = Pool(bank, pupil, pool_seed)
    train_decoder(
        decoder, pool, clock, state, lambda: export_checkpoint(model, arguments.out),
        rate=arguments.decoder_rate, seed=seed, first_groups=groups,
    )  # fmt: skip


def main() -> None:
    """Runs the script."""
    arguments = parse_arguments()
    if arguments.smoke:
        arguments.encoder_minutes = arguments.decoder_minutes = 0.15
    arguments.work.mkdir(parents=True, exist_ok=True)
    load_bank(arguments.fsdd, arguments.work, limit=2 if arguments.smoke else None)
    if not arguments.resume:
        for phase in arguments.phases:
            (arguments.work / f"{phase}.pt").unlink(missing_ok=True)
    team.run_team(train, arguments.processes, arguments.work / "meeting", arguments)


if __name__ == "__main__":
    main()
