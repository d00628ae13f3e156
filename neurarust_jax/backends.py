"""PyTorch's `torch.backends`: switches that its programs set at their start. Each says what it does here; most have no effect, for XLA decides."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from . import devices
from .ops.matmul import are_convolutions_coarse, get_float32_matmul_precision, set_coarse_convolutions, set_float32_matmul_precision

__all__ = ["cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]


class _Switches:
    """Values that are noted and have no effect."""

    def __init__(self, **values: Any):
        self.__dict__.update(values)


class _MatmulSwitches(_Switches):
    """`cuda.matmul`.

    Attributes:
        allow_tf32: whether products of float32 matrices may be computed in TensorFloat32 on a GPU: the same as ``set_float32_matmul_precision("high")``, and
            `False` as ``"highest"``.
    """

    @property
    def allow_tf32(self) -> bool:
        return get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        set_float32_matmul_precision("high" if allowed else "highest")


class _Cuda:
    """`cuda`.

    Attributes:
        matmul: see `_MatmulSwitches`. What it holds of reduced precision in sums of 16 bits has no effect: XLA sums in float32.
    """

    def __init__(self):
        self.matmul = _MatmulSwitches(allow_fp16_reduced_precision_reduction=False, allow_bf16_reduced_precision_reduction=False, allow_fp16_accumulation=False)

    @staticmethod
    def is_built() -> bool:
        """Whether JAX has a GPU."""
        return devices.is_available("cuda")


class _Cudnn(_Switches):
    """`cudnn`.

    Attributes:
        allow_tf32: whether convolutions of float32 may be computed in TensorFloat32 on a GPU. Default: `True`, as in PyTorch.
        benchmark: without effect: XLA measures which algorithm is fastest when it compiles.
        deterministic: without effect; see `nr.use_deterministic_algorithms`.
        enabled: without effect.
    """

    def __init__(self):
        super().__init__(enabled=True, benchmark=False, benchmark_limit=10, deterministic=False)

    @property
    def allow_tf32(self) -> bool:
        return are_convolutions_coarse()

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        set_coarse_convolutions(allowed)

    @staticmethod
    def is_available() -> bool:
        """Whether JAX has a GPU."""
        return devices.is_available("cuda")

    @staticmethod
    def version() -> None:
        """`None`: JAX brings its own cuDNN and does not say which."""

    @contextlib.contextmanager
    def flags(self, enabled: bool = False, benchmark: bool = False, benchmark_limit: int = 10, deterministic: bool = False, allow_tf32: bool = True) -> Iterator[None]:
        """Set the switches for a `with` block."""
        names = ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32")
        before = [getattr(self, name) for name in names]
        try:
            for name, value in zip(names, (enabled, benchmark, benchmark_limit, deterministic, allow_tf32), strict=True):
                setattr(self, name, value)
            yield
        finally:
            for name, value in zip(names, before, strict=True):
                setattr(self, name, value)


class _Mps:
    """`mps`: Apple's GPUs."""

    @staticmethod
    def is_available() -> bool:
        """Whether JAX has one."""
        return devices.is_available("mps")

    is_built = is_available


class _Cpu:
    """`cpu`."""

    @staticmethod
    def get_cpu_capability() -> str:
        """Always `"DEFAULT"`: XLA compiles for the processor that it finds."""
        return "DEFAULT"


class _Library(_Switches):
    """A library that PyTorch may be built with: none is here."""

    @staticmethod
    def is_available() -> bool:
        """Always false."""
        return False


cuda, cudnn, mps, cpu = _Cuda(), _Cudnn(), _Mps(), _Cpu()
mkl, openmp, mkldnn = _Library(), _Library(), _Library(enabled=False, allow_tf32=False)
