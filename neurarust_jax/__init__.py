"""neurarust_jax: PyTorch's ease, JAX's transformations.

Everything is named here and defined in the rooms below; importing the package runs no JAX computation.
"""

import math

from . import (
    accelerator, amp, autograd, backends, cuda, debug, distributions, errors, fft, func, interop, io, linalg, masked, nn, onnx, optim, signal, special,
    testing, utils,
)  # fmt: skip
from .amp import GradScaler, autocast
from .amp.autocast_mode import (
    autocast_decrement_nesting, autocast_increment_nesting, clear_autocast_cache, get_autocast_dtype, is_autocast_available, is_autocast_cache_enabled,
    is_autocast_enabled, set_autocast_cache_enabled, set_autocast_dtype, set_autocast_enabled,
)  # fmt: skip
from .autograd import (
    enable_grad, inference_mode, is_anomaly_check_nan_enabled, is_anomaly_enabled, is_grad_enabled, is_inference_mode_enabled, no_grad, set_anomaly_enabled,
    set_grad_enabled,
)  # fmt: skip
from .devices import default as get_default_device, device, set_default_device
from .dtypes import (
    bfloat16, cdouble, cfloat, complex64, complex128, double, dtype, float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float16, float32,
    float64, half, int8, int16, int32, int64, long, short, uint8, uint16, uint32, uint64,
)  # fmt: skip
from .dtypes import bool_ as bool
from .dtypes import float_ as float
from .dtypes import int_ as int
from .generator import Generator, default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from .io import load, save
from .layouts import *  # noqa: F403
from .printing import set_printoptions
from .settings import *  # noqa: F403
from .symbolic import *  # noqa: F403
from .tensor import Size, Tensor
from .ops import *  # noqa: F403 (after `.tensor`: `nr.tensor` is the function)
from .transforms import (
    associative_scan, checkpoint, compile, cond, custom_jvp, custom_vjp, export, fori_loop, grad, hessian, io_callback, jacfwd, jacrev, jit, jvp,
    pure_callback, remat, scan, switch, value_and_grad, vjp, vmap, while_loop,
)  # fmt: skip

inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
newaxis = None

__version__ = "0.1.0"
