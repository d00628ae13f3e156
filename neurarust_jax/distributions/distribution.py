"""`Distribution`: what all distributions have."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from ..autograd import no_grad
from ..errors import ArgumentError, UnsupportedError
from ..ops import exp, sqrt
from ..ops.common import broadcast_shapes
from ..tensor import Size, Tensor
from . import constraints
from .pytree import Node
from .utils import is_traced, lazy_property, surely_fails

__all__ = ["Distribution"]


def missing(name: str, doc: str) -> property:
    """A property that a subclass has to give."""

    def ask(self: Any) -> Any:
        raise UnsupportedError(f"{type(self).__name__} has no {name}")

    return property(ask, doc=doc)


class Distribution(Node):
    """A family of probability distributions over batches of events.

    A sample has the shape ``sample_shape + batch_shape + event_shape``: `event_shape` is that of one draw, `batch_shape` that of the parameters.

    Args:
        batch_shape: the shape of the parameters. Default: ``()``.
        event_shape: the shape of one draw. Default: ``()``.
        validate_args: whether parameters and values are looked at. Inside compiled and transformed functions, where values are not known, they are not looked at.
            Default: what `set_default_validate_args` said, at first `True`.

    Attributes:
        has_rsample: whether `rsample` lets gradients flow to the parameters.
        has_enumerate_support: whether `enumerate_support` is there.

    Raises:
        ValueError: a parameter lies outside its constraint.

    Examples:
        >>> import neurarust_jax as nr
        >>> normal = nr.distributions.Normal(nr.zeros(2), nr.ones(2))
        >>> normal.sample((3,)).shape
        neurarust_jax.Size([3, 2])
        >>> normal.log_prob(nr.tensor([0.0, 1.0]))
        tensor([-0.9189, -1.4189])
    """

    has_rsample: Any = False
    has_enumerate_support: Any = False
    _validate_args: bool = __debug__
    _derived: ClassVar[tuple[str, ...]] = ()  # attributes made of the parameters, which `expand` treats as those

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Say whether distributions made from now on validate their arguments if they are not told."""
        if value not in (True, False):
            raise ValueError(f"validate_args is a bool, got {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None):
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()
        super().__init__()

    def _check_parameters(self) -> None:
        try:
            wanted = self.arg_constraints
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or initialize the distribution with `validate_args=False` to turn off "
                "validation.",
                stacklevel=3,
            )
            return
        for name, constraint in wanted.items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name, None), lazy_property):
                continue  # it is made of parameters that are checked
            value = getattr(self, name)
            if is_traced(value):
                continue
            if surely_fails(constraint.check(value.detach())):
                raise ArgumentError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution {self!r} to satisfy the constraint {constraint!r}, but "
                    f"found invalid values:\n{value.detach()}"
                )

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with its parameters expanded to another batch shape.

        Args:
            batch_shape: the new shape, to which the old one broadcasts.
        """
        batch_shape = Size(batch_shape)
        known = next(c for c in type(self).__mro__ if c.__module__.startswith(__name__.rpartition(".")[0]))
        new = self._get_checked_instance(known, _instance)
        parameters = {name: constraint.event_dim for name, constraint in self.arg_constraints.items()} | dict.fromkeys(self._derived, 0)
        for name, value in self.__dict__.items():
            if name in parameters:
                new.__dict__[name] = value.expand(batch_shape + value.shape[value.dim() - parameters[name] :])
            elif not isinstance(getattr(type(self), name, None), lazy_property):
                new.__dict__[name] = value
        new._batch_shape = batch_shape
        return new

    @property
    def batch_shape(self) -> Size:
        """The shape of the parameters."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one draw."""
        return self._event_shape

    arg_constraints: Any = missing("arg_constraints", "The constraint of each parameter, by name.")
    support: Any = missing("support", "The constraint that all samples satisfy.")

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise UnsupportedError(f"{type(self).__name__} has no mean")

    @property
    def mode(self) -> Tensor:
        """The value where the density is highest."""
        raise UnsupportedError(f"{type(self).__name__} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise UnsupportedError(f"{type(self).__name__} has no variance")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation, the root of the variance."""
        return sqrt(self.variance)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw values; no gradient flows through them.

        Args:
            sample_shape: how many. Default: one for each element of the batch.
        """
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw values as a differentiable function of the parameters and of noise.

        Args:
            sample_shape: how many. Default: one for each element of the batch.

        Raises:
            NotImplementedError: the distribution has no such form, see `has_rsample`.
        """
        raise UnsupportedError(f"{type(self).__name__} has no rsample")

    def sample_n(self, n: int) -> Tensor:
        """`n` samples or batches of them; PyTorch's deprecated name for ``sample((n,))``."""
        warnings.warn("`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", FutureWarning, stacklevel=2)
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, at `value`."""
        raise UnsupportedError(f"{type(self).__name__} has no log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of what is at most `value`."""
        raise UnsupportedError(f"{type(self).__name__} has no cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The quantile: the inverse of `cdf`."""
        raise UnsupportedError(f"{type(self).__name__} has no icdf")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values that a discrete distribution can have, along a new first dimension.

        Args:
            expand: whether they are expanded over the batch, rather than shape (n, 1, ..., 1).
        """
        raise UnsupportedError(f"{type(self).__name__} has no enumerate_support")

    def entropy(self) -> Tensor:
        """The entropy, one number for each element of the batch."""
        raise UnsupportedError(f"{type(self).__name__} has no entropy")

    def perplexity(self) -> Tensor:
        """The exponential of the entropy."""
        return exp(self.entropy())

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        """The shape of what `sample` returns."""
        sample_shape = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        return Size(sample_shape + tuple(self._batch_shape) + tuple(self._event_shape))

    def _validate_sample(self, value: Any) -> None:
        """Raise unless `value` is a tensor that could be a sample."""
        if not isinstance(value, Tensor):
            raise ArgumentError("The value argument to log_prob must be a Tensor")
        event = tuple(self._event_shape)
        if tuple(value.shape[max(value.dim() - len(event), 0) :]) != event:
            raise ArgumentError(f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}.")
        whole = tuple(self._batch_shape) + event
        try:
            broadcast_shapes(tuple(value.shape), whole)
        except RuntimeError as error:
            raise ArgumentError(f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {Size(whole)}.") from error
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `support` to enable sample validation. Please initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        if not is_traced(value) and surely_fails(support.check(value.detach())):
            raise ArgumentError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the support ({support!r}) of the distribution {self!r}, but found "
                f"invalid values:\n{value.detach()}"
            )

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        """What `expand` fills: an instance that was given, or an empty one, unless a subclass of `cls` has an `__init__` of its own."""
        if _instance is None and type(self).__init__ is not cls.__init__:
            raise UnsupportedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ method must also define a custom .expand() method."
            )
        return type(self).__new__(type(self)) if _instance is None else _instance

    def __repr__(self) -> str:
        names = [name for name in self.arg_constraints if name in self.__dict__]
        shown = ((name, self.__dict__[name]) for name in names)
        return f"{type(self).__name__}({', '.join(f'{n}: {v if v.numel() == 1 else v.size()}' for n, v in shown)})"
