"""From text and a voice to audio tokens and their latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from voice_serving.engines.xtts_v2.network.int8 import Int8Transformer
from voice_serving.engines.xtts_v2.network.transformer import Transformer
from voice_serving.engines.xtts_v2.settings import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voice_serving.engines.xtts_v2.shape import XttsShape


class Gpt:
    """The transformer between its embeddings and its head."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        shape: XttsShape,
        precision: Precision,
        slots: int,
        voice_length: int,
    ) -> None:
        self._shape = shape
        # The voice, the text between its marks, the audio's own start, and what is generated.
        length = voice_length + shape.max_text + 2 + 1 + shape.max_new_tokens
        self.transformer = (
            Int8Transformer(weights, shape, slots, length)
            if precision is Precision.INT8
            else Transformer(weights, shape, precision, slots, length)
        )
        self.text_embedding = weights["gpt.text_embedding.weight"].float()
        self.mel_embedding = weights["gpt.mel_embedding.weight"].float()
        self.mel_head = weights["gpt.mel_head.weight"].float()
        self.mel_bias = weights["gpt.mel_head.bias"].float()
        self.text_pos_embedding = weights["gpt.text_pos_embedding.emb.weight"].float()
        self.mel_pos_embedding = weights["gpt.mel_pos_embedding.emb.weight"].float()

    def prompt(self, text: Sequence[int]) -> Tensor:
        """Embeddings of what stands between the voice and the audio, [text + 3, width]."""
        shape = self._shape
        tokens = torch.tensor(
            [shape.start_text, *text, shape.stop_text], device=self.text_embedding.device
        )
        words = self.text_embedding[tokens] + self.text_pos_embedding[: len(tokens)]
        start = self.mel_embedding[shape.start_audio] + self.mel_pos_embedding[0]
        return torch.cat([words, start[None]])

    def embed(self, tokens: Tensor, numbers: Tensor) -> Tensor:
        """Embeddings of audio tokens; `numbers` counts them from 1 in each sentence. [n, width]."""
        return self.mel_embedding[tokens] + self.mel_pos_embedding[numbers]

    def logits(self, latents: Tensor) -> Tensor:
        """How likely each audio token is next, [n, audio tokens]."""
        return F.linear(latents, self.mel_head, self.mel_bias)
