"""All of the networks together, as the engine uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from voice_serving.engines.xtts_v2.network.checkpoint import (
    VOCODER,
    read_checkpoint,
    read_speakers,
)
from voice_serving.engines.xtts_v2.network.gpt import Gpt
from voice_serving.engines.xtts_v2.network.linear import dtype_of
from voice_serving.engines.xtts_v2.network.listening import LATENTS
from voice_serving.engines.xtts_v2.network.loop import ClosedError, Loop
from voice_serving.engines.xtts_v2.network.sampling import Taste
from voice_serving.engines.xtts_v2.network.sentence import Chunking, Sentence
from voice_serving.engines.xtts_v2.network.vocoder import Vocoder
from voice_serving.engines.xtts_v2.network.voice import Cloner, Voice
from voice_serving.engines.xtts_v2.settings import Device, Precision
from voice_serving.engines.xtts_v2.text import Tokenizer
from voice_serving.errors import OverloadedError, VoiceNotInstalledError
from voice_serving.params import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from voice_serving.engines.xtts_v2.network.checkpoint import Checkpoint
    from voice_serving.engines.xtts_v2.settings import XttsSettings
    from voice_serving.metrics import ServingMetrics

_CLOSING_MS = 5000


class XttsModel:
    """Networks, tokenizer and loop of one checkpoint; numpy goes in and comes out."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: Tokenizer,
        speakers: Mapping[str, Mapping[str, Tensor]],
        settings: XttsSettings,
        metrics: ServingMetrics,
    ) -> None:
        shape = self._shape = checkpoint.shape
        self.tokenizer = tokenizer
        self.sample_rate = shape.output_rate
        self.fingerprint = checkpoint.sha256[:16]
        self.taste = Taste(
            temperature=shape.temperature,
            top_k=shape.top_k,
            top_p=shape.top_p,
            repetition_penalty=shape.repetition_penalty,
            seed=0,
        )
        self._device = checkpoint.weights["mel_stats"].device
        precision, vocoder_precision = _precisions(settings, self._device)
        longest = max([LATENTS, *(len(s["gpt_cond_latent"][0]) for s in speakers.values())])
        gpt = Gpt(checkpoint.weights, shape, precision, settings.slots, longest)
        vocoder = Vocoder(checkpoint.under(VOCODER), shape, dtype_of(vocoder_precision))
        self._cloner = Cloner(checkpoint).to(self._device)
        self._speakers = {
            name: self.voice(known["gpt_cond_latent"][0], known["speaker_embedding"].reshape(-1))
            for name, known in speakers.items()
        }
        chunking = Chunking(settings.first_chunk, settings.growth, settings.longest_chunk)
        self._loop = Loop(gpt, vocoder.to(self._device), shape, settings.slots, chunking, metrics)
        self._loop.start()

    def voice(self, latents: Any, vector: Any) -> Voice:
        """A voice of conditioning: latents [n, width] and a vector [speaker width]."""

        def here(values: Any) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=self._device)

        return Voice(here(latents), here(vector))

    def named_voice(self, name: str | None) -> tuple[str, Voice]:
        """One of the checkpoint's own, the first one without a name.

        Raises:
            VoiceNotInstalledError: It has none, or none of this name.
        """
        if name is None and self._speakers:
            name = next(iter(self._speakers))
        if name is None or name not in self._speakers:
            raise VoiceNotInstalledError("the checkpoint has no such voice, and no sample came")
        return name, self._speakers[name]

    def some_voice(self) -> Voice:
        """Any, to warm up with."""
        for voice in self._speakers.values():
            return voice
        shape = self._shape
        return self.voice(torch.zeros(LATENTS, shape.width), torch.zeros(shape.speaker_width))

    def clone(
        self, samples: Sequence[tuple[NDArray[np.float32], int]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Conditioning of samples [n], each with its rate in Hz; None where there is too little."""
        tensors = [(torch.from_numpy(samples).to(self._device), rate) for samples, rate in samples]
        heard = self._loop.do(lambda: self._cloner.clone(tensors))
        if heard is None:
            return None
        latents, vector = heard
        return latents.cpu().numpy(), vector.cpu().numpy()

    def sentence(
        self,
        tokens: tuple[int, ...],
        voice: Voice,
        taste: Taste,
        speed: float,
        rank: tuple[int, int],
    ) -> Sentence:
        """What `submit` takes."""
        return Sentence(
            text=tokens,
            voice=voice,
            taste=taste,
            speed=speed,
            rank=rank,
            most=self._shape.max_new_tokens,
        )

    def submit(self, sentence: Sentence) -> None:
        """Puts it in line; its audio comes through its `pieces`.

        Raises:
            OverloadedError: The model is closing.
        """
        try:
            self._loop.submit(sentence)
        except ClosedError:
            raise OverloadedError("the model is closing", retry_after_ms=_CLOSING_MS) from None

    def close(self) -> None:
        """Ends the loop."""
        self._loop.close()


def load_model(folder: Path, settings: XttsSettings, metrics: ServingMetrics) -> XttsModel:
    """Reads all that lies in a checkpoint's folder.

    Raises:
        InternalError: Something is missing, or is none of XTTS v2's.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    wants_gpu = settings.device is Device.CUDA
    gpu = wants_gpu or (settings.device is Device.AUTO and torch.cuda.is_available())
    checkpoint = read_checkpoint(folder, "cuda" if gpu else "cpu")
    tokenizer = Tokenizer(folder / "vocab.json", checkpoint.shape.max_text)
    return XttsModel(checkpoint, tokenizer, read_speakers(folder), settings, metrics)


def _precisions(settings: XttsSettings, device: torch.device) -> tuple[Precision, Precision]:
    """The GPT's and the vocoder's, where they are left to us.

    Raises:
        ParameterError: Nothing computes what is asked for.
    """
    precision, vocoder = settings.precision, settings.vocoder_precision
    gpu = device.type == "cuda"
    if gpu and precision is Precision.INT8:
        raise ParameterError("precision (XTTS_V2_PRECISION): int8 is for CPUs")
    if vocoder is Precision.INT8:
        raise ParameterError("vocoder_precision (XTTS_V2_VOCODER_PRECISION) must not be int8")
    if precision is Precision.AUTO:
        precision = Precision.BF16 if gpu else Precision.INT8
    if vocoder is Precision.AUTO:
        plain = precision is Precision.FP32
        vocoder = Precision.FP32 if plain else Precision.FP16 if gpu else Precision.BF16
    return precision, vocoder
