"""Matrices in the precision that was asked for; what goes in and comes out is float32 always.

No modules of torch: a step of the GPT calls so many that what a module does around its own work
would be a tenth of it.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from voice_serving.engines.xtts_v2.settings import Precision

_PACKED_FOR: Final = 4
"""Rows that oneDNN orders a matrix for. Others are as fast in this order, where in that for one row
four take half as long again."""


class Linear:
    """A weight [out, in] and a bias [out]."""

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


def dtype_of(precision: Precision) -> torch.dtype:
    """The type of numbers of a precision that is no int8."""
    return {
        Precision.FP32: torch.float32,
        Precision.BF16: torch.bfloat16,
        Precision.FP16: torch.float16,
    }[precision]
