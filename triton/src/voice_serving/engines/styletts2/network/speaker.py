"""Sentences to audio, several at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from voice_serving.engines.styletts2.network.graphs import Recorded
from voice_serving.engines.styletts2.network.layers import Valid
from voice_serving.engines.styletts2.network.model import Manner, Reading
from voice_serving.engines.styletts2.network.source import HARMONICS, SAMPLE_RATE
from voice_serving.engines.styletts2.network.style import SHORTEST_SAMPLES, trimmed
from voice_serving.engines.styletts2.sentence import Spoken
from voice_serving.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from voice_serving.engines.styletts2.network.model import Network
    from voice_serving.engines.styletts2.sentence import Sentence

LONGEST_SECONDS: Final = 90
"""Of one sentence: memory grows with it, and only a broken model wants more."""

_TOKEN_STEP: Final = 32
_FRAME_STEP: Final = 64
_RECORDINGS: Final = 48
"""Of each stage."""


class Speaker:
    """The network, and how sentences are put together for it; one thread at a time.

    A sentence's noise comes from its own seed, and every layer looks only at what is real
    (`layers`), so that a sentence sounds the same alone and in company.

    Args:
        network: Loaded, in its precision.
        device: Where it is to run.
        sound_batch: Most sentences that become samples together.
        padded: Whether lengths are rounded up, so that few shapes occur; only then can they be
            recorded.
        recorded: Whether runs are recorded; needs a GPU.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        *,
        sound_batch: int,
        padded: bool = False,
        recorded: bool = False,
    ) -> None:
        self._network = network.to(device)
        self._device = device
        self._sound_batch = sound_batch
        self._padded = padded
        shape = network.shape
        self._samples_per_frame = 2 * shape.decoder.factor
        self._most_frames = LONGEST_SECONDS * SAMPLE_RATE // self._samples_per_frame
        self._read = Recorded(self._read_tensors, _RECORDINGS) if recorded else self._read_tensors
        self._sound = (
            Recorded(self._sound_tensors, _RECORDINGS) if recorded else self._sound_tensors
        )

    @property
    def style_size(self) -> int:
        """Numbers in a style."""
        return 2 * self._network.shape.half_style

    @property
    def longest(self) -> int:
        """Most tokens of a sentence."""
        shape = self._network.shape
        return min(shape.bert.positions, shape.diffusion.positions)

    @torch.inference_mode()
    def hear(self, samples: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The style of a sample: mono at 24 kHz, shape [n], to [style].

        Returns:
            None when what is not quiet in it is shorter than a second.
        """
        loud = trimmed(torch.from_numpy(samples))
        if len(loud) < SHORTEST_SAMPLES:
            return None
        style: NDArray[np.float32] = self._network.hear(loud.to(self._device)).cpu().numpy()
        return style

    @torch.inference_mode()
    def speak(self, sentences: Sequence[Sentence]) -> list[Spoken | InternalError]:
        """Speaks sentences of one kind.

        Returns:
            In their order; an error in the place of each for which the model gave no numbers.
        """
        generators = [
            torch.Generator(self._device).manual_seed(sentence.seed) for sentence in sentences
        ]
        reading = self._readings(sentences, generators)
        # The one moment at which the GPU is waited for: the length of the speech is known.
        frames = reading.frames.cpu()
        spoken: list[Spoken | InternalError] = [
            InternalError("the model produced samples that are not numbers")
        ] * len(sentences)
        totals = frames.sum(1)
        styles = reading.style.cpu().numpy()
        fit = [
            place
            for place, total in enumerate(totals.tolist())
            if total <= self._most_frames and np.isfinite(styles[place]).all()
        ]
        fit.sort(key=lambda place: int(totals[place]))
        for start in range(0, len(fit), self._sound_batch):
            places = fit[start : start + self._sound_batch]
            together = self._sounds(reading, places, totals, [generators[i] for i in places])
            for place, samples in zip(places, together, strict=True):
                if np.isfinite(samples).all():
                    spoken[place] = Spoken(
                        samples=samples,
                        frames=frames[place, : len(sentences[place].tokens)].long().numpy(),
                        style=styles[place],
                    )
        return spoken

    def _readings(
        self, sentences: Sequence[Sentence], generators: Sequence[torch.Generator]
    ) -> Reading:
        count, style = len(sentences), self.style_size
        lengths = [len(sentence.tokens) for sentence in sentences]
        longest = self._rounded(max(lengths), _TOKEN_STEP, self.longest)
        tokens = torch.zeros(count, longest, dtype=torch.int64)
        for row, sentence in zip(tokens, sentences, strict=True):
            row[: len(sentence.tokens)] = torch.tensor(sentence.tokens)
        steps, guided = sentences[0].kind

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=self._device)[:, None]

        def rows(values: list[NDArray[np.float32]]) -> Tensor:
            return torch.from_numpy(np.stack(values)).to(self._device)

        noise = torch.stack(
            [
                torch.randn(steps, style, generator=generator, device=self._device)
                for generator in generators
            ],
            dim=1,
        )
        first = np.zeros(style, np.float32)
        found = self._read(
            tokens.to(self._device),
            self._lengths(lengths, longest),
            rows([sentence.reference for sentence in sentences]),
            noise,
            column([sentence.guidance for sentence in sentences]) if guided else None,
            column([sentence.alpha for sentence in sentences]),
            column([sentence.beta for sentence in sentences]),
            rows([first if each.previous is None else each.previous for each in sentences]),
            column([0.0 if each.previous is None else each.carry for each in sentences]),
            column([sentence.speed for sentence in sentences]),
        )
        return Reading(phonemes=found[0], prosody=found[1], frames=found[2], style=found[3])

    def _sounds(
        self,
        reading: Reading,
        places: list[int],
        totals: Tensor,
        generators: Sequence[torch.Generator],
    ) -> list[NDArray[np.float32]]:
        lengths = [int(totals[place]) for place in places]
        longest = self._rounded(max(lengths), _FRAME_STEP, self._most_frames)
        # Drawn at each sentence's own length: padding must not change what comes after it.
        drawn = [
            torch.randn(
                HARMONICS, frames * self._samples_per_frame, generator=each, device=self._device
            )
            for frames, each in zip(lengths, generators, strict=True)
        ]
        if len(drawn) == 1 and longest == lengths[0]:
            noise = drawn[0][None]
        else:
            noise = torch.zeros(
                len(drawn), HARMONICS, longest * self._samples_per_frame, device=self._device
            )
            for place, each in zip(noise, drawn, strict=True):
                place[:, : each.shape[1]] = each
        chosen = torch.tensor(places, device=self._device)
        (samples,) = self._sound(
            reading.phonemes[chosen],
            reading.prosody[chosen],
            reading.frames[chosen],
            reading.style[chosen],
            noise,
            self._lengths(lengths, longest),
        )
        return [
            each[: frames * self._samples_per_frame].numpy()
            for each, frames in zip(samples.cpu(), lengths, strict=True)
        ]

    def _read_tensors(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        tokens, lengths, reference, noise, guidance, alpha, beta, previous, carry, speed = inputs
        manner = Manner(
            reference=_given(reference),
            noise=_given(noise),
            guidance=guidance,
            alpha=_given(alpha),
            beta=_given(beta),
            previous=_given(previous),
            carry=_given(carry),
            speed=_given(speed),
        )
        numbers = _given(tokens)
        valid = None if lengths is None else Valid.of(lengths, numbers.shape[1])
        found = self._network.read(numbers, manner, valid)
        return found.phonemes, found.prosody, found.frames, found.style

    def _sound_tensors(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        phonemes, prosody, frames, style, noise, lengths = inputs
        reading = Reading(
            phonemes=_given(phonemes),
            prosody=_given(prosody),
            frames=_given(frames),
            style=_given(style),
        )
        longest = _given(noise).shape[2] // self._samples_per_frame
        valid = None if lengths is None else Valid.of(lengths, longest)
        return (self._network.sound(reading, longest, _given(noise), valid),)

    def _rounded(self, length: int, step: int, most: int) -> int:
        return min(-(-length // step) * step, most) if self._padded else length

    def _lengths(self, lengths: list[int], longest: int) -> Tensor | None:
        """None where nothing is padded: then the layers take their shortest ways."""
        if not self._padded and min(lengths) == longest:
            return None
        return torch.tensor(lengths, device=self._device)


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor
