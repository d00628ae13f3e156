"""Settings of the whole program that PyTorch has at its top level. What has no effect here says so.

The default dtype is in `dtypes.py`, the default device in `devices.py`.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import jax

from . import devices, dtypes
from .errors import ArgumentError, ArgumentTypeError, DeviceError

__all__ = [
    "are_deterministic_algorithms_enabled", "compilation_cache", "get_deterministic_debug_mode", "get_num_interop_threads", "get_num_threads",
    "is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled", "set_default_tensor_type", "set_deterministic_debug_mode",
    "set_flush_denormal", "set_num_interop_threads", "set_num_threads", "set_warn_always", "use_deterministic_algorithms",
]  # fmt: skip

# --- determinism ---------------------------------------------------------------------------------------------------

_MODES = ("default", "warn", "error")
_deterministic = 0  # the place in _MODES


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for algorithms that give the same result in every run.

    On the CPU and on TPUs XLA uses no others. On a GPU it does so only if it is told before it starts, by the environment variable
    ``XLA_FLAGS=--xla_gpu_deterministic_ops=true``.

    Args:
        mode: whether to ask for them.
        warn_only: warn, rather than raise, where they cannot be had.

    Raises:
        RuntimeError: on a GPU, without that variable.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.use_deterministic_algorithms(True)
        >>> nr.are_deterministic_algorithms_enabled()
        True
        >>> nr.use_deterministic_algorithms(False)
    """
    global _deterministic
    if not isinstance(mode, bool):
        raise ArgumentTypeError(f"use_deterministic_algorithms takes a bool, got {mode!r}")
    if mode and jax.default_backend() == "gpu" and "xla_gpu_deterministic_ops=true" not in os.environ.get("XLA_FLAGS", ""):
        text = (
            "XLA takes its algorithms for the GPU when it starts, and was not asked for deterministic ones; set the environment variable "
            "XLA_FLAGS=--xla_gpu_deterministic_ops=true before the program starts"
        )
        if not warn_only:
            raise DeviceError(text)
        warnings.warn(text, UserWarning, stacklevel=2)
    _deterministic = (1 if warn_only else 2) if mode else 0


def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms` asked for them."""
    return _deterministic > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether `use_deterministic_algorithms` was to warn only."""
    return _deterministic == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """`use_deterministic_algorithms` by number or name: 0 or `"default"` for false, 1 or `"warn"` to warn, 2 or `"error"` to raise."""
    if isinstance(debug_mode, bool) or not isinstance(debug_mode, int | str):
        raise ArgumentTypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if isinstance(debug_mode, str):
        if debug_mode not in _MODES:
            raise ArgumentError(f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}")
        debug_mode = _MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise ArgumentError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


def get_deterministic_debug_mode() -> int:
    """What `set_deterministic_debug_mode` set, as a number."""
    return _deterministic


# --- threads -------------------------------------------------------------------------------------------------------

_threads: dict[str, int] = {}


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _set_threads(function: str, kind: str, count: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int):
        raise ArgumentTypeError(f"{function} expects an int, but got {type(count).__name__}")
    if count < 1:
        raise ArgumentError(f"{function} expects a positive integer, got {count}")
    _threads[kind] = count


def set_num_threads(num: int) -> None:
    """Note how many threads one operation on the CPU may use. Without effect: XLA takes one a core when it starts."""
    _set_threads("set_num_threads", "intra", num)


def get_num_threads() -> int:
    """What `set_num_threads` noted, or else the number of cores that the process may use, which is what XLA takes."""
    return _threads.get("intra", _usable_cores())


def set_num_interop_threads(num: int) -> None:
    """Note how many operations on the CPU may run at a time. Without effect: XLA decides it."""
    _set_threads("set_num_interop_threads", "inter", num)


def get_num_interop_threads() -> int:
    """What `set_num_interop_threads` noted, or else the number of cores that the process may use."""
    return _threads.get("inter", _usable_cores())


# --- what is compiled, kept over processes ---------------------------------------------------------------------------


def _cache_folder() -> Path:
    """The user's folder for caches, by the custom of the system."""
    home = Path.home()
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "neurarust_jax" / "compiled"


def compilation_cache(path: str | os.PathLike[str] | bool | None = None, max_size: int = 4 * 2**30) -> str | None:
    """Keep compiled programs in a folder, where later processes find them instead of compiling.

    It holds for all that JAX compiles from the call on. The environment variable ``NEURARUST_JAX_CACHE`` does the same without a line of code: ``1`` for the default folder, or a folder.
    Programs are found again only by the same version of JAX and for the same kind of device.

    Args:
        path: the folder. Default: ``neurarust_jax/compiled`` in the user's folder for caches: ``~/.cache``, or ``$XDG_CACHE_HOME``; ``~/Library/Caches`` on macOS. `False`: keep nothing any more.
        max_size: most bytes that the folder may take; what was not used for longest goes first. -1 for no limit. Default: 4 GiB.

    Returns:
        The folder, or `None`.

    Examples:
        >>> import neurarust_jax as nr, tempfile
        >>> folder = nr.compilation_cache(tempfile.mkdtemp())
        >>> nr.compilation_cache(False)
    """
    from jax.experimental.compilation_cache import compilation_cache as cache

    folder = None if path is False else str(_cache_folder() if path is None or path is True else Path(path).expanduser())
    jax.config.update("jax_compilation_cache_dir", folder)
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_enable_compilation_cache", True)
        jax.config.update("jax_compilation_cache_max_size", max_size)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # eager operations compile fast, and there are many
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    cache.reset_cache()  # one that was in use before
    return folder


if (_asked := os.environ.get("NEURARUST_JAX_CACHE", "")).lower() not in ("", "0", "off", "false"):
    compilation_cache(True if _asked.lower() in ("1", "on", "true") else _asked)


# --- others --------------------------------------------------------------------------------------------------------

_warn_always = False


def set_warn_always(b: bool) -> None:
    """Note that warnings should come each time. Without effect: here Python's own filters decide, as in ``warnings.simplefilter("always")``."""
    global _warn_always
    if not isinstance(b, bool):
        raise ArgumentTypeError(f"set_warn_always takes a bool, got {b!r}")
    _warn_always = b


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` noted."""
    return _warn_always


def set_flush_denormal(mode: bool) -> bool:
    """Whether denormal numbers can be made to count as 0, which XLA offers no switch for: always false, and nothing changes."""
    return False


_TENSOR_TYPES = {"FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16, "BFloat16Tensor": dtypes.bfloat16}


def set_default_tensor_type(t: Any) -> None:
    """The older way to set the default dtype and device.

    Args:
        t: one of PyTorch's classes of tensors, such as `nr.DoubleTensor`, or its name, such as `"torch.cuda.FloatTensor"`.

    Raises:
        TypeError: it is no floating-point one.
    """
    t = f"{t.__module__}.{t.__name__}" if isinstance(t, type) else t
    parts = t.split(".") if isinstance(t, str) else [""]
    if parts[-1] not in _TENSOR_TYPES:
        raise ArgumentTypeError(f"set_default_tensor_type takes one of {', '.join(_TENSOR_TYPES)} after 'torch.' or 'torch.cuda.', got {t!r}")
    dtypes.set_default_dtype(_TENSOR_TYPES[parts[-1]])
    devices.set_default_device(parts[-2] if len(parts) > 1 and parts[-2] == "cuda" else "cpu")
