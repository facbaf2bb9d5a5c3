"""Write the voice down as Piper reads it: an ONNX graph and its JSON.

python scripts/train_voice/export.py --out .local/train_voice
"""

import argparse
import json
import logging
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from corpus import Corpus
from network import Voice
from onnx import TensorProto
from piper.config import PhonemeType, PiperConfig
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP
from source_filter import HOP
from teacher import SAMPLE_RATE, SPEAKERS
from train import CHECKPOINT, load_voice

__all__ = ["VOICES", "export"]

VOICES: Final = Path("model_repository/piper/1/voices")
_OPSET: Final = 17
_PIPER_VERSION: Final = "1.8.0"

_NEIGHBOURS: Final = {
    "y": "u", "ʏ": "ʊ", "ø": "ɜ", "œ": "ɛ", "ɶ": "æ", "ɒ": "ɑ", "ɘ": "ə", "ɵ": "ə", "ɞ": "ɜ",
    "ɤ": "ʌ", "ɯ": "u", "ɨ": "ɪ", "ʉ": "u", "ɐ": "ə", "ɜ": "ɚ", "ɚ": "ə", "ᵻ": "ɪ",
    "c": "k", "q": "k", "ɟ": "ɡ", "ɢ": "ɡ", "g": "ɡ", "ʈ": "t", "ɖ": "d", "ɗ": "d", "ɓ": "b",
    "ɠ": "ɡ", "ʛ": "ɡ", "ʄ": "d", "ʔ": "t", "ʡ": "t", "ç": "ʃ", "ɕ": "ʃ", "ʂ": "ʃ", "ɧ": "ʃ",
    "ʑ": "ʒ", "ʐ": "ʒ", "ʝ": "j", "ʎ": "l", "ɭ": "l", "ʟ": "l", "ɫ": "l", "ɬ": "l", "ɮ": "l",
    "ɺ": "l", "x": "h", "χ": "h", "ħ": "h", "ʜ": "h", "ɦ": "h", "ʕ": "h", "ʢ": "h", "ɣ": "ɡ",
    "ʁ": "ɹ", "ʀ": "ɹ", "r": "ɹ", "ɻ": "ɹ", "ɽ": "ɾ", "ɾ": "d", "ɲ": "n", "ɳ": "n", "ɴ": "ŋ",
    "ɱ": "m", "ɸ": "f", "β": "v", "ʋ": "v", "ⱱ": "v", "ʙ": "b", "ʍ": "w", "ɥ": "w", "ɰ": "w",
    "ǀ": "t", "ǁ": "k", "ǂ": "t", "ǃ": "t", "ʘ": "p", "ˑ": "ː", "e": "ɛ", "o": "ɔ", "a": "ɑ",
}  # fmt: skip
"""The nearest English sound for a symbol that no English text taught. Others pass in silence."""
_SEEN: Final = 20  # times that a symbol has to be in the corpus to count as taught

_log = logging.getLogger("export")


def export(folder: Path, voices: Path, name: str = "budtender") -> Path:
    """Export the checkpoint in ``folder`` as ``name.onnx`` and ``name.onnx.json``.

    Args:
        folder: Where the corpus and the checkpoint are.
        voices: Where the two files go.
        name: Stem of their names.

    Returns:
        The ONNX file.
    """
    voices.mkdir(parents=True, exist_ok=True)
    path = voices / f"{name}.onnx"
    corpus = Corpus(folder, "train")
    voice = load_voice(folder / CHECKPOINT, "matmul")
    _teach_neighbours(voice, corpus)
    voice.pace.copy_(_pace(voice, corpus))
    example = (
        torch.randint(14, 120, (2, 50)),
        torch.tensor([50, 40]),
        torch.tensor([0.667, 1.0, 0.8]),
        torch.tensor([1]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        torch.onnx.export(
            voice,
            example,
            str(path),
            input_names=["input", "input_lengths", "scales", "sid"],
            output_names=["output"],
            dynamic_axes={
                "input": {0: "batch_size", 1: "phonemes"},
                "input_lengths": {0: "batch_size"},
                "sid": {0: "speakers"},
                "output": {0: "batch_size", 3: "time"},
            },
            opset_version=_OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
    _finish(path)
    config = PiperConfig(
        num_symbols=256,
        num_speakers=len(SPEAKERS),
        sample_rate=SAMPLE_RATE,
        espeak_voice="en-us",
        phoneme_id_map=DEFAULT_PHONEME_ID_MAP,
        phoneme_type=PhonemeType.ESPEAK,
        speaker_id_map={speaker.name: index for index, speaker in enumerate(SPEAKERS)},
        piper_version=_PIPER_VERSION,
        hop_length=HOP,
    ).to_dict()
    config |= {"language": {"code": "en_US", "family": "en", "region": "US"}, "dataset": name}
    config["audio"]["quality"] = "low"
    text = json.dumps(config, ensure_ascii=False, indent=2)
    path.with_suffix(".onnx.json").write_text(text + "\n", encoding="utf-8")
    _log.info("%s: %.1f MB", path, path.stat().st_size / 1e6)
    return path


def _teach_neighbours(voice: Voice, corpus: Corpus) -> None:
    """Give every symbol without lessons the sound of a neighbour, or the silence of a blank."""
    seen = np.zeros(voice.symbols.num_embeddings, np.int64)
    for index in range(len(corpus)):
        np.add.at(seen, corpus[index].ids, 1)
    weight = voice.symbols.weight.data
    taught = seen >= _SEEN
    names = {ids[0]: symbol for symbol, ids in DEFAULT_PHONEME_ID_MAP.items()}
    blank = DEFAULT_PHONEME_ID_MAP["_"][0]
    for symbol_id in np.flatnonzero(~taught):
        source, symbol = blank, names.get(int(symbol_id), "")
        while symbol in _NEIGHBOURS:
            symbol = _NEIGHBOURS[symbol]
            candidate = DEFAULT_PHONEME_ID_MAP[symbol][0]
            if taught[candidate]:
                source = candidate
                break
        weight[symbol_id] = weight[source]


@torch.no_grad()
def _pace(voice: Voice, corpus: Corpus) -> torch.Tensor:
    """Measure by how much predicted durations have to stretch for sentences of the right length."""
    wanted, got = torch.zeros(len(SPEAKERS)), torch.zeros(len(SPEAKERS))
    for index in np.random.default_rng(0).permutation(len(corpus))[:400]:
        sample = corpus[int(index)]
        ids = torch.from_numpy(sample.ids)[None]
        _, log_frames = voice.prosody(
            ids, torch.ones(1, ids.shape[1], 1), torch.tensor([sample.speaker])
        )
        wanted[sample.speaker] += float(sample.frames.sum())
        got[sample.speaker] += float((torch.exp(log_frames) - 1).clamp(min=0).sum())
    _log.info("durations stretch by %s", [round(float(p), 4) for p in wanted / got])
    return wanted / got


def _finish(path: Path) -> None:
    """Fix what the exporter leaves vague, and check the graph."""
    model = onnx.load(str(path))
    ceils = [node for node in model.graph.node if node.op_type == "Ceil"]
    if len(ceils) != 1:
        raise RuntimeError(f"Piper's alignments need one Ceil; there are {len(ceils)}")
    shape = model.graph.output[0].type.tensor_type.shape
    for axis in (1, 2):
        shape.dim[axis].dim_value = 1
    if model.graph.output[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise RuntimeError("the output is not float32")
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(".local/train_voice"))
    parser.add_argument("--voices", type=Path, default=VOICES)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(name)s  %(message)s")
    export(options.out, options.voices)


if __name__ == "__main__":
    main()
