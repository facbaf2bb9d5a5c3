"""The sizes of a checkpoint and its own settings, read from the `config.json` beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voice_serving.errors import InternalError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class XttsShape:
    """Sizes of the networks, and what the checkpoint's makers recommend.

    The vocoder and the speaker encoder have no field here: coqui-tts builds them always alike.
    """

    layers: int
    width: int
    """Of the GPT, and of the latents that the vocoder reads."""
    heads: int
    text_tokens: int
    """Entries of the text vocabulary."""
    start_text: int
    stop_text: int
    audio_tokens: int
    """Entries of the audio vocabulary."""
    start_audio: int
    stop_audio: int
    max_text: int
    """Text tokens of one sentence, without start and stop."""
    max_audio: int
    """As `gpt_max_audio_tokens` counts them: three more than can be generated."""
    token_samples: int
    """Samples at `input_rate` that one audio token stands for."""
    input_rate: int
    """Hz that the GPT thinks in."""
    output_rate: int
    """Hz of the audio."""
    hop: int
    """Samples of one frame of the vocoder."""
    speaker_width: int
    reference_seconds: int
    """At most so much of each sample is looked at."""
    conditioning_seconds: int
    """Of which the GPT is told so much."""
    chunk_seconds: int
    """In pieces of this length, whose conditioning is averaged."""
    temperature: float
    repetition_penalty: float
    top_k: int
    top_p: float

    @property
    def max_new_tokens(self) -> int:
        """Audio tokens of one sentence: some 28 seconds."""
        return self.max_audio - 3

    @property
    def audio_positions(self) -> int:
        """Rows of the table of positions for audio."""
        return self.max_audio + 3

    @property
    def text_positions(self) -> int:
        """Rows of the table of positions for text."""
        return self.max_text + 2


def read_shape(path: Path) -> XttsShape:
    """Reads a `config.json` of coqui-tts.

    Raises:
        InternalError: It is none of XTTS v2's.
    """
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document.get("model") != "xtts":
        raise InternalError("config.json does not describe an XTTS model")
    args: dict[str, Any] = document["model_args"]
    if not args["gpt_use_perceiver_resampler"]:
        raise InternalError("config.json describes XTTS v1, which is not served")
    return XttsShape(
        layers=args["gpt_layers"],
        width=args["gpt_n_model_channels"],
        heads=args["gpt_n_heads"],
        text_tokens=args["gpt_number_text_tokens"],
        start_text=args["gpt_start_text_token"],
        stop_text=args["gpt_stop_text_token"],
        audio_tokens=args["gpt_num_audio_tokens"],
        start_audio=args["gpt_start_audio_token"],
        stop_audio=args["gpt_stop_audio_token"],
        max_text=args["gpt_max_text_tokens"],
        max_audio=args["gpt_max_audio_tokens"],
        token_samples=args["gpt_code_stride_len"],
        input_rate=args["input_sample_rate"],
        output_rate=args["output_sample_rate"],
        hop=args["output_hop_length"],
        speaker_width=args["d_vector_dim"],
        reference_seconds=document["max_ref_len"],
        conditioning_seconds=document["gpt_cond_len"],
        chunk_seconds=document["gpt_cond_chunk_len"],
        temperature=document["temperature"],
        repetition_penalty=float(document["repetition_penalty"]),
        top_k=document["top_k"],
        top_p=document["top_p"],
    )
