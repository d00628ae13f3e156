"""Error classes. Each is also the class that PyTorch raises in the same place, so `except RuntimeError` keeps working.

A message says what was given, what was expected and what to write instead. An error that passes through
`Module.__call__` collects the path of the layer it came from (`in_module`).
"""

import pickle


class NeuraRustError(Exception):
    """Base of every error that the package raises by itself.

    Attributes:
        modules: descriptions of the modules whose `forward` the error passed through, innermost first.
    """

    def __init__(self, message: str = ""):
        super().__init__(message)
        self.modules: list[tuple[str, str]] = []

    def in_module(self, name: str, description: str) -> None:
        """Note that the error passed through the module registered as `name` (empty for the outermost)."""
        self.modules.append((name, description))

    def __str__(self) -> str:
        message = super().__str__()
        if not self.modules:
            return message
        path = ".".join(name for name, _ in reversed(self.modules) if name)
        layer = self.modules[0][1]
        return f"{message}\n  in layer {path!r}: {layer}" if path else f"{message}\n  in layer: {layer}"


class ShapeError(NeuraRustError, RuntimeError):
    """Shapes of the operands do not fit together."""


class ShapeAssertionError(ShapeError, AssertionError):
    """Operands do not fit together, in a place where PyTorch asserts that they do."""


class DtypeError(NeuraRustError, RuntimeError):
    """An operand has a dtype that the operation does not take."""


class DeviceError(NeuraRustError, RuntimeError):
    """A device was asked for that JAX does not have."""


class ImmutableTensorError(NeuraRustError, RuntimeError):
    """Something tried to write into a plain Tensor, whose value never changes."""


class AutogradError(NeuraRustError, RuntimeError):
    """The graph of recorded operations does not allow what was asked of it."""


class AnomalyError(AutogradError):
    """A NaN or an infinity has appeared while `detect_anomaly` looked for it."""


class DLPackError(NeuraRustError, BufferError):
    """A tensor cannot be handed to another library as it is."""


class TracedValueError(NeuraRustError, RuntimeError):
    """A Python value was asked of a tensor that has none yet, inside a compiled or transformed function."""


class LeakError(NeuraRustError, RuntimeError):
    """A tensor is held outside the transformation that it has its value in."""


class StateDictError(NeuraRustError, RuntimeError):
    """A state dict does not fit the module or optimizer that it is loaded into."""


class ModelFileError(NeuraRustError, RuntimeError):
    """A model's file is damaged, cut off, or asks for what cannot be run here."""


class FileFormatError(NeuraRustError, RuntimeError):
    """A file of tensors is damaged or cut off, or not what its name or its header says."""


class RefusedObjectError(FileFormatError, pickle.UnpicklingError):
    """A pickle asks for an object that is neither a tensor nor plain data; nothing of it was executed."""


class OptimizerError(NeuraRustError, RuntimeError):
    """Options of an optimizer exclude each other, or a hook of it returned what cannot be used."""


class AmpError(NeuraRustError, RuntimeError):
    """Autocast does not know the device type, or a gradient scaler's methods were called in another order than they can be."""


class ScalerAssertionError(AmpError, AssertionError):
    """A gradient scaler has not what its method needs, in a place where PyTorch asserts that it has."""


class HookError(NeuraRustError, RuntimeError):
    """A hook of a module returned what cannot be put in its place."""


class LinAlgError(NeuraRustError, RuntimeError):
    """A matrix is singular, not positive-definite, or otherwise without what was asked of it."""


class UnsupportedError(NeuraRustError, NotImplementedError):
    """The operation has no such mode, or not for inputs of this kind."""


class IndexOutOfRangeError(NeuraRustError, IndexError):
    """An index lies outside the dimension that it indexes, or names a dimension that does not exist."""


class IndexTensorError(IndexOutOfRangeError, RuntimeError):
    """An index tensor does not fit the dimension that it indexes, by its values or its shape: PyTorch raises `IndexError` or `RuntimeError` by function."""


class ArgumentError(NeuraRustError, ValueError, RuntimeError):
    """An argument has a value that the function does not take: PyTorch raises `ValueError` or `RuntimeError` by function."""


class ArgumentTypeError(NeuraRustError, TypeError):
    """An argument has a type that the function does not take."""


def writes_into_a_tensor(method: str, instead: str) -> ImmutableTensorError:
    """The error for an in-place `method` called on a plain Tensor; `instead` is the line to write."""
    return ImmutableTensorError(
        f"{method} writes into a Tensor, and a Tensor's value never changes here. Write instead:  {instead}\n"
        "Only Parameter and Buffer, their .data, and a .grad are places that can be written to."
    )
