"""Matrices in the precision that was asked for; what goes in and comes out is float32 always."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voice_serving.engines.xtts_v2.settings import Precision

if TYPE_CHECKING:
    from collections.abc import Callable

_FEW_ROWS: Final = 12
"""From here on it is cheaper to widen the weights once than to multiply bytes row by row."""
_INT8_MOST: Final = 127.0


class DenseLinear(nn.Module):
    """Weights as they are, or in a half precision."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.to(dtype).contiguous(), requires_grad=False)
        self.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
        self._direct = weight.device.type == "cpu" and dtype is torch.float32

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out]."""
        if self._direct:
            # oneDNN itself: torch gives float32 to another library, which takes twice as long for
            # a row and three times as long for a few.
            out: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self.weight, self.bias, "none", [], ""
            )
            return out
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias).float()


class Int8Linear(nn.Module):
    """A byte a weight, and a factor a row; inputs are bf16. For CPUs."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        scale = weight.abs().amax(dim=1).clamp(min=1e-8) / _INT8_MOST
        whole = torch.round(weight / scale[:, None]).to(torch.int8)
        self.register_buffer("weight", whole.contiguous())
        self.register_buffer("scale", scale.to(torch.bfloat16))
        self.register_buffer("bias", bias.float())
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out]."""
        rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16)
        if rows.shape[0] <= _FEW_ROWS:
            out = torch._weight_int8pack_mm(rows, self.weight, self.scale).float()
        else:
            out = F.linear(rows, self.weight.to(torch.bfloat16)).float() * self.scale
        return (out + self.bias).reshape(*x.shape[:-1], -1)


def linear_maker(precision: Precision) -> Callable[[Tensor, Tensor], nn.Module]:
    """What makes a layer of a weight [out, in] and a bias [out]."""
    if precision is Precision.INT8:
        return Int8Linear
    dtype = dtype_of(precision)
    return lambda weight, bias: DenseLinear(weight, bias, dtype)


def dtype_of(precision: Precision) -> torch.dtype:
    """The type of numbers of a precision that is no int8."""
    return {
        Precision.FP32: torch.float32,
        Precision.BF16: torch.bfloat16,
        Precision.FP16: torch.float16,
    }[precision]
