"""Make the shipped voice from nothing: corpus, training, export, judgement, card.

    pip install torch==2.13.0 numpy onnx onnxruntime piper-tts==1.8.0
    python scripts/train_voice/make_voice.py --minutes 60

Corpus and training leave their results under ``--out`` and are passed over when they are there, so
the command goes on where it was stopped. The seeds are fixed, but the budget is one of time: a
faster machine takes more steps and makes a slightly better voice, not the same bits.
"""

import argparse
import datetime
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

import torch
from card import write_card
from corpus import HOP, Corpus, build
from export import VOICES, export
from judge import judge, table
from teacher import SAMPLE_RATE
from train import train

_log = logging.getLogger("voice")


def make(folder: Path, voices: Path, *, lines: int, minutes: float) -> None:
    """Run all stages.

    Args:
        folder: Where the corpus, the checkpoint and the report go.
        voices: Where the voice and its card go.
        lines: Lines of training text a speaker.
        minutes: Time to train.
    """
    build(folder, lines)
    checkpoint = train(folder, minutes)
    voice = export(folder, voices)
    reports = judge(folder, voice)
    figures = {name: asdict(report) for name, report in reports.items()}
    (folder / "report.json").write_text(json.dumps(figures, indent=2) + "\n")
    corpus = Corpus(folder, "train")
    write_card(
        voice.with_suffix(".md"),
        reports,
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        minutes=minutes,
        lines=lines,
        hours=sum(int(corpus[k].frames.sum()) for k in range(len(corpus)))
        * HOP
        / SAMPLE_RATE
        / 3600,
        steps=torch.load(checkpoint, weights_only=True)["steps"],
        hop=HOP,
    )
    _log.info("\n%s", table(reports))


def main() -> None:
    """Make the voice from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(".local/train_voice"))
    parser.add_argument("--voices", type=Path, default=VOICES)
    parser.add_argument("--lines", type=int, default=3000)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    make(options.out, options.voices, lines=options.lines, minutes=options.minutes)


if __name__ == "__main__":
    main()
