"""Random XTTS v2 checkpoints in the official format: what coqui-tts and our engine both read.

They sound like nothing. What they are for: to prove that both compute the same, and how fast.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Whitespace

from upstream_coqui import import_xtts

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGES: Final = (
    *("en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru"),
    *("nl", "cs", "ar", "zh-cn", "hu", "ko", "ja", "hi"),
)
_LETTERS: Final = (
    "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-:;()"
    "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœßąćęłńśźżčďěňřšťůžğışőű"
    "абвгдежзийклмнопрстуфхцчшщъыьэюяё"
    "ابتثجحخدذرزسشصضطظعغفقكلمنهويةىأإآءئؤ"
    "अआइईउऊएऐओऔकखगघचछजझटठडढणतथदधनपफबभमयरलवशषसह"
)
_MERGES: Final = ("th", "he", "in", "er", "an", "re", "on", "at", "en", "nd", "the", "ing", "and")


@dataclass(frozen=True, slots=True)
class Size:
    """What differs between the real shape and the tests'."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    max_audio: int
    loudness: float = 0.2
    """Root mean square of what the vocoder makes of it."""
    stop_bias: float = 0.0
    """Added to the logit of the stop: a random model would go on to the very end otherwise."""


REAL: Final = Size(layers=30, width=1024, heads=16, vocabulary=6681, max_audio=605)
TINY: Final = Size(layers=2, width=64, heads=4, vocabulary=400, max_audio=83, stop_bias=4.0)


def write_xtts(folder: Path, size: Size, seed: int = 0) -> None:
    """Writes `model.pth`, `config.json`, `vocab.json` and `speakers_xtts.pth`."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_vocabulary(folder / "vocab.json", size.vocabulary)
    xtts = import_xtts()
    torch.manual_seed(seed)
    config = _config(size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = xtts.Xtts(config)
    with torch.no_grad():
        _liven(model, size)
    _write_model(xtts, model, config, folder / "model.pth")
    config.save_json(str(folder / "config.json"))
    speakers = {
        f"speaker {number}": {
            "gpt_cond_latent": torch.randn(1, 32, size.width),
            "speaker_embedding": torch.nn.functional.normalize(torch.randn(1, 512, 1), dim=1),
        }
        for number in (1, 2)
    }
    torch.save(speakers, folder / "speakers_xtts.pth")


def _config(size: Size) -> Any:
    from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig

    args = XttsArgs(
        gpt_layers=size.layers,
        gpt_n_model_channels=size.width,
        gpt_n_heads=size.heads,
        gpt_max_audio_tokens=size.max_audio,
        gpt_max_text_tokens=402,
        gpt_max_prompt_tokens=70,
        gpt_number_text_tokens=size.vocabulary,
        gpt_start_text_token=261,
        gpt_stop_text_token=0,
        gpt_num_audio_tokens=1026,
        gpt_start_audio_token=1024,
        gpt_stop_audio_token=1025,
        gpt_use_perceiver_resampler=True,
        decoder_input_dim=size.width,
    )
    return XttsConfig(
        model_args=args,
        languages=list(LANGUAGES),
        temperature=0.75,
        repetition_penalty=5.0,
        gpt_cond_len=30,
        gpt_cond_chunk_len=4,
        max_ref_len=30,
    )


def _liven(model: Any, size: Size) -> None:
    """Makes what was drawn behave like something that was trained, as far as it matters here."""
    gpt, decoder = model.gpt, model.hifigan_decoder
    # Sharper than drawn, so that a sentence has likely tokens and unlikely ones.
    gpt.mel_head.weight.mul_(4)
    # And what is attended to, the text and the voice, must be heard in it.
    for layer in gpt.gpt.h:
        layer.attn.c_attn.weight.mul_(3)
        layer.attn.c_proj.weight.normal_(0, size.width**-0.5)
    gpt.mel_head.bias[gpt.stop_audio_token] += size.stop_bias
    model.mel_stats.copy_(torch.rand(80) + 4)
    for norm in (m for m in decoder.speaker_encoder.modules() if hasattr(m, "running_var")):
        if norm.running_var is not None:
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
    generator = decoder.waveform_decoder
    frames = torch.randn(1, size.width, 40)
    voice = torch.nn.functional.normalize(torch.randn(1, 512, 1), dim=1)
    loudness: list[torch.Tensor] = []
    hook = generator.conv_post.register_forward_hook(
        lambda _, __, out: loudness.append(out.square().mean().sqrt())
    )
    generator(frames, g=voice)
    hook.remove()
    generator.conv_post.weight.mul_(size.loudness / loudness[0])


def _write_model(xtts: Any, model: Any, config: Any, path: Path) -> None:
    # Official files hold the configuration as an object of classes that have moved since.
    moved = (type(config.model_args), type(config.audio))
    homes = [cls.__module__ for cls in moved]
    try:
        for cls in moved:
            cls.__module__ = xtts.__name__
        torch.save({"model": model.state_dict(), "config": config}, path)
    finally:
        for cls, home in zip(moved, homes, strict=True):
            cls.__module__ = home


def _write_vocabulary(path: Path, size: int) -> None:
    special = ["[STOP]", "[UNK]", "[SPACE]", *(f"[{language}]" for language in LANGUAGES)]
    entries = [*special, *dict.fromkeys(_LETTERS)]
    merges = []
    for word in _MERGES:
        merges.append((word[:-1], word[-1]))
        entries.append(word)
    # [START] has its official number, and the table its official length.
    entries += [f"[unused {number}]" for number in range(261 - len(entries))]
    entries.insert(261, "[START]")
    entries += [f"[unused {number + 261}]" for number in range(size - len(entries))]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens([*special, "[START]"])
    document = json.loads(tokenizer.to_str())
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
