"""PyTorch's own operator database as the oracle: for each of its operators ours, its samples for both libraries, and their comparison."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo

import neurarust_jax as nr
from tests.oracle import TOLERANCE, assert_same

LEFT_OUT = {
    "_batch_norm_with_update _native_batch_norm_legit native_batch_norm native_layer_norm native_group_norm": "internal forms of batch_norm, layer_norm, group_norm",
    "_chunk_cat _segment_reduce _softmax_backward_data _unsafe_masked_index _unsafe_masked_index_put_accumulate _upsample_bilinear2d_aa hash_tensor": "not public",
    "max_pool2d_with_indices_backward native_dropout_backward grid_sampler_2d grid_sampler_3d": "internal forms of functions of nn.functional",
    "jiterator_2inputs_2outputs jiterator_4inputs_with_extra_args jiterator_binary jiterator_binary_return_by_ref jiterator_unary": "compiles CUDA source",
    "sparse.mm sparse.sampled_addmm to_sparse torch._scaled_mm torch._scaled_mm_v2": "sparse and scaled layouts are out of scope",
    "chalf": "XLA has no complex numbers in half precision",
    "resize_ resize_as_": "storages are out of scope",
    "torch.ops.aten._efficient_attention_forward torch.ops.aten._flash_attention_forward torch.ops.aten._safe_softmax.default": "not public",
    "cauchy exponential geometric log_normal uniform normal/in_place": "write into a tensor; cells have them, and tests of their own",
    "zero_ __rdiv__ slice": "write into a tensor, or no public names",
}
REASONS = {name: reason for names, reason in LEFT_OUT.items() for name in names.split()}

RANDOM = set(
    "bernoulli multinomial normal rand_like randn randn_like randint randint_like rrelu nn.functional.rrelu nn.functional.dropout nn.functional.dropout2d "
    "nn.functional.dropout3d nn.functional.alpha_dropout nn.functional.feature_alpha_dropout nn.functional.multi_head_attention_forward "
    "nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool3d".split()
)
UNSPECIFIED = RANDOM | {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"}  # only shape and dtype compare
NAMES_ONE_OF_EQUALS = {"sort", "argsort", "topk", "kthvalue", "mode"}  # which of equal elements an index names is unspecified


class Entry:
    """An operator of the database with our counterpart.

    Attributes:
        info: PyTorch's record of the operator.
        name: its name there, with the variant after a slash.
        ours, theirs: the functions to compare; `ours` is `None` where we have none.
    """

    def __init__(self, info: Any):
        self.info = info
        self.name = info.name + (f"/{info.variant_test_name}" if info.variant_test_name else "")
        self.theirs = info.op
        self.ours = _ours(info)

    def samples(self, dtype: torch.dtype, requires_grad: bool = False, limit: int | None = None, reference: bool = False) -> list[Any]:
        """Samples of the database, spread evenly over all of them if there are more than `limit`; with `reference` those that PyTorch compares with NumPy."""
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = list(islice((self.info.reference_inputs if reference else self.info.sample_inputs)("cpu", dtype, requires_grad=requires_grad), 400))
        if self.info.name == "svd_lowrank":  # with M the rank is not low, and the result as random as the projection
            found = [s for s in found if "M" not in s.kwargs]
        if self.info.name == "nn.functional.scaled_dot_product_attention":  # random
            found = [s for s in found if not s.kwargs.get("dropout_p")]
        if limit is not None and len(found) > limit:
            found = [found[i * len(found) // limit] for i in range(limit)]
        return [_with_gradients(s) for s in found] if requires_grad else found


def entries() -> Iterator[Entry]:
    """All operators that are in scope."""
    for info in op_db:
        if info.name not in REASONS and (entry := Entry(info)).name not in REASONS:
            yield entry


def has_reference_samples(entry: Entry) -> bool:
    """Whether the database has other samples for the comparison with NumPy: extreme values, mixed dtypes, more shapes."""
    return entry.info.reference_inputs_func is not None or type(entry.info).reference_inputs is not OpInfo.reference_inputs


def _with_gradients(sample: Any) -> Any:
    """The sample with copies of views that were made without a graph: autograd finds no gradient at them."""
    for name, x in sample.kwargs.items():
        if isinstance(x, torch.Tensor) and x.requires_grad and x.is_leaf and x._is_view():
            sample.kwargs[name] = x.detach().clone().requires_grad_()
    return sample


def _ours(info: Any) -> Callable | None:
    if info.op.__name__ == "<lambda>":  # written over the module `torch`: the same over ours
        f = info.op
        return types.FunctionType(f.__code__, {**f.__globals__, "torch": nr, "np": np}, f.__name__, f.__defaults__, f.__closure__)
    for root in (nr, nr.Tensor):
        found = root
        for part in info.name.split("."):
            found = getattr(found, part, None)
        if callable(found):  # `nr.cfloat` is a dtype, `Tensor.cfloat` the method
            return found
    return None


def convert(x: Any) -> Any:
    """PyTorch's values as ours: tensors, dtypes, and containers of them."""
    if isinstance(x, torch.Tensor):
        value = x.detach().resolve_conj().resolve_neg()
        value = nr.tensor(value.float().numpy()).to(nr.bfloat16) if x.dtype == torch.bfloat16 else nr.tensor(np.array(value.numpy()))
        return value.requires_grad_() if x.requires_grad else value
    if isinstance(x, torch.dtype):
        return getattr(nr, str(x).removeprefix("torch."))
    if isinstance(x, torch.device):
        return x.type
    if isinstance(x, torch.Size):
        return tuple(x)
    if isinstance(x, list | tuple):
        return type(x)(map(convert, x))
    if isinstance(x, slice):
        return slice(convert(x.start), convert(x.stop), convert(x.step))
    if isinstance(x, dict):
        return {name: convert(value) for name, value in x.items()}
    if isinstance(x, torch.nn.Module):
        return getattr(nr.nn, type(x).__name__)()
    if type(x).__name__ == "LinearCrossEntropyOptions":
        return nr.nn.LinearCrossEntropyOptions(**convert({field: getattr(x, field) for field in x.__dataclass_fields__}))
    if callable(x) and hasattr(nr.nn.functional, getattr(x, "__name__", "")):
        return getattr(nr.nn.functional, x.__name__)
    return x


def leaves(x: Any) -> list[Any]:
    """All tensors of either library in nested containers, in order."""
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, list | tuple):
        return [leaf for element in x for leaf in leaves(element)]
    return [x] if isinstance(x, torch.Tensor | nr.Tensor) else []


_COARSE = {  # (rtol, atol) in single precision of ops that add up many terms or whose results are large; in double precision a millionth of it
    "matrix_exp linalg.matrix_exp": (1e-4, 0.2),
    "nn.functional.conv_transpose3d": (1e-4, 1e-4),
}
COARSE = {name: bound for names, bound in _COARSE.items() for name in names.split()}


def tolerance(entry: Entry, dtype: torch.dtype, theirs: Any = ()) -> tuple[float, float]:
    """(rtol, atol) for an operator; in half precision, where PyTorch rounds every intermediate result, in proportion to its greatest value."""
    if dtype in (torch.bfloat16, torch.float16):
        bound = 0.04 if dtype == torch.bfloat16 else 0.01
        greatest = max((float(t.detach().abs().float().nan_to_num(0, 0, 0).max()) for t in leaves(theirs) if t.numel() and t.dtype == dtype), default=0.0)
        return bound, bound * max(greatest, 1.0)
    if entry.info.name in COARSE:
        rtol, atol = COARSE[entry.info.name]
        return (rtol, atol) if dtype in (torch.float32, torch.complex64) else (rtol * 1e-6, atol * 1e-6)
    rtol, atol = TOLERANCE.get(str(dtype).removeprefix("torch."), (1e-5, 1e-5))  # integers become float32 in many ops
    return max(rtol * 5, 1e-7), max(atol * 5, 1e-7)


def without_layout(sample: Any) -> Any:
    """The sample without arguments that say how elements lie in memory."""
    if "memory_format" in sample.kwargs or "layout" in sample.kwargs:
        sample.kwargs = {n: v for n, v in sample.kwargs.items() if n not in ("memory_format", "layout")}
    return sample


def replaced(x: Any, given: dict[int, Any]) -> Any:
    """Nested containers of our tensors with others in their places, by `id`."""
    if isinstance(x, nr.Tensor):
        return given[id(x)]
    if isinstance(x, list | tuple):
        elements = [replaced(element, given) for element in x]
        return type(x)(*elements) if hasattr(x, "_fields") else type(x)(elements)
    if isinstance(x, dict):
        return {name: replaced(value, given) for name, value in x.items()}
    return x


def forward(entry: Entry, sample: Any) -> tuple[Any, Any]:
    """(our output, PyTorch's)."""
    sample = without_layout(sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = entry.theirs(sample.input, *sample.args, **sample.kwargs)
        if processes(sample):
            theirs = sample.output_process_fn_grad(theirs)
        ours = entry.ours(convert(sample.input), *convert(sample.args), **convert(sample.kwargs))
        if processes(sample):
            ours = over_ours(sample.output_process_fn_grad)(ours)
    return ours, theirs


def processes(sample: Any) -> bool:
    """Whether the sample makes its output unique, as for eigenvectors, whose sign is free."""
    return sample.output_process_fn_grad is not None and sample.output_process_fn_grad.__code__.co_code != (lambda x: x).__code__.co_code


def over_ours(f: Any) -> Callable:
    """A function written over the module `torch`, over ours."""
    return types.FunctionType(f.__code__, {**f.__globals__, "torch": nr}, f.__name__, f.__defaults__, f.__closure__)


def compare_forward(entry: Entry, sample: Any, dtype: torch.dtype) -> None:
    """Our output has PyTorch's structure, shapes, dtypes and values."""
    compare_output(entry, sample, *forward(entry, sample), dtype)


def compare_output(entry: Entry, sample: Any, ours: Any, theirs: Any, dtype: torch.dtype) -> None:
    """Our output for a sample has the structure, shapes, dtypes and values of PyTorch's."""
    rtol, atol = tolerance(entry, dtype, theirs)
    if entry.info.name in UNSPECIFIED:
        assert [(tuple(o.shape), o.dtype.name) for o in leaves(ours)] == [(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for t in leaves(theirs)]
    elif entry.info.name in NAMES_ONE_OF_EQUALS:
        _compare_named(sample, ours, theirs)
    else:
        assert_same(ours, theirs, rtol, atol)


def _compare_named(sample: Any, ours: Any, theirs: Any) -> None:
    """Indices may differ where they name equal elements."""
    if isinstance(theirs, tuple):
        assert_same(ours[0], theirs[0], 0, 0)
        ours, theirs = ours[1], theirs[1]
    assert (ours.dtype, tuple(ours.shape)) == (nr.int64, tuple(theirs.shape))
    x = sample.input.detach()
    if not x.ndim:
        return
    found = torch.tensor(np.array(ours.detach()))
    ways = [d for d in range(x.ndim) if all(x.shape[e] == found.shape[e] for e in range(x.ndim) if e != d)] if found.ndim == x.ndim else []
    same = [torch.equal(x.gather(d, found), x.gather(d, theirs)) for d in ways if not found.numel() or (found.max() < x.shape[d] and theirs.max() < x.shape[d])]
    assert not same or any(same), "the indices name other elements"


def compare_gradients(entry: Entry, sample: Any, dtype: torch.dtype) -> None:
    """The gradients at all inputs agree for the same cotangents."""
    theirs_in = [x for x in leaves([sample.input, sample.args, sample.kwargs]) if x.requires_grad]
    ours_all = convert([sample.input, sample.args, sample.kwargs])
    ours_in = [x for x in leaves(ours_all) if x.requires_grad]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = entry.theirs(sample.input, *sample.args, **sample.kwargs)
        ours = entry.ours(ours_all[0], *ours_all[1], **ours_all[2])
        if processes(sample):
            theirs, ours = sample.output_process_fn_grad(theirs), over_ours(sample.output_process_fn_grad)(ours)
    pairs = [(o, t) for o, t in zip(leaves(ours), leaves(theirs), strict=True) if t.requires_grad]
    assert all(o.requires_grad for o, _ in pairs), "an output does not require grad"
    if not pairs:
        return
    generator = np.random.default_rng(0)
    cotangents = []
    for _, t in pairs:
        values = generator.standard_normal(tuple(t.shape))
        cotangents.append(torch.tensor(values + 1j * generator.standard_normal(tuple(t.shape)) if t.is_complex() else values).to(t.dtype))
    expected = torch.autograd.grad([t for _, t in pairs], theirs_in, cotangents, allow_unused=True)
    expected = [torch.zeros(g.shape, dtype=g.dtype) if g is not None and g._is_zerotensor() else g for g in expected]
    got = nr.autograd.grad([o for o, _ in pairs], ours_in, [convert(c) for c in cotangents], allow_unused=True)
    rtol, atol = tolerance(entry, dtype)
    for ours_gradient, theirs_gradient in zip(got, expected, strict=True):
        if theirs_gradient is None or ours_gradient is None:
            other = ours_gradient if theirs_gradient is None else theirs_gradient
            assert other is None or not np.asarray(other.detach()).any()
        else:
            assert_same(ours_gradient, theirs_gradient, rtol, atol)


def compare_second_gradients(entry: Entry, sample: Any, dtype: torch.dtype) -> None:
    """The gradients of a random projection of the gradients agree."""
    theirs_in = [x for x in leaves([sample.input, sample.args, sample.kwargs]) if x.requires_grad]
    ours_all = convert([sample.input, sample.args, sample.kwargs])
    ours_in = [x for x in leaves(ours_all) if x.requires_grad]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = entry.theirs(sample.input, *sample.args, **sample.kwargs)
        ours = entry.ours(ours_all[0], *ours_all[1], **ours_all[2])
        if processes(sample):
            theirs, ours = sample.output_process_fn_grad(theirs), over_ours(sample.output_process_fn_grad)(ours)
    found = []
    for outputs, inputs, tensor, grad in ((ours, ours_in, convert, nr.autograd.grad), (theirs, theirs_in, lambda x: x, torch.autograd.grad)):
        generator = np.random.default_rng(0)

        def projected(tensors, tensor=tensor, generator=generator):
            cotangents = [torch.tensor(generator.standard_normal(tuple(t.shape))).to(dtype) for t in tensors]
            return sum((t * tensor(c)).sum() for t, c in zip(tensors, cotangents, strict=True) if t is not None)

        differentiable = [y for y in leaves(outputs) if y.requires_grad and str(y.dtype).endswith("float64")]
        if not differentiable:
            return
        first = grad(projected(differentiable), inputs, create_graph=True, allow_unused=True)
        first = [g for g in first if g is not None and g.requires_grad]
        found.append(grad(projected(first), inputs, allow_unused=True) if first else [None] * len(inputs))
    rtol, atol = tolerance(entry, dtype)
    for got, expected in zip(*found, strict=True):
        if got is None or expected is None:
            other = expected if got is None else got
            assert other is None or not np.asarray(other.detach()).any()
        else:
            assert_same(got, expected, rtol * 10, atol * 10)
