"""The interface `onnx.backend.base.Backend` over `load`, by which ONNX's own backend tests run.

This module imports `onnx`, and is imported on use alone.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx.backend import base

from .model import OnnxModule, load
from .tensors import element_type
from .values import as_numpy, dtype_of, shape_of

__all__ = ["JaxBackend", "JaxBackendRep", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]


class JaxBackendRep(base.BackendRep):
    """A prepared model."""

    def __init__(self, module: OnnxModule):
        self.module = module

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs as NumPy arrays (lists of them for sequences).

        Args:
            inputs: the inputs in order, or by name, or the one input itself.
            kwargs: ignored.
        """
        from ..autograd import no_grad

        with no_grad():
            named = inputs if isinstance(inputs, dict) else {}
            ordered = () if named else inputs if isinstance(inputs, list | tuple) else (inputs,)
            outputs = self.module(*ordered, **named)
        return tuple(map(as_numpy, outputs if len(self.module.output_names) != 1 else (outputs,)))


class JaxBackend(base.Backend):
    """ONNX's backend interface."""

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether every operator of the model is known."""
        from ..errors import ModelFileError

        try:
            load(model)
        except ModelFileError:
            return False
        return True

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> JaxBackendRep:
        """A model, ready to run."""
        return JaxBackendRep(load(model))

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """The outputs of a model for some inputs."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(cls, node: Any, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs of a single node.

        Args:
            node: an `onnx.NodeProto`.
            inputs: arrays in order, or by name.
            device: ignored.
            outputs_info: ignored.
            kwargs: `opset_version`, the version of the node's domain; by default the newest.
        """
        present = [name for name in node.input if name]
        values = [inputs[name] for name in present] if isinstance(inputs, dict) else [x for x in inputs if x is not None]
        version = kwargs.get("opset_version") or max(s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.domain == node.domain)
        infos = [
            onnx.helper.make_tensor_value_info(name, element_type(dtype_of(x)), shape_of(x)) if hasattr(x, "dtype") else onnx.ValueInfoProto(name=name)
            for name, x in zip(present, values, strict=True)
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", infos, outputs)
        return cls.run_model(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(node.domain, version)]), values, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether JAX has the device: ``"CPU"``, or ``"CUDA"`` where there is a GPU."""
        import jax

        kind = device.partition(":")[0]
        return kind == "CPU" or (kind == "CUDA" and any(d.platform in ("gpu", "cuda", "rocm") for d in jax.devices()))


is_compatible = JaxBackend.is_compatible
prepare = JaxBackend.prepare
run_model = JaxBackend.run_model
run_node = JaxBackend.run_node
supports_device = JaxBackend.supports_device
