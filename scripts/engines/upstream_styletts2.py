"""The styletts2 package itself: to compare with, to measure against, to make random weights with.

Of the package only the networks and the sampler are imported. Its `tts` module would download at
import; what its `inference` does is written down here call by call, with the noise named.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from typing import TYPE_CHECKING, Any, Final

from upstream_coqui import import_torchaudio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor

SPEAKING: Final = (
    "bert",
    "bert_encoder",
    "predictor",
    "decoder",
    "text_encoder",
    "predictor_encoder",
    "style_encoder",
    "diffusion",
)
"""The modules that inference needs."""


def import_module(name: str) -> Any:
    """A module of the package."""
    import_torchaudio()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"styletts2.{name}")


class Upstream:
    """The package's networks, with random weights.

    Args:
        config: `model_params` of the official configuration.
        bert_config: `model_params` of PL-BERT's.
        decoder_width: Channels inside the decoder, which the package fixes to 1024; None leaves it.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        bert_config: Mapping[str, Any],
        *,
        decoder_width: int | None = None,
    ) -> None:
        from munch import munchify
        from transformers import AlbertConfig

        models = import_module("models")
        sampler = import_module("Modules.diffusion.sampler")
        bert = import_module("Utils.PLBERT.util").CustomAlbert(AlbertConfig(**bert_config))
        self.config = config
        self.bert_config = bert_config
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            built = models.build_model(munchify(dict(config)), None, None, bert)
            if decoder_width is not None:
                _narrow(built["decoder"], config, decoder_width)
        self.modules = {name: built[name].eval() for name in SPEAKING}
        self._sampler = sampler.DiffusionSampler(
            built.diffusion.diffusion,
            sampler=sampler.ADPM2Sampler(),
            sigma_schedule=sampler.KarrasSchedule(sigma_min=0.0001, sigma_max=3.0, rho=9.0),
            clamp=False,
        )
        self._settle()

    def _settle(self) -> None:
        """Makes random weights behave like trained ones where it would else be absurd."""
        import torch

        with torch.no_grad():
            for name in ("style_encoder", "predictor_encoder"):
                # A spectral norm estimates its matrix step by step, in training mode only.
                self.modules[name].train()
                for _ in range(20):
                    self.modules[name](torch.randn(1, 1, self.config["n_mels"], 160))
                self.modules[name].eval()
            predictor = self.modules["predictor"]
            # Else every phoneme would last half of the longest there is; so it is 2 or 3 frames.
            predictor.duration_proj.linear_layer.weight.mul_(3)
            predictor.duration_proj.linear_layer.bias.fill_(-2.9)
            # A voice: its pitch, overtones that fall off by 12 dB an octave, a speaking level.
            # Without them, rounding in the ninth overtone's phase would decide on everything.
            predictor.F0_proj.weight.mul_(20)
            predictor.F0_proj.bias.fill_(120)
            generator = self.modules["decoder"].generator
            mix = generator.m_source.l_linear.weight
            mix.copy_(torch.arange(1, mix.shape[1] + 1).float() ** -2)
            generator.conv_post.weight_g.mul_(0.06)

    def checkpoint(self) -> dict[str, Any]:
        """The official layout, with what old training runs left beside the weights."""
        import torch

        net = {
            name: {f"module.{key}": tensor for key, tensor in module.state_dict().items()}
            for name, module in self.modules.items()
        }
        scheduler = {"anneal_func": torch.optim.lr_scheduler.OneCycleLR._annealing_cos}
        return {"net": net, "optimizer": [], "scheduler": scheduler, "iters": 1, "epoch": 20}

    def inference(
        self,
        tokens: Tensor,
        reference: Tensor,
        style_noise: Tensor,
        source_noise: Tensor,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        scale: float = 1.0,
        previous: Tensor | None = None,
        carry: float = 0.7,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What `StyleTTS2.inference` and `long_inference_segment` do between tokens and samples.

        Args:
            tokens: int64 `[1, N]`.
            reference: Style of the sample, `[1, style]`.
            style_noise: For the diffusion, `[steps, 1, style]`; says how many steps.
            source_noise: For the source, `[1, 9, n]` with n at least the samples that come out.
            alpha: Voice from the text instead of the sample.
            beta: Manner likewise.
            scale: Of the guidance.
            previous: Style of the segment before.
            carry: How much of it stays.

        Returns:
            Samples `[n]`, frames of each phoneme `[N]`, and the style for the next segment.
        """
        import torch

        m = self.modules
        half = reference.shape[-1] // 2
        with torch.no_grad(), _noise(style_noise[1:], source_noise):
            lengths = torch.LongTensor([tokens.shape[-1]])
            mask = torch.zeros(1, tokens.shape[-1], dtype=torch.bool)
            t_en = m["text_encoder"](tokens, lengths, mask)
            bert_dur = m["bert"](tokens, attention_mask=(~mask).int())
            d_en = m["bert_encoder"](bert_dur).transpose(-1, -2)
            s_pred = self._sampler(
                noise=style_noise[0].unsqueeze(1),
                embedding=bert_dur,
                embedding_scale=scale,
                features=reference,
                num_steps=len(style_noise),
            ).squeeze(1)
            if previous is not None:
                s_pred = carry * previous + (1 - carry) * s_pred
            ref = alpha * s_pred[:, :half] + (1 - alpha) * reference[:, :half]
            s = beta * s_pred[:, half:] + (1 - beta) * reference[:, half:]
            d = m["predictor"].text_encoder(d_en, s, lengths, mask)
            x, _ = m["predictor"].lstm(d)
            duration = torch.sigmoid(m["predictor"].duration_proj(x)).sum(dim=-1)
            pred_dur = torch.round(duration.squeeze()).clamp(min=1)
            alignment = torch.zeros(int(lengths), int(pred_dur.sum()))
            frame = 0
            for i in range(alignment.size(0)):
                alignment[i, frame : frame + int(pred_dur[i])] = 1
                frame += int(pred_dur[i])
            en = _late(d.transpose(-1, -2) @ alignment.unsqueeze(0))
            f0, n = m["predictor"].F0Ntrain(en, s)
            asr = _late(t_en @ alignment.unsqueeze(0))
            out = m["decoder"](asr, f0, n, ref)
        return out.squeeze(), pred_dur, torch.cat([ref, s], dim=-1)


@contextlib.contextmanager
def _noise(style_noise: Tensor, source_noise: Tensor) -> Iterator[None]:
    """Whatever the package draws inside is taken from here."""
    import torch

    styles = iter(style_noise)
    drawn = torch.randn_like

    def given(like: Tensor) -> Tensor:
        if like.shape[-1] == style_noise.shape[-1]:
            return next(styles)[:, None]
        if like.shape[-1] == source_noise.shape[1]:
            return source_noise[:, :, : like.shape[1]].transpose(1, 2)
        return drawn(like)

    vars(torch)["randn_like"] = given
    try:
        yield
    finally:
        vars(torch)["randn_like"] = drawn


def _late(rows: Tensor) -> Tensor:
    import torch

    return torch.cat([rows[:, :, :1], rows[:, :, :-1]], dim=-1)


def _narrow(decoder: Any, config: Mapping[str, Any], width: int) -> None:
    import torch
    from torch.nn.utils import weight_norm

    block = import_module("Modules.hifigan").AdainResBlk1d
    hidden, style, residual = config["hidden_dim"], config["style_dim"], 4
    out = config["decoder"]["upsample_initial_channel"]
    widths: Iterable[tuple[int, bool]] = ((width, False),) * 3 + ((out, True),)
    decoder.encode = block(hidden + 2, width, style)
    decoder.decode = torch.nn.ModuleList(
        block(width + 2 + residual, outputs, style, upsample=double or "none")
        for outputs, double in widths
    )
    decoder.asr_res = torch.nn.Sequential(
        weight_norm(torch.nn.Conv1d(hidden, residual, kernel_size=1))
    )
