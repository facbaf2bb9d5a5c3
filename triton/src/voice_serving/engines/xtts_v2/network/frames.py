"""From latents to the vocoder's frames, as they come, and the same as all at once.

coqui-tts stretches a sentence's latents three times by linear interpolation: by the speed, from
tokens to frames, and from 22.05 to 24 kHz. Each output lies between two inputs, so it is final as
soon as the second one is there; only at the sentence's end is there no second one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from voice_serving.engines.xtts_v2.network.vocoder import CONTEXT, Window

if TYPE_CHECKING:
    from voice_serving.engines.xtts_v2.shape import XttsShape

_SLOWEST: Final = 0.05
_SHORTEST: Final = 16
"""Rows from which on a sentence is no longer so short that stretching it might give no row more:
torch then leaves all rows as they are."""


class Stretch:
    """Linear interpolation by a factor, of rows that come a few at a time."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._kept: Tensor | None = None
        self._first = 0
        """Number of the first row that is kept."""
        self._made = 0

    def push(self, rows: Tensor, *, last: bool) -> Tensor:
        """Takes rows [m, width], of which the last ones may be the sentence's; returns the next."""
        kept = rows if self._kept is None else torch.cat([self._kept, rows])
        seen = self._first + len(kept)
        most = math.floor(float(seen) * self._factor)
        if self._made == 0 and most == seen and (last or seen < _SHORTEST):
            self._kept = kept
            return kept if last else kept[:0]
        device = kept.device
        # float32 throughout, as torch's own interpolation counts.
        numbers = torch.arange(self._made, most, device=device, dtype=torch.float32)
        places = ((numbers + 0.5) * (1.0 / self._factor) - 0.5).clamp(min=0)
        before = places.long()
        if not last:
            final = int((before + 1 < seen).sum())
            places, before = places[:final], before[:final]
        after = (before + 1).clamp(max=seen - 1)
        weight = (places - before)[:, None]
        made = kept[before - self._first] * (1 - weight) + kept[after - self._first] * weight
        self._made += len(made)
        # The next output may still need the row that the last one began at.
        needed = int(before[-1]) if len(before) else self._first
        self._kept = kept[needed - self._first :]
        self._first = needed
        return made


class FrameStream:
    """One sentence's frames, and the windows in which the vocoder gets them.

    Args:
        shape: Of the checkpoint.
        speed: 2.0 takes half the time.
        voice: [speaker width].
    """

    def __init__(self, shape: XttsShape, speed: float, voice: Tensor) -> None:
        length = 1.0 / max(speed, _SLOWEST)
        factors = [] if length == 1.0 else [length]
        factors += [shape.token_samples / shape.hop, shape.output_rate / shape.input_rate]
        self._stretches = [Stretch(factor) for factor in factors if factor != 1.0]
        self._voice = voice
        self._frames: Tensor | None = None
        self._first = 0
        """Number of the first frame that is kept."""
        self._spoken = 0

    def push(self, latents: Tensor, *, last: bool) -> Window | None:
        """Takes the next latents [m, width]; returns what can be spoken, None if nothing can.

        With `last` there is always a window, unless the sentence has not a single frame.
        """
        rows = latents
        for stretch in self._stretches:
            rows = stretch.push(rows, last=last)
        frames = rows if self._frames is None else torch.cat([self._frames, rows])
        total = self._first + len(frames)
        end = total if last else total - CONTEXT
        window = None
        if end > self._spoken:
            window = Window(
                frames=frames,
                voice=self._voice,
                skip=self._spoken - self._first,
                take=end - self._spoken,
                begins=self._first == 0,
                ends=last,
            )
            self._spoken = end
        keep = max(self._first, self._spoken - CONTEXT)
        self._frames = frames[keep - self._first :]
        self._first = keep
        return window
