"""`nr.grad` and its kin: JAX's derivatives of functions over Tensors, Modules and any pytree, with PyTorch's `torch.func` signatures."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import dtypes
from ..autograd.graph import in_direction
from ..cells import next_in_sequence
from ..errors import ArgumentError, AutogradError, ShapeError
from ..tensor import Tensor
from .lift import Lifted, Packing, explained, is_tensor, originals, value_of
from .taping import Linear, Packed, Places, note_places, taped, unpacked
from .vectorize import BatchTrace, check_randomness

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "value_and_grad", "vjp"]


class _Split:
    """The arguments of a call, split into the leaves to differentiate by and the rest."""

    def __init__(self, arguments: tuple, argnums: int | Sequence[int], name: str):
        self.single = isinstance(argnums, int)
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if not numbers or any(not -len(arguments) <= n < len(arguments) for n in numbers):
            raise ArgumentError(f"{name}: argnums={argnums} does not fit a call with {len(arguments)} positional arguments")
        self.numbers = [n % len(arguments) for n in numbers]
        self.arguments = arguments
        self.packings = [Packing(arguments[n]) for n in self.numbers]
        self.everything = [[x if fixed else value_of(x) for x, fixed in zip(p.leaves, _fixed_leaves(p), strict=True)] for p in self.packings]
        self.leaves = [
            [x for x, fixed in zip(values, _fixed_leaves(p), strict=True) if not fixed] for p, values in zip(self.packings, self.everything, strict=True)
        ]

    def join(self, leaves: Sequence[Sequence[Any]]) -> list[Any]:
        """The arguments with these leaves in their places."""
        arguments = list(self.arguments)
        for number, packing, everything, values in zip(self.numbers, self.packings, self.everything, leaves, strict=True):
            arguments[number] = packing.unpack(_filled(packing, everything, values))
        return arguments

    def pack(self, leaves: Sequence[Sequence[Any]]) -> Any:
        """Pytrees in the structure of the arguments differentiated by; zeros in the places of what has no derivative."""
        with dtypes.x64():
            trees = [
                Packed(
                    packing.form,
                    _filled(packing, [jnp.zeros_like(x) if fixed else x for x, fixed in zip(everything, _fixed_leaves(packing), strict=True)], values),
                )
                for packing, everything, values in zip(self.packings, self.everything, leaves, strict=True)
            ]
        return trees[0] if self.single else tuple(trees)


def _fixed_leaves(packing: Packing) -> list[bool]:
    """Which leaves have no derivative: the integers among the buffers of a module, as a count of batches."""
    return [kind is not Tensor and getattr(getattr(x, "dtype", None), "kind", "f") in "biu" for x, kind in zip(packing.leaves, packing.form.kinds, strict=True)]


def _filled(packing: Packing, everything: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    remaining = iter(values)
    return [x if fixed else next(remaining) for x, fixed in zip(everything, _fixed_leaves(packing), strict=True)]


class _Pure:
    """The function as JAX differentiates it: of the leaves of the chosen arguments, giving (arrays of the output, (arrays of aux, new values of cells)).

    Attributes:
        output, aux: how the output and aux of the last call are packed.
    """

    def __init__(self, func: Callable, split: _Split, named: dict[str, Any], has_aux: bool, reached: Places | None, forward: bool = False):
        self.lifted = Lifted(func)
        self.split, self.named, self.has_aux, self.reached = split, named, has_aux, reached
        self.forward = forward
        self.output = self.aux = Packing(None)
        self.started = next_in_sequence()

    def __call__(self, leaves: Any) -> tuple[list[Any], tuple[list[Any], list[Any]]]:
        arguments = self.split.join(leaves)
        self.lifted.originals = originals(arguments, self.split.arguments)
        with in_direction(self.forward):
            returned, written = self.lifted(*arguments, **self.named)
        output, aux = returned if self.has_aux else (returned, None)
        self.output, self.aux = Packing(output), Packing(aux)
        return list(map(value_of, self.output.leaves)), (self.aux.leaves, written)

    def finish(self, aux: list[Any], written: list[Any]) -> Any:
        """Put the new values into the cells, and give back aux."""
        note_places([*self.output.places, *self.aux.places], self.reached, self.started)
        self.lifted.write(written)
        return Packed(self.aux.form, aux)


def grad_and_value(func: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """As `grad`, giving ``(gradient, value)``; with `has_aux`, ``(gradient, (value, aux))``."""

    @functools.wraps(func)
    def transformed(arguments: tuple, named: dict[str, Any], reached: Places | None) -> Any:
        split = _Split(arguments, argnums, "grad")
        pure = _Pure(func, split, named, has_aux, reached)

        def loss(leaves: Any) -> Any:
            values, rest = pure(leaves)
            if len(values) != 1 or values[0].shape != ():
                shapes = ", ".join(str(tuple(v.shape)) for v in values)
                raise AutogradError(
                    f"grad: expected {getattr(func, '__name__', 'the function')} to return a 0-d tensor, got shape {shapes}; write .sum() or use nr.func.jacrev"
                )
            return values[0], rest

        with dtypes.x64(), explained():
            (value, rest), gradients = jax.value_and_grad(loss, has_aux=True)(split.leaves)
            gradients = jax.tree.map(_conjugate, gradients)
        aux = pure.finish(*rest)
        result = Packed(pure.output.form, [value])
        return split.pack(gradients), (result, aux) if has_aux else result

    return taped("grad", transformed)


def value_and_grad(func: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """As `grad`, giving ``(value, gradient)`` in JAX's order; with `has_aux`, ``((value, aux), gradient)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.value_and_grad(lambda x: (x**2).sum())(nr.tensor([1.0, 2.0]))
        (tensor(5.), tensor([2., 4.]))
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def transformed(*arguments: Any, **named: Any) -> Any:
        gradient, value = both(*arguments, **named)
        return value, gradient

    return transformed


def grad(func: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """The function that computes the gradient of `func`, whose output is a 0-d tensor.

    Args:
        func: a function of tensors, modules and pytrees of them. What it writes to cells (a generator, running statistics) is written.
        argnums: by which positional arguments to differentiate; one int, or several for a tuple of gradients.
        has_aux: `func` returns ``(output, aux)``, and the new function ``(gradient, aux)``.

    Returns:
        A function of the same arguments. The gradient has the structure of the argument: a tensor for a tensor, a dict for a dict, a module
        whose parameters hold gradients for a module.

    Raises:
        RuntimeError: the output is not 0-d.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.grad(lambda x: x.sin().sum())(nr.tensor([0.0]))
        tensor([1.])
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def transformed(*arguments: Any, **named: Any) -> Any:
        gradient, value = both(*arguments, **named)
        return (gradient, value[1]) if has_aux else gradient

    return transformed


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> Any:
    """The output of `func`, and the function that pulls cotangents of it back to `primals`.

    Args:
        func: a function of `primals`.
        primals: tensors or pytrees.
        has_aux: `func` returns ``(output, aux)``.

    Returns:
        ``(output, vjp_fn)`` or ``(output, vjp_fn, aux)``. `vjp_fn` takes cotangents in the structure of the output and gives a tuple with a gradient for each primal.

    Examples:
        >>> import neurarust_jax as nr
        >>> output, vjp_fn = nr.vjp(nr.sin, nr.tensor([0.0, 0.0]))
        >>> vjp_fn(nr.ones(2))
        (tensor([1., 1.]),)
    """
    split = _Split(primals, range(len(primals)), "vjp")

    @functools.wraps(func)
    def transformed(arguments: tuple, named: dict[str, Any], reached: Places | None) -> Any:
        inside = _Split(arguments, range(len(arguments)), "vjp")
        pure = _Pure(func, inside, named, has_aux, reached)
        with dtypes.x64(), explained() as told:
            values, pull, rest = jax.vjp(pure, inside.leaves, has_aux=True)
        aux = pure.finish(*rest)

        def transposed(cotangents: Any) -> Any:
            with explained(told):
                (gradients,) = pull([_conjugate(c) if c.dtype.kind in "fcV" else np.zeros(c.shape, jax.dtypes.float0) for c in cotangents])
            return jax.tree.map(lambda g, x: jnp.zeros(x.shape, x.dtype) if g.dtype == jax.dtypes.float0 else _conjugate(g), gradients, inside.leaves)

        return Packed(pure.output.form, values), Linear(transposed, values, reached is not None), aux

    output, linear, aux = taped("vjp", transformed)(*primals)
    shapes = linear.shapes

    def vjp_fn(*cotangents: Any) -> Any:
        """Gradients at the primals."""
        given = jax.tree.leaves(cotangents[0] if len(cotangents) == 1 else cotangents, is_leaf=is_tensor)
        _check_shapes("vjp", given, shapes)
        return unpacked(split.pack(linear(given)))

    return (output, vjp_fn, aux) if has_aux else (output, vjp_fn)


def _conjugate(x: Any) -> Any:
    return jax.numpy.conj(x) if x.dtype.kind == "c" else x


def _check_shapes(name: str, given: Sequence[Any], wanted: Sequence[Any]) -> None:
    if [tuple(g.shape) for g in given] != [tuple(w.shape) for w in wanted]:
        raise ShapeError(f"{name}: expected shapes {[tuple(w.shape) for w in wanted]}, got {[tuple(g.shape) for g in given]}")


def jvp(func: Callable, primals: Sequence[Any], tangents: Sequence[Any], *, strict: bool = False, has_aux: bool = False) -> Any:
    """The output of `func` at `primals`, and its derivative along `tangents` (forward mode).

    Args:
        func: a function of the primals.
        primals: a tuple of tensors or pytrees.
        tangents: a tuple of the same structure and shapes.
        strict: accepted and without effect.
        has_aux: `func` returns ``(output, aux)``.

    Returns:
        ``(output, tangent)`` or ``(output, tangent, aux)``.
    """
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise ArgumentError("jvp takes tuples: nr.func.jvp(f, (x,), (t,))")

    @functools.wraps(func)
    def transformed(arguments: tuple, named: dict[str, Any], reached: Places | None) -> Any:
        primals, tangents = arguments
        split = _Split(tuple(primals), range(len(primals)), "jvp")
        given = [Packing(t) for t in tangents]
        directions = [[value_of(x) for x, fixed in zip(p.leaves, _fixed_leaves(p), strict=True) if not fixed] for p in given]
        for number, (primal, direction) in enumerate(zip(split.leaves, directions, strict=True)):
            _check_shapes(f"jvp, tangents[{number}]", direction, primal)
        pure = _Pure(func, split, named, has_aux, reached, forward=True)
        with dtypes.x64(), explained():
            values, tangent, rest = jax.jvp(pure, (split.leaves,), (directions,), has_aux=True)
        aux = pure.finish(*rest)
        output = Packed(pure.output.form, values), Packed(pure.output.form, tangent)
        return (*output, aux) if has_aux else output

    return taped("jvp", transformed)(primals, tangents)


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """The output of `func` at `primals`, and the linear function that maps tangents to the output's tangent."""

    @functools.wraps(func)
    def transformed(arguments: tuple, named: dict[str, Any], reached: Places | None) -> Any:
        split = _Split(arguments, range(len(arguments)), "linearize")
        pure = _Pure(func, split, named, False, reached, forward=True)
        with dtypes.x64(), explained():
            values, push, rest = jax.linearize(pure, split.leaves, has_aux=True)
        pure.finish(*rest)
        ends = list(itertools.accumulate(map(len, split.leaves)))
        flat = [x for leaves in split.leaves for x in leaves]
        linear = Linear(lambda directions: push([directions[a:b] for a, b in zip([0, *ends], ends, strict=False)]), flat, reached is not None)
        return Packed(pure.output.form, values), linear

    output, linear = taped("linearize", transformed)(*primals)
    packing = Packing(output)

    def jvp_fn(*tangents: Any) -> Any:
        """The output's tangent."""
        given = [x for t in tangents for x in jax.tree.leaves(t, is_leaf=is_tensor)]
        _check_shapes("linearize", given, linear.shapes)
        return packing.unpack(linear(given))

    return output, jvp_fn


def _jacobian(compute: Callable, func: Callable, argnums: int | Sequence[int], has_aux: bool, name: str) -> Callable:
    """A transformation that gives Jacobians; ``compute(pure, leaves)`` gives those of the leaves, as JAX does, and the rest of what `pure` returns."""

    @functools.wraps(func)
    def transformed(arguments: tuple, named: dict[str, Any], reached: Places | None) -> Any:
        split = _Split(arguments, argnums, name)
        pure = _Pure(func, split, named, has_aux, reached, forward=name == "jacfwd")
        with dtypes.x64(), explained():
            jacobians, rest = compute(pure, split.leaves)
        aux = pure.finish(*rest)
        result = pure.output.form.ordered.unflatten([split.pack(row) for row in jacobians])
        return (result, aux) if has_aux else result

    return taped(name, transformed)


def _rows(pure: _Pure, leaves: Any, chunk_size: int | None) -> Any:
    """The Jacobians in reverse mode, `chunk_size` rows at a time."""
    if chunk_size is None:
        return jax.jacrev(pure, has_aux=True)(leaves)
    values, pull, rest = jax.vjp(pure, leaves, has_aux=True)
    zeros = [jnp.zeros(v.shape, v.dtype) for v in values]

    def of_output(number: int, value: Any) -> Any:
        def row(index: Any) -> Any:
            unit = (jnp.arange(value.size) == index).astype(value.dtype).reshape(value.shape)  # made in the loop: all of them would be as large as the result
            return pull([unit if i == number else z for i, z in enumerate(zeros)])[0]

        rows = jax.lax.map(row, jnp.arange(value.size), batch_size=chunk_size)
        return jax.tree.map(lambda r: r.reshape(*value.shape, *r.shape[1:]), rows)

    return [of_output(i, v) for i, v in enumerate(values)], rest


def _columns(pure: _Pure, leaves: list[list[Any]], randomness: str) -> Any:
    """The Jacobians in forward mode. Under randomness `"same"` all columns have the same random numbers, under `"different"` each its own."""
    flat, structure = jax.tree.flatten(leaves)
    ends = np.cumsum([x.size for x in flat])

    def column(number: Any, unit: Any) -> Any:
        tangents = [t.reshape(x.shape).astype(x.dtype) for t, x in zip(jnp.split(unit, ends[:-1]), flat, strict=True)]
        trace = BatchTrace(randomness, number, "jacfwd")
        with trace:
            _, tangent, (aux, written) = jax.jvp(pure, (leaves,), (jax.tree.unflatten(structure, tangents),), has_aux=True)
            return tangent, (aux, [trace.after(c, v) for c, v in zip(pure.lifted.cells, written, strict=True)])

    total = int(ends[-1])
    columns, rest = jax.vmap(column, out_axes=(-1, None))(jnp.arange(total, dtype=np.uint32), jnp.eye(total, dtype=jnp.result_type(*flat)))

    def of_output(joined: Any) -> Any:
        parts = jnp.split(joined, ends[:-1], axis=-1)
        return jax.tree.unflatten(structure, [p.reshape(*joined.shape[:-1], *x.shape) for p, x in zip(parts, flat, strict=True)])

    return [of_output(c) for c in columns], rest


def jacrev(func: Callable, argnums: int | Sequence[int] = 0, *, has_aux: bool = False, chunk_size: int | None = None) -> Callable:
    """The function that computes the Jacobian of `func` in reverse mode: cheap for few outputs.

    Args:
        func: a function of tensors or pytrees.
        argnums: by which positional arguments to differentiate.
        has_aux: `func` returns ``(output, aux)``.
        chunk_size: how many rows to compute at a time, which bounds the memory. Default: all.

    Returns:
        A function that gives, for an output of shape O and an argument of shape I, a tensor of shape O + I; pytrees of them for pytrees.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.jacrev(lambda x: x**2)(nr.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ArgumentError(f"jacrev: `chunk_size` should be greater than 0, got {chunk_size}")
    return _jacobian(functools.partial(_rows, chunk_size=chunk_size), func, argnums, has_aux, "jacrev")


def jacfwd(func: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False, *, randomness: str = "error") -> Callable:
    """The function that computes the Jacobian of `func` in forward mode: cheap for few inputs.

    Args:
        func: a function of tensors or pytrees.
        argnums: by which positional arguments to differentiate.
        has_aux: `func` returns ``(output, aux)``.
        randomness: what a random operation inside does: `"error"` raises, `"different"` draws for each column, `"same"` draws once for all.

    Returns:
        A function as that of `jacrev`.
    """
    check_randomness(randomness)
    return _jacobian(functools.partial(_columns, randomness=randomness), func, argnums, has_aux, "jacfwd")


def hessian(func: Callable, argnums: int | Sequence[int] = 0) -> Callable:
    """The function that computes the Hessian of `func`: forward mode over reverse mode."""
    return jacfwd(jacrev(func, argnums), argnums)
