"""The official tensors under our names, with the arithmetic done that never changes.

Done for good are: weight and spectral norms, the `1 +` of every style's scale, the frequencies of
the sines, the mean of the resonators, and the square roots of the residual blocks. The numbers stay
float32; what comes out differs from upstream's by rounding alone.

Every official tensor is taken exactly once: a name that is missing or left over is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from voice_serving.engines.styletts2.network.shapes import (
    BertShape,
    DecoderShape,
    DiffusionShape,
    Shape,
)
from voice_serving.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

MODULES: Final = (
    "bert",
    "bert_encoder",
    "predictor",
    "decoder",
    "text_encoder",
    "predictor_encoder",
    "style_encoder",
    "diffusion",
)
"""What speaks; the others only taught it."""

_BERT_LAYERS: Final = 12
_BERT_HEADS: Final = 12
"""Of the authors' PL-BERT: weights do not tell."""


class CheckpointError(InternalError):
    """The files are not a StyleTTS2 checkpoint that can be spoken with."""


class _Official:
    """One official module; remembers what was taken out of it."""

    def __init__(self, module: str, tensors: Mapping[str, Tensor]) -> None:
        self._module = module
        # One module is a bare layer: its names have nothing before the dot.
        self._left = {name if "." in name else f".{name}": each for name, each in tensors.items()}

    def take(self, name: str) -> Tensor:
        try:
            return self._left.pop(name).detach().float()
        except KeyError:
            raise CheckpointError(f"{self._module} has no {name}") from None

    def has(self, name: str) -> bool:
        return name in self._left

    def skip(self, *prefixes: str) -> None:
        """Leaves out what does not speak."""
        for name in [name for name in self._left if name.startswith(prefixes)]:
            del self._left[name]

    def weight(self, name: str) -> Tensor:
        """A convolution's weight, its norm multiplied in."""
        if self.has(f"{name}.weight_g"):
            direction, length = self.take(f"{name}.weight_v"), self.take(f"{name}.weight_g")
            return torch._weight_norm(direction, length, 0)
        if self.has(f"{name}.weight_orig"):
            weight = self.take(f"{name}.weight_orig")
            left, right = self.take(f"{name}.weight_u"), self.take(f"{name}.weight_v")
            return weight / torch.dot(left, weight.flatten(1) @ right)
        return self.take(f"{name}.weight")

    def bias(self, name: str) -> Tensor:
        return self.take(f"{name}.bias")

    def finish(self) -> None:
        if self._left:
            raise CheckpointError(f"{self._module} has the unknown {min(self._left)}")


class _Rearranger:
    """Collects tensors under our names."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def put(self, name: str, tensor: Tensor) -> None:
        self.weights[name] = tensor.contiguous().clone()

    def plain(self, ours: str, official: _Official, theirs: str, *, bias: bool = True) -> None:
        """A layer that stays as it is, but for a kernel of one step, which becomes a matrix."""
        weight = official.weight(theirs)
        self.put(f"{ours}.weight", weight.squeeze(-1) if weight.ndim == 3 else weight)
        if bias:
            self.put(f"{ours}.bias", official.bias(theirs))

    def convolution(
        self,
        ours: str,
        official: _Official,
        theirs: str,
        *,
        before: Tensor | None = None,
        after: float = 1.0,
        bias: bool = True,
        transposed: bool = False,
    ) -> None:
        """A convolution over time.

        Args:
            ours: Its name here.
            official: Where it is.
            theirs: Its name there.
            before: What the input was multiplied by, to be taken out again; a value a channel.
            after: What the output is multiplied by.
            bias: Whether it has one.
            transposed: Whether its inputs come first.
        """
        weight = official.weight(theirs)
        if before is not None:
            weight = weight / before.view((-1, 1, 1) if transposed else (1, -1, 1))
        self.put(f"{ours}.weight", (weight * after)[:, :, None])
        if bias:
            self.put(f"{ours}.bias", official.bias(theirs) * after)

    def image(self, ours: str, official: _Official, theirs: str, *, bias: bool = True) -> None:
        """A convolution over an image."""
        self.put(f"{ours}.weight", official.weight(theirs))
        if bias:
            self.put(f"{ours}.bias", official.bias(theirs))

    def scales(
        self, ours: str, official: _Official, theirs: str, *, turn: Tensor | None = None
    ) -> None:
        """A style's scale and shift: `(1 + scale) · turn` and `shift · turn`."""
        weight, bias = official.take(f"{theirs}.weight"), official.take(f"{theirs}.bias")
        bias = torch.cat([bias[: len(bias) // 2] + 1, bias[len(bias) // 2 :]])
        if turn is not None:
            twice = torch.cat([turn, turn])
            weight, bias = weight * twice[:, None], bias * twice
        self.put(f"{ours}.weight", weight)
        self.put(f"{ours}.bias", bias)

    def lstm(self, ours: str, official: _Official, theirs: str) -> None:
        """Both directions, each by itself."""
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            name = f"{kind}_l0"
            self.put(f"{ours}.forwards.{name}", official.take(f"{theirs}.{name}"))
            self.put(f"{ours}.backwards.{name}", official.take(f"{theirs}.{name}_reverse"))

    def styled_block(self, ours: str, official: _Official, theirs: str) -> None:
        """A residual block; half of the energy each way."""
        half = 2**-0.5
        for number in (1, 2):
            self.scales(f"{ours}.norm{number}.affine", official, f"{theirs}.norm{number}.fc")
        self.convolution(f"{ours}.conv1", official, f"{theirs}.conv1")
        self.convolution(f"{ours}.conv2", official, f"{theirs}.conv2", after=half)
        if official.has(f"{theirs}.conv1x1.weight_v"):
            self.convolution(
                f"{ours}.shortcut", official, f"{theirs}.conv1x1", after=half, bias=False
            )
        if official.has(f"{theirs}.pool.bias"):
            self.put(f"{ours}.doubling.taps", official.weight(f"{theirs}.pool")[:, 0].T)
            self.put(f"{ours}.doubling.bias", official.bias(f"{theirs}.pool"))

    def resonator(self, ours: str, official: _Official, theirs: str) -> None:
        """A chain of sines and convolutions."""
        number = 0
        while official.has(f"{theirs}.alpha1.{number}"):
            for kind, which in (("wide", 1), ("narrow", 2)):
                turn = official.take(f"{theirs}.alpha{which}.{number}").flatten()
                self.scales(
                    f"{ours}.{kind}_norms.{number}.affine",
                    official,
                    f"{theirs}.adain{which}.{number}.fc",
                    turn=turn,
                )
                self.convolution(
                    f"{ours}.{kind}.{number}",
                    official,
                    f"{theirs}.convs{which}.{number}",
                    before=turn,
                )
            number += 1


def rearranged(
    modules: Mapping[str, Mapping[str, Tensor]], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """All tensors of our network.

    Args:
        modules: Official name of a module → its tensors.
        config: `model_params` of the official configuration.

    Raises:
        CheckpointError: A tensor is missing or left over.
    """
    official = {name: _Official(name, modules[name]) for name in MODULES}
    to = _Rearranger()
    _bert(to, official["bert"])
    to.plain("bert_output", official["bert_encoder"], "")
    _denoiser(to, official["diffusion"])
    _text(to, official["text_encoder"])
    _predictor(to, official["predictor"])
    _decoder(to, official["decoder"], len(_decoder_config(config)["resblock_kernel_sizes"]))
    _style_encoder(to, "voice_encoder", official["style_encoder"])
    _style_encoder(to, "manner_encoder", official["predictor_encoder"])
    for module in official.values():
        module.finish()
    return to.weights


def _bert(to: _Rearranger, official: _Official) -> None:
    # What trains it, and buffers that some releases of transformers save.
    official.skip("pooler.", "embeddings.position_ids", "embeddings.token_type_ids")
    for ours, theirs in (
        ("words", "word_embeddings"),
        ("positions", "position_embeddings"),
        ("kinds", "token_type_embeddings"),
    ):
        to.put(f"bert.{ours}.weight", official.take(f"embeddings.{theirs}.weight"))
    to.plain("bert.norm", official, "embeddings.LayerNorm")
    to.plain("bert.widen", official, "encoder.embedding_hidden_mapping_in")
    layer = "encoder.albert_layer_groups.0.albert_layers.0"
    for ours, theirs in (
        ("query", "attention.query"),
        ("key", "attention.key"),
        ("value", "attention.value"),
        ("gather", "attention.dense"),
        ("attention_norm", "attention.LayerNorm"),
        ("inner", "ffn"),
        ("outer", "ffn_output"),
        ("output_norm", "full_layer_layer_norm"),
    ):
        to.plain(f"bert.{ours}", official, f"{layer}.{theirs}")


def _denoiser(to: _Rearranger, official: _Official) -> None:
    # The same network stands in it twice.
    official.skip("unet.")
    net = "diffusion.net"
    number = 0
    while official.has(f"{net}.blocks.{number}.attention.to_q.weight"):
        ours, theirs = f"denoiser.blocks.{number}", f"{net}.blocks.{number}"
        attention = f"{theirs}.attention"
        to.scales(f"{ours}.norm.affine", official, f"{attention}.norm.fc")
        to.scales(f"{ours}.norm_context.affine", official, f"{attention}.norm_context.fc")
        to.plain(f"{ours}.query", official, f"{attention}.to_q", bias=False)
        to.plain(f"{ours}.key_value", official, f"{attention}.to_kv", bias=False)
        to.plain(f"{ours}.gather", official, f"{attention}.attention.to_out")
        to.plain(f"{ours}.inner", official, f"{theirs}.feed_forward.0")
        to.plain(f"{ours}.outer", official, f"{theirs}.feed_forward.2")
        number += 1
    to.put("denoiser.frequencies", official.take(f"{net}.to_time.0.0.weights"))
    to.plain("denoiser.from_time", official, f"{net}.to_time.0.1")
    to.plain("denoiser.from_style", official, f"{net}.to_features.0")
    to.plain("denoiser.mapping1", official, f"{net}.to_mapping.0")
    to.plain("denoiser.mapping2", official, f"{net}.to_mapping.2")
    to.plain("denoiser.output", official, f"{net}.to_out.1")
    to.put(
        "denoiser.unconditional.weight", official.take(f"{net}.fixed_embedding.embedding.weight")
    )


def _text(to: _Rearranger, official: _Official) -> None:
    to.put("text.symbols.weight", official.take("embedding.weight"))
    number = 0
    while official.has(f"cnn.{number}.0.bias"):
        to.convolution(f"text.convolutions.{number}", official, f"cnn.{number}.0")
        to.put(f"text.norms.{number}.weight", official.take(f"cnn.{number}.1.gamma"))
        to.put(f"text.norms.{number}.bias", official.take(f"cnn.{number}.1.beta"))
        number += 1
    to.lstm("text.lstm", official, "lstm")


def _predictor(to: _Rearranger, official: _Official) -> None:
    number = 0
    while official.has(f"text_encoder.lstms.{2 * number}.weight_ih_l0"):
        to.lstm(f"durations.lstms.{number}", official, f"text_encoder.lstms.{2 * number}")
        to.scales(
            f"durations.norms.{number}.affine", official, f"text_encoder.lstms.{2 * number + 1}.fc"
        )
        number += 1
    to.lstm("durations.lstm", official, "lstm")
    to.plain("durations.output", official, "duration_proj.linear_layer")
    to.lstm("curves.shared", official, "shared")
    for ours, theirs in (("pitch", "F0"), ("energy", "N")):
        for number in range(3):
            to.styled_block(f"curves.{ours}.{number}", official, f"{theirs}.{number}")
        to.plain(f"curves.{ours}_output", official, f"{theirs}_proj")


def _decoder(to: _Rearranger, official: _Official, resonators: int) -> None:
    to.convolution("decoder.pitch_down", official, "F0_conv")
    to.convolution("decoder.energy_down", official, "N_conv")
    to.convolution("decoder.remind", official, "asr_res.0")
    to.styled_block("decoder.enter", official, "encode")
    for number in range(4):
        to.styled_block(f"decoder.blocks.{number}", official, f"decode.{number}")
    ours, theirs = "decoder.generator", "generator"
    to.plain(f"{ours}.source.mix", official, f"{theirs}.m_source.l_linear")
    stage = 0
    while official.has(f"{theirs}.ups.{stage}.bias"):
        turn = official.take(f"{theirs}.alphas.{stage}").flatten()
        # The rows that come in are the sum of the resonators; upstream takes their mean.
        to.put(f"{ours}.turns.{stage}", turn / resonators if stage else turn)
        to.convolution(
            f"{ours}.rises.{stage}", official, f"{theirs}.ups.{stage}", before=turn, transposed=True
        )
        to.convolution(f"{ours}.listeners.{stage}", official, f"{theirs}.noise_convs.{stage}")
        to.resonator(f"{ours}.shapers.{stage}", official, f"{theirs}.noise_res.{stage}")
        for number in range(resonators):
            to.resonator(
                f"{ours}.resonators.{stage}.{number}",
                official,
                f"{theirs}.resblocks.{stage * resonators + number}",
            )
        stage += 1
    turn = official.take(f"{theirs}.alphas.{stage}").flatten()
    to.put(f"{ours}.turns.{stage}", turn / resonators)
    to.convolution(f"{ours}.output", official, f"{theirs}.conv_post", before=turn)


def _style_encoder(to: _Rearranger, ours: str, official: _Official) -> None:
    to.image(f"{ours}.enter", official, "shared.0")
    for number in range(4):
        block, theirs = f"{ours}.blocks.{number}", f"shared.{number + 1}"
        to.image(f"{block}.conv1", official, f"{theirs}.conv1")
        to.image(f"{block}.conv2", official, f"{theirs}.conv2")
        to.image(f"{block}.halve", official, f"{theirs}.downsample_res.conv")
        if official.has(f"{theirs}.conv1x1.weight_orig"):
            to.image(f"{block}.shortcut", official, f"{theirs}.conv1x1", bias=False)
    to.image(f"{ours}.leave", official, "shared.6")
    to.plain(f"{ours}.output", official, "unshared")


def _decoder_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    decoder: Mapping[str, Any] = config["decoder"]
    if decoder.get("type") != "hifigan":
        raise CheckpointError("only checkpoints with a hifigan decoder can be spoken with")
    return decoder


def shape_of(
    weights: Mapping[str, Tensor], config: Mapping[str, Any], bert_config: Mapping[str, Any]
) -> Shape:
    """How large everything is.

    Args:
        weights: As rearranged.
        config: `model_params` of the official configuration.
        bert_config: `model_params` of PL-BERT's; may be empty.

    Raises:
        CheckpointError: A setting is missing, or names what is not served here.
    """
    try:
        return _shape_of(weights, config, bert_config)
    except (KeyError, TypeError) as error:
        raise CheckpointError("the configuration lacks a setting") from error


def _shape_of(
    weights: Mapping[str, Tensor], config: Mapping[str, Any], bert_config: Mapping[str, Any]
) -> Shape:
    if not config["multispeaker"]:
        raise CheckpointError("a checkpoint of a single speaker cannot clone")
    decoder, diffusion = _decoder_config(config), config["diffusion"]
    transformer = diffusion["transformer"]
    words = weights["bert.words.weight"]
    return Shape(
        symbols=config["n_token"],
        hidden=config["hidden_dim"],
        half_style=config["style_dim"],
        text_layers=config["n_layer"],
        prosody_layers=config["n_layer"],
        longest_phoneme=config["max_dur"],
        mels=config["n_mels"],
        style_channels=config["dim_in"],
        most_style_channels=config["hidden_dim"],
        bert=BertShape(
            vocabulary=words.shape[0],
            embedding=words.shape[1],
            kinds=weights["bert.kinds.weight"].shape[0],
            positions=weights["bert.positions.weight"].shape[0],
            hidden=weights["bert.query.weight"].shape[0],
            intermediate=weights["bert.inner.weight"].shape[0],
            layers=bert_config.get("num_hidden_layers", _BERT_LAYERS),
            heads=bert_config.get("num_attention_heads", _BERT_HEADS),
        ),
        diffusion=DiffusionShape(
            style=2 * config["style_dim"],
            embedding=weights["bert.query.weight"].shape[0],
            layers=transformer["num_layers"],
            heads=transformer["num_heads"],
            head=transformer["head_features"],
            multiplier=transformer["multiplier"],
            positions=weights["denoiser.unconditional.weight"].shape[0],
            sigma_data=diffusion["dist"]["sigma_data"],
        ),
        decoder=DecoderShape(
            hidden=config["hidden_dim"],
            style=config["style_dim"],
            width=weights["decoder.enter.conv1.weight"].shape[0],
            residual=weights["decoder.remind.weight"].shape[0],
            channels=decoder["upsample_initial_channel"],
            rises=tuple(decoder["upsample_rates"]),
            rise_kernels=tuple(decoder["upsample_kernel_sizes"]),
            kernels=tuple(decoder["resblock_kernel_sizes"]),
            dilations=tuple(tuple(each) for each in decoder["resblock_dilation_sizes"]),
        ),
    )
