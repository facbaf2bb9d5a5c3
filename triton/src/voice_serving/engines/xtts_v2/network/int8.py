"""The GPT in a byte a weight, computed by ONNX Runtime. For CPUs.

A CPU's step waits for memory and for the calls between its small operations: ONNX Runtime has
kernels for whole blocks of bytes (`MatMulNBits`), attention that reads each sentence's own cache to
its own length (`GroupQueryAttention`), and no interpreter between them.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor
from torch.nn import functional as F

from voice_serving.engines.xtts_v2.network.cache import SlotCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from voice_serving.engines.xtts_v2.shape import XttsShape

BLOCK: Final = 64
"""Weights that share a factor, along a row; inputs are rounded in blocks of the same length. Each
row of inputs by itself, so that nobody's audio depends on who else speaks."""
_MOST: Final = 127.0
_SMALLEST: Final = 1e-8
_ZERO: Final = 128
"""The byte that stands for zero where none is named."""
_INT8: Final = 4
"""`accuracy_level` that multiplies bytes by bytes; the others widen the weights at every call."""
_EPSILON: Final = 1e-5
_CONTRIB: Final = "com.microsoft"
_OPSET: Final = 17
_IR: Final = 9
_DEVICE: Final = "cpu"


class Int8Transformer:
    """What `Transformer` is, in bytes.

    Args:
        weights: Of the checkpoint.
        shape: Of the checkpoint.
        slots: Sentences at once.
        length: Positions of each.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], shape: XttsShape, slots: int, length: int
    ) -> None:
        self.cache = SlotCache(shape, slots, length, torch.float32, torch.device(_DEVICE))
        self._session = _Graph(shape, length).session(weights)
        self._steps: dict[int, _Run] = {}

    def extend(self, slot: int, start: int, x: Tensor) -> Tensor:
        """Reads several positions of one sentence at once; see `Transformer.extend`."""
        run = self._bind(slot, x[None])
        return run(self._session, torch.tensor([start]))[0]

    def step(self, lengths: Tensor, x: Tensor, reach: int) -> Tensor:
        """Reads one position more of each sentence; see `Transformer.step`.

        `reach` is not needed: each row looks as far as its own sentence is long.
        """
        n = len(x)
        if n not in self._steps:
            self._steps[n] = self._bind(0, torch.empty(n, 1, x.shape[1]))
        run = self._steps[n]
        run.x[:, 0] = x
        return run(self._session, lengths)[:, 0]

    @contextmanager
    def beside(self) -> Iterator[None]:
        """What torch computes around a step, it computes in this thread.

        Its team of threads would be woken for a tenth of a millisecond's work, and then look out
        for more on the cores that the step wants (a step of four takes 25 ms then, and not 20).
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def _bind(self, slot: int, x: Tensor) -> _Run:
        n = len(x)
        x = x.contiguous()
        run = _Run(
            self._session.io_binding(),
            x,
            torch.empty_like(x),
            torch.empty(n, dtype=torch.int32),
            torch.empty(1, dtype=torch.int32),
        )
        for layer, (keys, values) in enumerate(self.cache.values[:, :, slot : slot + n]):
            for kind, held in (("keys", keys), ("values", values)):
                # In and out are the same place: the operation writes the new positions into it.
                run.put(f"{kind}.{layer}", held)
                run.take(f"{kind}.{layer}.longer", held)
        run.put("x", run.x)
        run.put("lasts", run.lasts)
        run.put("reach", run.reach)
        run.take("latents", run.latents)
        return run


@dataclass(frozen=True, slots=True)
class _Run:
    """The places of one call's inputs and outputs."""

    binding: Any
    x: Tensor
    """Embeddings, [n, m, width]."""
    latents: Tensor
    """The same of what comes out; the next call writes over it."""
    lasts: Tensor
    """Number of each sentence's last position, [n], int32."""
    reach: Tensor
    """Positions of the longest, [1], int32."""

    def put(self, name: str, values: Tensor) -> None:
        """Names an input's place."""
        self.binding.bind_input(name, *_place(values))

    def take(self, name: str, values: Tensor) -> None:
        """Names an output's place."""
        self.binding.bind_output(name, *_place(values))

    def __call__(self, session: Any, lengths: Tensor) -> Tensor:
        """Computes; `lengths` are the positions that each sentence has already, [n]."""
        self.lasts.copy_(lengths + (self.x.shape[1] - 1))
        self.reach.copy_(self.lasts.max() + 1)
        session.run_with_iobinding(self.binding)
        return self.latents


def _place(values: Tensor) -> tuple[Any, ...]:
    """Where a tensor lies, as ONNX Runtime is told."""
    return _DEVICE, 0, values.numpy().dtype, values.shape, values.data_ptr()


class _Graph:
    """Writes the network down, operation by operation."""

    def __init__(self, shape: XttsShape, length: int) -> None:
        self._shape = shape
        self._length = length
        self._nodes: list[Any] = []
        self._weights: dict[str, NDArray[Any]] = {}

    def session(self, weights: Mapping[str, Tensor]) -> Any:
        """An `onnxruntime.InferenceSession` of a checkpoint's weights."""
        shape = self._shape
        heads, width = shape.heads, shape.width // shape.heads
        real, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
        value = onnx.helper.make_tensor_value_info
        inputs = [
            value("x", real, ["n", "m", shape.width]),
            value("lasts", whole, ["n"]),
            value("reach", whole, [1]),
        ]
        outputs = [value("latents", real, ["n", "m", shape.width])]
        for layer in range(shape.layers):
            for kind in ("keys", "values"):
                room: list[str | int | None] = ["n", heads, self._length, width]
                inputs.append(value(f"{kind}.{layer}", real, room))
                outputs.append(value(f"{kind}.{layer}.longer", real, room))
        self._write(weights)
        graph = onnx.helper.make_graph(
            self._nodes, "gpt", inputs, outputs, [_outside(n, a) for n, a in self._weights.items()]
        )
        opsets = [onnx.helper.make_opsetid("", _OPSET), onnx.helper.make_opsetid(_CONTRIB, 1)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Between two calls torch has the cores.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_external_initializers(
            list(self._weights),
            [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in self._weights.values()],
        )
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _write(self, weights: Mapping[str, Tensor]) -> None:
        def known(name: str) -> Tensor:
            return weights[f"gpt.{name}"].float()

        x = "x"
        seen = self._norm("LayerNormalization", [x], known, "gpt.h.0.ln_1")[0]
        for layer in range(self._shape.layers):
            own = f"gpt.h.{layer}"
            qkv = self._matrix(seen, known, f"{own}.attn.c_attn")
            attended = self._attention(qkv, layer)
            out = self._matrix(attended, known, f"{own}.attn.c_proj")
            seen, x = self._norm("SkipLayerNormalization", [x, out], known, f"{own}.ln_2")
            wide = self._matrix(seen, known, f"{own}.mlp.c_fc")
            hidden = self._add("FastGelu", [wide], f"{own}.gelu")
            out = self._matrix(hidden, known, f"{own}.mlp.c_proj")
            following = f"gpt.h.{layer + 1}.ln_1" if layer + 1 < self._shape.layers else "gpt.ln_f"
            seen, x = self._norm("SkipLayerNormalization", [x, out], known, following)
        self._norm("LayerNormalization", [seen], known, "final_norm", "latents")

    def _add(self, operation: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        self._nodes.append(
            onnx.helper.make_node(
                operation,
                inputs,
                outputs,
                domain="" if operation == "LayerNormalization" else _CONTRIB,
                **attributes,
            )
        )
        return outputs[0]

    def _put(self, name: str, values: NDArray[Any]) -> str:
        self._weights[name] = np.ascontiguousarray(values)
        return name

    def _norm(
        self,
        operation: str,
        inputs: list[str],
        known: Callable[[str], Tensor],
        name: str,
        output: str | None = None,
    ) -> tuple[str, str]:
        """The norm of what came in, added up where it is two; and that sum."""
        factors = [
            self._put(f"{name}.{part}", known(f"{name}.{part}").numpy())
            for part in ("weight", "bias")
        ]
        made, total = output or f"{name}.made", f"{name}.sum"
        outputs = [made] if len(inputs) == 1 else [made, "", "", total]
        self._add(operation, [*inputs, *factors], *outputs, epsilon=_EPSILON)
        return made, total

    def _matrix(self, x: str, known: Callable[[str], Tensor], name: str) -> str:
        # GPT-2 keeps its matrices as [in, out].
        weight = known(f"{name}.weight").t()
        rows, columns = weight.shape
        data, scales = quantize(weight)
        return self._add(
            "MatMulNBits",
            [
                x,
                self._put(f"{name}.bytes", data),
                self._put(f"{name}.scales", scales),
                "",
                "",
                self._put(f"{name}.bias", known(f"{name}.bias").numpy()),
            ],
            f"{name}.made",
            K=columns,
            N=rows,
            bits=8,
            block_size=BLOCK,
            accuracy_level=_INT8,
        )

    def _attention(self, qkv: str, layer: int) -> str:
        held = [f"keys.{layer}", f"values.{layer}"]
        return self._add(
            "GroupQueryAttention",
            [qkv, "", "", *held, "lasts", "reach"],
            f"attended.{layer}",
            *(f"{name}.longer" for name in held),
            num_heads=self._shape.heads,
            kv_num_heads=self._shape.heads,
        )


def quantize(weight: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Rounds a matrix to bytes.

    Args:
        weight: [out, in].

    Returns:
        Bytes around 128, [out, blocks, `BLOCK`], and each block's factor, [out, blocks].
    """
    rows, columns = weight.shape
    blocks = F.pad(weight, (0, -columns % BLOCK)).view(rows, -1, BLOCK)
    scales = blocks.abs().amax(dim=2).clamp(min=_SMALLEST) / _MOST
    data = (blocks / scales[:, :, None]).round_().add_(_ZERO).to(torch.uint8)
    return data.numpy(), scales.numpy()


def _outside(name: str, values: NDArray[Any]) -> Any:
    """A weight that the session is handed beside the graph, not in it."""
    tensor = onnx.TensorProto(
        name=name,
        data_type=onnx.helper.np_dtype_to_tensor_dtype(values.dtype),
        dims=values.shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    tensor.external_data.add(key="location", value="beside")
    return tensor
