"""The dispatcher: `@op` makes a public function of a pure one, and `call` decides how it runs.

An op is one pure function over `jax.numpy`. Its annotations say how each argument reaches it:

- `Array`, `Array | None`, `Array | float`: traced. Takes tensors, arrays and Python numbers (weakly typed);
- `Sequence[Array]`: traced, one by one;
- anything else is static: part of the key under which the compiled function is kept. `Shape` is a tuple of ints that may also be
  given as separate arguments; `Number` is a Python number whose type matters (`2` and `2.0` compile apart).

All shape, dtype and promotion logic stands inside the function, so it runs when XLA compiles and costs nothing per call. An op runs *eagerly*
(one cached compiled call), *recorded* (the same, and a `Node` goes on the tape), or *traced* (inlined into the transformation around it).
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import jax
import numpy as np

from . import dtypes
from .autograd.graph import Hollow, Node, mode, note_scope
from .dtypes import enter_x64, leave_x64
from .errors import ArgumentTypeError
from .tensor import Tensor, array_from, attach, wrap

Array = jax.Array
Shape = Annotated[tuple[int, ...], "also as separate arguments"]
Number = Annotated[float, "typed"]

OPS: dict[str, Op] = {}
"""Every op by its name in `nr`, with dots for namespaces (`"linalg.inv"`)."""


class Kernel:
    """A pure function of traced positional arguments, compiled: an op with its static arguments fixed.

    Attributes:
        name: the op's name.
        function: the pure function.
        run: the same, compiled. Under a transformation it is traced once per shape and then inlined.
        linear: its backward pass reads no floating-point input.
        keeps_vjp: its forward pass is too dear to be computed again in the backward pass.
        fixed: the static arguments, by name.
        tensors: which of the first two arguments may not be Python numbers: `"both"`, `"first"`, `"one"` of the two, or `""` for none.
        variants: kernels made from this one, by what asked for them: those that convert their inputs first, under `amp.autocast`.
    """

    __slots__ = ("name", "function", "run", "linear", "keeps_vjp", "fixed", "tensors", "variants", "_vjps", "_recorded")

    def __init__(self, name: str, function: Callable, linear: bool = False, keeps_vjp: bool = False, fixed: dict[str, Any] | None = None):
        self.name = name
        self.function = function
        self.fixed = fixed or {}
        self.tensors = ""
        self.variants: dict[Any, Kernel] = {}
        self.run = jax.jit(function, inline=True)
        self.linear = linear
        self.keeps_vjp = keeps_vjp
        self._vjps: dict[Any, Kernel] = {}
        self._recorded: dict[tuple[int, ...], Callable] = {}

    def record(self, positions: tuple[int, ...]) -> Callable:
        """The compiled function of the inputs that gives (outputs, vjp with respect to `positions`)."""
        found = self._recorded.get(positions)
        if found is None:
            found = self._recorded[positions] = jax.jit(functools.partial(_outputs_and_vjp, self.function, positions), inline=True)
        return found

    def vjp(self, positions: tuple[int, ...], given: tuple[bool, ...], hollow: tuple) -> Kernel:
        """The kernel of (inputs that are not hollow, cotangents that are given) that returns the gradients at `positions`."""
        key = (positions, given, hollow)
        found = self._vjps.get(key)
        if found is None:

            def backward(*arguments):
                arguments = iter(arguments)
                values = [next(arguments) if h is None else Hollow(*h) for h in hollow]
                cotangents = [next(arguments) if g else None for g in given]
                return pull_back(self.function, positions, values, cotangents)

            found = self._vjps[key] = Kernel(f"{self.name}_backward", backward)
        return found


def _inexact(x: Any) -> bool:
    return np.dtype(x.dtype).kind in "fcV"


def _split_vjp(function: Callable, positions: tuple[int, ...], values: Sequence[Any]) -> tuple[Any, list[Any], Callable]:
    """(all outputs, those that have gradients, their vjp)."""
    values = [jax.numpy.zeros(v.shape, v.dtype) if isinstance(v, Hollow) else v for v in values]

    def of_differentiated(*differentiated):
        arguments = list(values)
        for position, value in zip(positions, differentiated, strict=True):
            arguments[position] = value
        outputs = function(*arguments)
        return [o for o in jax.tree.leaves(outputs) if _inexact(o)], outputs

    floating, vjp, outputs = jax.vjp(of_differentiated, *(values[p] for p in positions), has_aux=True)
    return outputs, floating, vjp


def _outputs_and_vjp(function: Callable, positions: tuple[int, ...], *values: Any) -> tuple[Any, Any]:
    outputs, _, vjp = _split_vjp(function, positions, values)
    return outputs, vjp


def pull_back(function: Callable, positions: tuple[int, ...], values: Sequence[Any], cotangents: Sequence[Any]) -> tuple[Any, ...]:
    """Gradients at `positions` from the cotangents of all outputs, `None` where no gradient came."""
    outputs, floating, vjp = _split_vjp(function, positions, values)
    given = [c for c, o in zip(cotangents, jax.tree.leaves(outputs), strict=True) if _inexact(o)]
    return apply_vjp(vjp, [jax.numpy.zeros(o.shape, o.dtype) if c is None else c for c, o in zip(given, floating, strict=True)])


def apply_vjp(vjp: Callable, cotangents: list[Any]) -> tuple[Any, ...]:
    """Call JAX's vjp by PyTorch's convention, whose complex gradients are the conjugates of JAX's."""
    return tuple(_conjugate(g) for g in vjp([_conjugate(c) for c in cotangents]))


def _conjugate(x: Any) -> Any:
    return jax.numpy.conj(x) if x.dtype.kind == "c" else x


# --- the call ------------------------------------------------------------------------------------------------------

_NUMBERS: set[type] = {bool, int, float, complex}
_READY: set[type] = {type(None)}  # argument types that go to the compiled function as they are, besides Python numbers
_CONCRETE: set[type] = set()  # types of arrays that hold values, found as they appear: JAX names none publicly


def _convert(argument: Any) -> Any:
    """An argument that is neither a Tensor nor known to be ready, as an array."""
    if argument is _REQUIRED:
        raise ArgumentTypeError("a required tensor argument is missing")
    if isinstance(argument, jax.Array):
        if not isinstance(argument, jax.core.Tracer):
            _READY.add(type(argument))
            _CONCRETE.add(type(argument))
        return argument
    if isinstance(argument, np.generic) and argument.dtype.kind in "biufc":
        return np.asarray(argument)
    return array_from(argument)


listener: Callable[[Kernel, list[Any]], Any] | None = None
"""Takes the place of running a kernel in this process, where an export or a counter wants to know which ops run on what."""


def run_kernel(kernel: Kernel, values: Sequence[Any]) -> Any:
    """Run a kernel on values, eagerly or traced, whoever listens."""
    with dtypes.x64():
        return _wrap_outputs(kernel.run(*values))


def call(kernel: Kernel, arguments: Sequence[Any]) -> Any:
    """Run a kernel on tensors, arrays and numbers: eagerly, recorded or traced, as they demand."""
    values = []
    recording = numbers = False
    for argument in arguments:
        kind = type(argument)
        if kind is Tensor or isinstance(argument, Tensor):
            values.append(argument._value)
            if argument._node is not None:
                recording = True
        elif kind in _NUMBERS:
            values.append(argument)
            numbers = True
        elif kind in _READY:
            values.append(argument)
        else:
            values.append(_convert(argument))
    if numbers and kernel.tensors:
        _refuse_numbers(kernel, arguments)
    if recording and mode.grad:
        return _call_recorded(kernel, arguments, values)
    if listener is not None:
        return listener(kernel, values)
    previous = enter_x64(True)
    try:
        output = kernel.run(*values)
    finally:
        leave_x64(previous)
    if type(output) in _CONCRETE:
        tensor = _new(Tensor)
        tensor._value = output
        tensor._node = None  # found faster in the instance than in the class
        return tensor
    return _wrap_outputs(output)


_new = object.__new__


def _refuse_numbers(kernel: Kernel, arguments: Sequence[Any]) -> None:
    """Raise PyTorch's error if numbers stand where it takes tensors."""
    names, function = OPS[kernel.name].traced, kernel.name.lstrip("_")
    if kernel.tensors == "one":
        if all(type(argument) in _NUMBERS for argument in arguments[:2]):
            given = ", ".join(type(argument).__name__ for argument in arguments[:2])
            raise ArgumentTypeError(f"{function}() takes at least one tensor, got ({given}); write nr.tensor(x)")
        return
    for position, argument in enumerate(arguments[: 1 if kernel.tensors == "first" else 2]):
        if type(argument) in _NUMBERS:
            what = f"{function}(): argument {names[position].name!r} (position {position + 1})"
            raise ArgumentTypeError(f"{what} must be Tensor, not {type(argument).__name__}; write nr.tensor({argument})")


def _wrap_outputs(output: Any) -> Any:
    if isinstance(output, tuple):
        wrapped = map(_wrap_outputs, output)
        return output._make(wrapped) if hasattr(output, "_make") else tuple(wrapped)
    if isinstance(output, jax.core.Tracer) and not mode.grad and _inexact(output):
        output = jax.lax.stop_gradient(output)  # so that `no_grad` holds for JAX's own gradients too
    elif output is None:
        return None
    else:
        _convert(output)  # notes its type
    return wrap(output)


def decided(truth: Tensor) -> Any:
    """A Python bool where the value is known; inside a transformation the 0-d tensor itself."""
    return truth if isinstance(truth._value, jax.core.Tracer) else bool(truth._value)


def _call_recorded(kernel: Kernel, arguments: Sequence[Any], values: list[Any]) -> Any:
    positions, edges = edges_of(arguments)
    traced = any(isinstance(v, jax.core.Tracer) for v in values)
    vjp = None
    previous = enter_x64(True)
    try:
        if (traced or kernel.keeps_vjp) and not mode.deferred:
            output, vjp = kernel.record(positions)(*values)
        else:
            output = kernel.run(*values)
            if not isinstance(output, tuple):
                traced = isinstance(output, jax.core.Tracer)
    finally:
        leave_x64(previous)
    if kernel.linear and not traced:
        for position, value in enumerate(values):
            if type(value) in _CONCRETE and value.dtype.kind in "fcV" and value.shape:  # a number may be a factor, as `alpha`, and costs nothing to keep
                values[position] = Hollow(value.shape, value.dtype)
    node = Node(kernel, values, positions, edges, vjp, None, traced)
    if traced:
        note_scope(node)
    return record(node, output)


def edges_of(arguments: Sequence[Any]) -> tuple[tuple[int, ...], list[Any]]:
    """The positions of the arguments that require grad, and for each where its gradient goes."""
    positions, edges = [], []
    for position, argument in enumerate(arguments):
        if isinstance(argument, Tensor) and argument._node is not None:
            positions.append(position)
            edges.append((argument._node, argument._index))
    return tuple(positions), edges


def record(node: Node, output: Any) -> Any:
    """Tensors for a node's output, those with gradients tied to the node."""
    if not isinstance(output, tuple):
        tensor = _new(Tensor)
        tensor._value = output
        node.outputs = 1 if node.vjp is None else (Hollow(output.shape, output.dtype),)
        if output.dtype.kind in "fcV":
            tensor._node = node
        return tensor
    tensors = [wrap(o) for o in output]
    node.outputs = len(output) if node.vjp is None else tuple(Hollow(o.shape, o.dtype) for o in output)
    for index, tensor in enumerate(tensors):
        if _inexact(tensor._value):
            tensor._node, tensor._index = node, index
    return output._make(tensors) if hasattr(output, "_make") else tuple(tensors)


# --- the definition ------------------------------------------------------------------------------------------------


class Op:
    """A public function and its compiled variants.

    Attributes:
        name: its name in `nr`, with dots for namespaces.
        function: the pure function it was defined by.
        public: the function that users call.
        traced, static: names of its arguments.
        tensors: which of the first two arguments may not be Python numbers, see `Kernel`.
        methods: names under which it is a method of `Tensor`.
    """

    name: str
    public: Callable

    def __init__(self, name: str, function: Callable, linear: bool, keeps_vjp: bool):
        self.name = name
        self.function = function
        self.linear = linear
        self.keeps_vjp = keeps_vjp
        self.kernels: dict[Any, Kernel] = {}
        self.methods: tuple[str, ...] = ()
        self.tensors = ""
        self.public: Callable = _public_function(self)
        self._others: dict[Any, dict[Any, Kernel]] = {}  # kernels for other settings of the whole program
        self._compiled_for = dtypes._fixed
        dtypes._on_default_change.append(self._exchange_kernels)

    def _exchange_kernels(self) -> None:
        """Take those kernels that were compiled for the settings now in force."""
        if self.kernels:
            self._others[self._compiled_for] = dict(self.kernels)
            self.kernels.clear()
        self._compiled_for = dtypes._fixed
        self.kernels.update(self._others.get(self._compiled_for, {}))

    @functools.cached_property
    def parameters(self) -> list[_Parameter]:
        """The arguments of the function."""
        return _parameters(self.function)

    @functools.cached_property
    def traced(self) -> list[_Parameter]:
        """Those that are traced."""
        return [p for p in self.parameters if p.kind in ("array", "arrays")]

    @functools.cached_property
    def static(self) -> list[_Parameter]:
        """Those that are fixed in a compiled function."""
        return [p for p in self.parameters if p.kind not in ("array", "arrays")]

    def kernel(self, key: tuple[Any, ...]) -> Kernel:
        """The kernel for static arguments that were not met in this form: bring them into the usual form and look again."""
        values, lengths = key[: len(self.static)], key[len(self.static) :]
        for p, value in zip(self.static, values, strict=True):
            if value is _REQUIRED:
                raise ArgumentTypeError(f"{self.name}() missing required argument: {p.name!r}")
        values = tuple(_usual_form(v, p.kind == "shape") for v, p in zip(values, self.static, strict=True))
        try:
            usual = values + lengths
            found = self.kernels.get(usual)
        except TypeError:
            names = [p.name for p, v in zip(self.static, values, strict=True) if not _hashable(v)]
            raise ArgumentTypeError(f"{self.name}() cannot take {', '.join(names)} of type {type(values[0]).__name__}: expected plain Python values") from None
        if found is None:
            fixed = {p.name: v for p, v in zip(self.static, values, strict=True)}
            counts = lengths[len([p for p in self.static if p.kind == "number"]) :]
            found = Kernel(self.name, _pure(self, fixed, counts), self.linear, self.keeps_vjp, fixed)
            found.tensors = self.tensors
            self.kernels[usual] = found
        return found

    def __repr__(self) -> str:
        return f"<op {self.name}>"


class _Parameter(typing.NamedTuple):
    name: str
    kind: str  # array, arrays, shape, number, static
    keyword_only: bool
    default: Any


_REQUIRED = object()


def _parameters(function: Callable) -> list[_Parameter]:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    defaults = dict(function.__kwdefaults__ or {})
    positional = names[: code.co_argcount]
    given = function.__defaults__ or ()
    defaults.update(zip(positional[len(positional) - len(given) :], given, strict=True))
    return [_Parameter(n, _kind(function.__annotations__.get(n)), i >= code.co_argcount, defaults.get(n, _REQUIRED)) for i, n in enumerate(names)]


def _kind(annotation: Any) -> str:
    if isinstance(annotation, str):
        raise ArgumentTypeError(f"the annotation {annotation!r} of an op is text: an op's file must not import annotations from __future__")
    if annotation is Shape:
        return "shape"
    if annotation is Number:
        return "number"
    if annotation is Array or (isinstance(annotation, types.UnionType) and Array in annotation.__args__):
        return "array"
    if typing.get_origin(annotation) is Sequence and typing.get_args(annotation) == (Array,):
        return "arrays"
    return "static"


def _pure(op: Op, fixed: dict[str, Any], counts: tuple[int, ...]) -> Callable:
    """The op's function with its static arguments fixed, of flat traced ones."""
    function, traced = op.function, op.traced

    def pure(*values):
        values, left = iter(values), iter(counts)
        arguments = dict(fixed)
        for parameter in traced:
            if parameter.kind == "arrays":
                arguments[parameter.name] = [next(values) for _ in range(next(left))]
            else:
                value = next(values)
                arguments[parameter.name] = parameter.default if value is None and parameter.default is not _REQUIRED else value
        return function(**arguments)

    pure.__name__ = pure.__qualname__ = op.name
    return pure


def _usual_form(value: Any, is_shape: bool = False) -> Any:
    """Lists as tuples; NumPy numbers and tensors of one element as Python numbers."""
    if isinstance(value, Tensor | np.generic | np.ndarray | jax.Array):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(map(_usual_form, value))
    return (value,) if is_shape and value is not None else value


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _public_function(op: Op) -> Callable:
    """The function that users call. Its code is generated at the first call, so that an op costs nothing to import."""
    namespace = {"_op": op, "_kernels": op.kernels, "_call": call, "_named": _named, "_generate": _generate, "_is_symbolic": jax.export.is_symbolic_dim}
    public = types.FunctionType(_at_first_call.__code__, namespace, op.name.rpartition(".")[2])
    functools.update_wrapper(public, op.function)
    public.op = op  # type: ignore[attr-defined]
    return public


def _at_first_call(*arguments: Any, **named: Any) -> Any:
    return _generate(_op)(*arguments, **named)  # type: ignore[name-defined]  # noqa: F821 (the namespace of the op)


def _generate(op: Op) -> Callable:
    """Give the public function code that binds its arguments at the speed of any Python function, and looks up the kernel."""
    namespace = op.public.__globals__
    signature, before, keyword_only, missing = [], [], False, ""
    for p in op.parameters:
        if p.kind == "shape":
            signature.append(f"*{p.name}")
            keyword_only = True
            before.append(f"if len({p.name}) == 1 and not isinstance({p.name}[0], int) and not _is_symbolic({p.name}[0]): {p.name} = {p.name}[0]")
            if p.default is not _REQUIRED:
                before.append(f"elif not {p.name}: {p.name} = _default_{p.name}")
                namespace[f"_default_{p.name}"] = p.default
            continue
        if p.keyword_only and not keyword_only:
            signature.append("*")
            keyword_only = True
        if p.kind == "arrays":
            before.append(f"{p.name} = tuple({p.name})")
        if p.default is _REQUIRED and p.kind == "static" and p.name in _ALIASES and not keyword_only:
            missing = "=_missing"  # it may come under its other name, and what follows it by name too
            namespace["_missing"] = _REQUIRED
        if p.default is _REQUIRED:
            signature.append(p.name + ("" if keyword_only else missing))
        else:
            signature.append(f"{p.name}=_default_{p.name}")
            namespace[f"_default_{p.name}"] = p.default
    names = [p.name for p in op.parameters]
    before.insert(0, f"if named: {', '.join(names)}, = _named(_op, named, ({', '.join(names)},))") if names else before.insert(0, "if named: _named(_op, named, ())")
    traced = []
    for p in op.traced:
        if p.kind == "arrays":
            traced.append(f"*{p.name}")
        elif p.default is None or p.default is _REQUIRED:
            traced.append(p.name)
        else:
            traced.append(f"None if {p.name} is _default_{p.name} else {p.name}")
    key = [p.name for p in op.static]
    key += [f"type({p.name})" for p in op.static if p.kind == "number"]
    key += [f"len({p.name})" for p in op.traced if p.kind == "arrays"]
    body = [*before]
    if key:
        body += [f"try: kernel = _kernels[{', '.join(key)},]", f"except (KeyError, TypeError): kernel = _op.kernel(({', '.join(key)},))"]
    else:
        body += ["try: kernel = _kernels[()]", "except KeyError: kernel = _op.kernel(())"]
    body.append(f"return _call(kernel, ({''.join(t + ', ' for t in traced)}))")
    short = op.name.rpartition(".")[2]
    source = f"def {short}({', '.join([*signature, '**named'])}):\n" + "".join(f"    {line}\n" for line in body)
    exec(compile(source, f"<op {op.name}>", "exec"), namespace)  # noqa: S102
    generated = namespace.pop(short)
    op.public.__code__, op.public.__defaults__, op.public.__kwdefaults__ = generated.__code__, generated.__defaults__, generated.__kwdefaults__
    return op.public


# --- what comes between an op's function and its kernel ---------------------------------------------------------------
# Autocast and the search for anomalies look at every call while they are on. While they are off, no op's function knows of them.

_around: dict[str, tuple[frozenset[str] | None, Callable[[Callable], Callable]]] = {}


def put_around(owner: str, names: frozenset[str] | None, wrapper: Callable[[Callable], Callable] | None) -> None:
    """Let the ops of these names (`None`: all) run their kernels by ``wrapper(call)``; without a wrapper, as before. Of several owners the last in the alphabet is innermost."""
    _around.pop(owner, None)
    if wrapper is not None:
        _around[owner] = names, wrapper
    if _around.keys() <= {owner} and names is not None:
        chosen = call if wrapper is None else wrapper(call)
        for namespace in _namespaces(names):
            namespace["_call"] = chosen
        return
    wrappers = [pair for _, pair in sorted(_around.items(), reverse=True)]
    for op in OPS.values():
        chosen = call
        for among, wrap_call in wrappers:
            if among is None or op.name in among:
                chosen = wrap_call(chosen)
        op.public.__globals__["_call"] = chosen


@functools.lru_cache(8)
def _namespaces(names: frozenset[str]) -> list[dict[str, Any]]:
    """Where the functions of these ops look up what runs their kernels."""
    return [OPS[name].public.__globals__ for name in names]


_ALIASES = {"dim": "axis", "keepdim": "keepdims", "input": "x", "other": "x2"}


def _named(op: Op, named: dict[str, Any], values: Sequence[Any]) -> list[Any]:
    """Values of all arguments after the NumPy-style names in `named` are taken in."""
    values = list(values)
    for position, p in enumerate(op.parameters):
        for name in (p.name, _ALIASES.get(p.name)):
            if name in named:
                values[position] = named.pop(name)
                if p.kind == "shape":
                    values[position] = (values[position],)
    if named.pop("out", None) is not None:
        raise ArgumentTypeError(f"{op.name}() takes no out=: a Tensor's value never changes here. Write instead:  out = nr.{op.name}(...)")
    named.pop("memory_format", None)
    if named:
        wanted = ", ".join(p.name for p in op.parameters)
        raise ArgumentTypeError(f"{op.name}() got an unexpected keyword argument {next(iter(named))!r}; its arguments are {wanted}")
    return values


def op(
    function: Callable | None = None, *, name: str | None = None, method: bool | str | Sequence[str] = True, linear: bool = False, keeps_vjp: bool = False,
    tensors: str = "",
) -> Any:  # fmt: skip
    """Make a public function of a pure one over `jax.numpy`.

    Args:
        function: the pure function; its docstring becomes the public one.
        name: its name in `nr`, if it is not the function's; namespaces with dots.
        method: whether it is a method of `Tensor` too, or under which names.
        linear: its backward pass reads no floating-point input, so that the tape need not keep them.
        keeps_vjp: its forward pass is dear: keep its residuals, rather than computing it again in the backward pass.
        tensors: which of the first two arguments may not be Python numbers: `"both"`, `"first"`, or `"one"` of the two.

    Examples:
        >>> import jax.numpy as jnp
        >>> from neurarust_jax.dispatch import Array, op
        >>> @op(method=False)
        ... def triple(input: Array) -> Array:
        ...     return input * 3
    """
    if function is None:
        return functools.partial(op, name=name, method=method, linear=linear, keeps_vjp=keeps_vjp, tensors=tensors)
    made = Op(name or function.__name__, function, linear, keeps_vjp)
    made.tensors = tensors
    if method:
        made.methods = (made.name,) if method is True else (method,) if isinstance(method, str) else tuple(method)
        for method_name in made.methods:
            attach(method_name, made.public)
    OPS[made.name] = made
    return made.public
