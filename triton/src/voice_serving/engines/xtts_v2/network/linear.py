"""Matrices in the precision that was asked for; what goes in and comes out is float32 always.

No modules of torch: a step of the GPT calls so many that what a module does around its own work
would be a tenth of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from voice_serving.engines.xtts_v2.settings import Precision

if TYPE_CHECKING:
    from collections.abc import Callable

    Linear = Callable[[Tensor], Tensor]

_FEW_ROWS: Final = 12
"""From here on it is cheaper to widen the weights once than to multiply bytes row by row."""
_INT8_MOST: Final = 127.0
_PACKED_FOR: Final = 4
"""Rows that oneDNN orders a matrix for. Others are as fast in this order, where in that for one row
four take half as long again."""


class DenseLinear:
    """Weights as they are, or in a half precision."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self._weight = weight.to(dtype).contiguous()
        self._bias = bias.to(dtype)
        self._dtype = dtype
        self._packed = _packs(self._weight)
        if self._packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight, _PACKED_FOR)

    def __call__(self, x: Tensor) -> Tensor:
        """[n, in] → [n, out]."""
        x = x.to(self._dtype)
        if not self._packed:
            return F.linear(x, self._weight, self._bias).float()
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, "none", [], ""
        )
        return out.float()


def _packs(weight: Tensor) -> bool:
    """Whether oneDNN multiplies by it, from an order of its own.

    torch itself has float32 multiplied by another library, which takes twice as long for a row and
    three times as long for a few, and hands over bf16 in an order that is slow to read.
    """
    if weight.device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    return weight.dtype is torch.float32 or (
        weight.dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


class Int8Linear:
    """A byte a weight, and a factor a row; inputs are bf16. For CPUs."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        scale = weight.abs().amax(dim=1).clamp(min=1e-8) / _INT8_MOST
        self._weight = torch.round(weight / scale[:, None]).to(torch.int8).contiguous()
        self._scale = scale.to(torch.bfloat16)
        self._bias = bias.float()

    def __call__(self, x: Tensor) -> Tensor:
        """[n, in] → [n, out]."""
        x = x.to(torch.bfloat16)
        if x.shape[0] <= _FEW_ROWS:
            return torch._weight_int8pack_mm(x, self._weight, self._scale).float().add_(self._bias)
        out = F.linear(x, self._weight.to(torch.bfloat16)).float()
        return out.mul_(self._scale).add_(self._bias)


def linear_maker(precision: Precision) -> Callable[[Tensor, Tensor], Linear]:
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
