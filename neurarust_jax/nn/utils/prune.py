"""Pruning: elements or channels of a parameter that are held at zero by a mask."""

from __future__ import annotations

import abc
import numbers
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ...errors import ArgumentError, ArgumentTypeError, IndexOutOfRangeError
from ...ops.creation import arange, ones_like
from ...ops.moments import norm
from ...ops.random import rand
from ...ops.sorting import topk
from ...tensor import Tensor
from .convert_parameters import parameters_to_vector

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured", "PruningContainer", "RandomStructured", "RandomUnstructured",
    "custom_from_mask", "global_unstructured", "identity", "is_pruned", "l1_unstructured", "ln_structured", "random_structured", "random_unstructured", "remove",
]  # fmt: skip


class BasePruningMethod(abc.ABC):
    """Base class of pruning methods. A subclass defines `PRUNING_TYPE` and `compute_mask`.

    A method that is applied to a module is a hook of it: before each call it puts the masked tensor where the parameter was. The parameter itself is found as
    ``<name>_orig``, the mask as the buffer ``<name>_mask``.

    Attributes:
        PRUNING_TYPE: `"unstructured"` if single elements are pruned, `"structured"` if channels are, along the attribute `dim`; `"global"` otherwise. After an
            earlier pruning, the method is asked about the elements, or channels, that are left.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.nn.utils import prune
        >>> class EveryOther(prune.BasePruningMethod):
        ...     PRUNING_TYPE = "unstructured"
        ...     def compute_mask(self, t, default_mask):
        ...         return (nr.arange(t.numel()) % 2 == 0).reshape(t.shape) * default_mask
        >>> layer = nr.nn.Linear(4, 1)
        >>> _ = EveryOther.apply(layer, "weight")
        >>> layer.weight_mask
        tensor([[1., 0., 1., 0.]])
    """

    PRUNING_TYPE: str
    _tensor_name: str | None = None

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, str(self._tensor_name), self.apply_mask(module))

    @abc.abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask.

        Args:
            t: how important each element is.
            default_mask: the mask of earlier prunings, which the new one is to respect.
        """

    def apply_mask(self, module: Any) -> Tensor:
        """The masked tensor of a module."""
        if self._tensor_name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        original = getattr(module, f"{self._tensor_name}_orig")
        return getattr(module, f"{self._tensor_name}_mask").to(original.dtype) * original

    @classmethod
    def apply(cls, module: Any, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any) -> BasePruningMethod:
        """Prune a parameter of a module by this method.

        Args:
            module: the module, which is changed.
            name: of the parameter.
            *args, **kwargs: for the method's constructor.
            importance_scores: how important each element is. Default: the parameter.

        Returns:
            The hook: the method, or, after an earlier pruning, a `PruningContainer`.
        """
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        earlier = [(number, hook) for number, hook in module._forward_pre_hooks.items() if isinstance(hook, BasePruningMethod) and hook._tensor_name == name]
        if len(earlier) > 1:
            raise AssertionError(f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. Use a PruningContainer.")
        tensor = getattr(module, name)
        if importance_scores is not None and importance_scores.shape != tensor.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}, got {importance_scores.shape} vs {tensor.shape}"
            )
        scores = (tensor if importance_scores is None else importance_scores).detach()
        if earlier:
            number, old = earlier[0]
            container = old if isinstance(old, PruningContainer) else PruningContainer(old)
            container.add_pruning_method(method)
            method, default_mask = container, getattr(module, f"{name}_mask").detach()
        else:
            default_mask = ones_like(tensor.detach())
        mask = method.compute_mask(scores, default_mask=default_mask)
        if earlier:
            del module._forward_pre_hooks[number]
        else:
            delattr(module, name)
            module.register_parameter(f"{name}_orig", tensor)
        module.register_buffer(f"{name}_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """A tensor, masked by this method.

        Args:
            t: the tensor.
            default_mask: the mask of earlier prunings. Default: ones.
            importance_scores: how important each element is. Default: `t`.
        """
        if importance_scores is not None and importance_scores.shape != t.shape:
            raise AssertionError(f"importance_scores should have the same shape as tensor t, got {importance_scores.shape} vs {t.shape}")
        return t * self.compute_mask(t if importance_scores is None else importance_scores, default_mask=ones_like(t) if default_mask is None else default_mask)

    def remove(self, module: Any) -> None:
        """Take the hook's tensors out of a module: the parameter keeps its pruned value."""
        if self._tensor_name is None:
            raise AssertionError(f"Module {module} has to be pruned before pruning can be removed")
        name = self._tensor_name
        parameter, weight = getattr(module, f"{name}_orig"), self.apply_mask(module).detach()
        for old in (name, f"{name}_orig", f"{name}_mask"):
            if hasattr(module, old):
                delattr(module, old)
        parameter.assign(weight)
        setattr(module, name, parameter)


class PruningContainer(BasePruningMethod):
    """Pruning methods that were applied to one parameter, one after the other.

    Args:
        *args: the methods.
    """

    def __init__(self, *args: BasePruningMethod):
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Add a method at the end.

        Raises:
            TypeError: it is no pruning method.
            ValueError: it prunes another parameter.
        """
        if not isinstance(method, BasePruningMethod):
            raise ArgumentTypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name != method._tensor_name:
            raise ArgumentError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: Any) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of the last method on what earlier ones left."""
        method: Any = self._pruning_methods[-1]
        mask = default_mask.to(t.dtype)
        if method.PRUNING_TYPE == "unstructured":
            place: Any = mask == 1
        elif method.PRUNING_TYPE == "structured":
            if not hasattr(method, "dim"):
                raise AttributeError('Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` defined.')
            ndim = t.dim()
            if method.dim < -ndim:
                raise IndexOutOfRangeError(f"Index is out of bounds for tensor with dimensions {ndim}")
            dim = method.dim % ndim
            kept = np.nonzero((mask.sum([d for d in range(ndim) if d != dim]) != 0).numpy())[0]
            place = (*(slice(None),) * dim, kept)
        elif method.PRUNING_TYPE == "global":
            place = (slice(None),) * t.dim()
        else:
            raise ArgumentError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        return mask.at[place].set(method.compute_mask(t[place], default_mask=mask[place]).to(mask.dtype))


# --- the methods -------------------------------------------------------------------------------------------------------


class _Amount(BasePruningMethod):
    """A method that prunes an amount: a number of units if it is an int, a share of them if it is a float."""

    def __init__(self, amount: float):
        if not isinstance(amount, numbers.Real):
            raise ArgumentTypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        whole = isinstance(amount, numbers.Integral)
        if (whole and amount < 0) or (not whole and not 0.0 <= float(amount) <= 1.0):
            raise ArgumentError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")
        self.amount = amount

    def _count(self, units: int) -> int:
        count = int(self.amount) if isinstance(self.amount, numbers.Integral) else round(self.amount * units)
        if count > units:
            raise ArgumentError(f"amount={count} should be smaller than the number of parameters to prune={units}")
        return count


class _Structured(_Amount):
    """A method that prunes channels along a dimension."""

    def __init__(self, amount: float, dim: int = -1):
        super().__init__(amount)
        self.dim = dim

    def _scores(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.dim() <= 1:
            raise ArgumentError(
                f"Structured pruning can only be applied to multidimensional tensors. Found tensor of shape {t.shape} with {t.dim()} dims"
            )
        if self.dim >= t.dim():
            raise IndexOutOfRangeError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        channels = t.shape[self.dim]
        count = self._count(channels)
        if not count:
            return default_mask
        kept = topk(self._scores(t), channels - count).indices
        channel_mask = (arange(channels).unsqueeze(1) == kept).any(1).to(t.dtype)
        return channel_mask.reshape([-1 if d == self.dim % t.dim() else 1 for d in range(t.dim())]) * default_mask.to(t.dtype)


def _without_least(scores: Tensor, count: int, default_mask: Tensor) -> Tensor:
    """The mask without the `count` elements of the least scores."""
    if not count:
        return default_mask
    least = topk(scores.reshape(-1), count, largest=False).indices
    return default_mask.reshape(-1).at[least].set(0).reshape(default_mask.shape)


class Identity(BasePruningMethod):
    """Prunes nothing: the parameter gets a mask of ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class RandomUnstructured(_Amount):
    """Prunes elements at random.

    Args:
        amount: how many: a number if it is an int, a share if it is a float.
    """

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return _without_least(rand(*t.shape), self._count(t.numel()), default_mask)

    @classmethod
    def apply(cls, module: Any, name: str, amount: float) -> BasePruningMethod:
        """Prune a parameter of a module by this method."""
        return super().apply(module, name, amount=amount)


class L1Unstructured(_Amount):
    """Prunes the elements of least modulus.

    Args:
        amount: how many: a number if it is an int, a share if it is a float.
    """

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return _without_least(t.abs(), self._count(t.numel()), default_mask)

    @classmethod
    def apply(cls, module: Any, name: str, amount: float, importance_scores: Tensor | None = None) -> BasePruningMethod:
        """Prune a parameter of a module by this method."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


class RandomStructured(_Structured):
    """Prunes channels at random.

    Args:
        amount: how many: a number if it is an int, a share if it is a float.
        dim: the dimension that counts the channels. Default: -1.
    """

    PRUNING_TYPE = "structured"

    def _scores(self, t: Tensor) -> Tensor:
        return rand(t.shape[self.dim])

    @classmethod
    def apply(cls, module: Any, name: str, amount: float, dim: int = -1) -> BasePruningMethod:
        """Prune a parameter of a module by this method."""
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(_Structured):
    """Prunes the channels of least norm.

    Args:
        amount: how many: a number if it is an int, a share if it is a float.
        n: the order of the norm, as `nr.norm` takes it.
        dim: the dimension that counts the channels. Default: -1.
    """

    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, n: Any, dim: int = -1):
        super().__init__(amount, dim)
        self.n = n

    def _scores(self, t: Tensor) -> Tensor:
        return norm(t, self.n, [d for d in range(t.dim()) if d != self.dim % t.dim()])

    @classmethod
    def apply(cls, module: Any, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None) -> BasePruningMethod:
        """Prune a parameter of a module by this method."""
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod):
    """Prunes what a mask says.

    Args:
        mask: zeros where elements are pruned.
    """

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor):
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if default_mask.shape != self.mask.shape:
            raise AssertionError(f"default_mask shape {default_mask.shape} must match self.mask shape {self.mask.shape}")
        return default_mask * self.mask.to(default_mask.dtype)

    @classmethod
    def apply(cls, module: Any, name: str, mask: Tensor) -> BasePruningMethod:
        """Prune a parameter of a module by this method."""
        return super().apply(module, name, mask=mask)


# --- functions -----------------------------------------------------------------------------------------------------------


def identity(module: Any, name: str) -> Any:
    """Give a parameter a mask of ones. See `Identity`."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: float) -> Any:
    """Prune elements of a parameter at random.

    Args:
        module: the module, which is changed.
        name: of the parameter.
        amount: how many: a number if it is an int, a share if it is a float.

    Returns:
        The module.
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Any, name: str, amount: float, importance_scores: Tensor | None = None) -> Any:
    """Prune the elements of a parameter that have the least modulus.

    Args:
        module: the module, which is changed.
        name: of the parameter.
        amount: how many: a number if it is an int, a share if it is a float.
        importance_scores: whose modulus counts. Default: the parameter.

    Returns:
        The module.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.nn.utils import prune
        >>> layer = prune.l1_unstructured(nr.nn.Linear(4, 4), "weight", amount=0.25)
        >>> (layer.weight == 0).sum()
        tensor(4)
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: float, dim: int) -> Any:
    """Prune channels of a parameter at random.

    Args:
        module: the module, which is changed.
        name: of the parameter.
        amount: how many: a number if it is an int, a share if it is a float.
        dim: the dimension that counts the channels.

    Returns:
        The module.
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: Any, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None) -> Any:
    """Prune the channels of a parameter that have the least norm.

    Args:
        module: the module, which is changed.
        name: of the parameter.
        amount: how many: a number if it is an int, a share if it is a float.
        n: the order of the norm, as `nr.norm` takes it.
        dim: the dimension that counts the channels.
        importance_scores: whose norms count. Default: the parameter.

    Returns:
        The module.
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def global_unstructured(parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any) -> None:
    """Prune several parameters as if they were one.

    Args:
        parameters: pairs of module and name.
        pruning_method: a class of methods whose `PRUNING_TYPE` is `"unstructured"`.
        importance_scores: a dict from such pairs to scores, in place of the parameters.
        **kwargs: for the method's constructor, such as `amount`.

    Raises:
        TypeError: the method is not unstructured, or an argument of a wrong type.
    """
    if not isinstance(parameters, Iterable):
        raise ArgumentTypeError("global_unstructured(): parameters is not an Iterable")
    scores = importance_scores if importance_scores is not None else {}
    if not isinstance(scores, dict):
        raise ArgumentTypeError("global_unstructured(): importance_scores must be of type dict")
    pairs = [(module, name) for module, name in parameters]
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise ArgumentTypeError(
            f'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method {pruning_method} of type {method.PRUNING_TYPE}'
        )
    container = PruningContainer()
    container._tensor_name = method._tensor_name = "temp"
    container.add_pruning_method(method)
    tensors = [getattr(module, name).detach() for module, name in pairs]
    masks = [getattr(module, f"{name}_mask", ones_like(t)) for (module, name), t in zip(pairs, tensors, strict=True)]
    relevant = parameters_to_vector([scores.get(pair, t) for pair, t in zip(pairs, tensors, strict=True)]).detach()
    mask = container.compute_mask(relevant, parameters_to_vector(masks).detach())
    start = 0
    for (module, name), tensor in zip(pairs, tensors, strict=True):
        custom_from_mask(module, name, mask[start : start + tensor.numel()].reshape(tensor.shape))
        start += tensor.numel()


def custom_from_mask(module: Any, name: str, mask: Tensor) -> Any:
    """Prune a parameter by a mask.

    Args:
        module: the module, which is changed.
        name: of the parameter.
        mask: zeros where elements are pruned.

    Returns:
        The module.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.utils.prune.custom_from_mask(nr.nn.Linear(5, 3), "bias", nr.tensor([0, 1, 0]))
        >>> layer.bias_mask
        tensor([0., 1., 0.])
    """
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module: Any, name: str) -> Any:
    """Make a pruned parameter an ordinary one, with the value that it has now.

    Raises:
        ValueError: it is not pruned.
    """
    for number, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[number]
            module._note_change()
            return module
    raise ArgumentError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Any) -> bool:
    """Whether a parameter of a module, or of one below it, is pruned."""
    return any(isinstance(hook, BasePruningMethod) for _, m in module.named_modules() for hook in m._forward_pre_hooks.values())
