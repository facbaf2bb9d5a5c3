"""Write the card that lies beside the voice, with the figures of the latest judgement in it."""

from pathlib import Path
from typing import Final

from judge import Report, table

__all__ = ["write_card"]

_TEMPLATE: Final = Path(__file__).with_name("card_template.md")


def write_card(
    path: Path,
    reports: dict[str, Report],
    *,
    date: str,
    minutes: float,
    lines: int,
    hours: float,
    steps: int,
    hop: int,
) -> None:
    """Write the card.

    Args:
        path: Where to; the ONNX file lies beside it under the same stem.
        reports: What the judge said of every speaker.
        date: When the voice was made.
        minutes: How long it was trained.
        lines: Lines of training text a speaker.
        hours: Length of the training speech.
        steps: Steps of training.
        hop: Samples in a frame.
    """
    sentences = next(iter(reports.values())).sentences
    megabytes = path.with_suffix(".onnx").stat().st_size / 1e6
    text = _TEMPLATE.read_text(encoding="utf-8").format(
        megabytes=megabytes,
        hop=hop,
        date=date,
        minutes=minutes,
        lines=lines,
        hours=hours,
        steps=steps,
        sentences=sentences,
        table=table(reports),
    )
    path.write_text(text, encoding="utf-8")
