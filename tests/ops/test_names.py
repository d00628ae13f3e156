"""Names of `torch`, `torch.Tensor` and `torch.func` that belong to no family: covariance, numerical gradients, sums to a size, attributes, settings."""

import warnings

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import assert_same, check, check_both_raise

G = np.random.default_rng(0)
X = G.standard_normal((3, 5)).astype(np.float32)
C = (X + 1j * X[:, ::-1]).astype(np.complex64)
I = G.integers(-5, 6, (3, 5))  # noqa: E741
OFTEN, MUCH = np.array([1, 2, 3, 1, 0]), np.array([0.5, 0.1, 0.2, 1.0, 0.3], np.float32)

# --- covariance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [X, X.astype(np.float64), C, I, X[0], X[0, 0], X[:, :1]], ids=lambda x: f"{x.dtype}{x.shape}")
@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
def test_cov_and_corrcoef_equal_pytorch(x):
    check(nr.cov, torch.cov, x)
    check(nr.corrcoef, torch.corrcoef, x, compiled=False, grad=np.size(x) > 5)


@pytest.mark.parametrize("correction", [0, 1, 2])
@pytest.mark.parametrize("weights", ["fweights", "aweights", "both"])
def test_weights_of_observations(weights, correction):
    def call(library):
        named = {"fweights": lambda f, a: {"fweights": f}, "aweights": lambda f, a: {"aweights": a}, "both": lambda f, a: {"fweights": f, "aweights": a}}[weights]
        return lambda x, f, a: library.cov(x, correction=correction, **named(f, a))

    check(call(nr), call(torch), X, OFTEN, MUCH, compiled=correction == 1)


def test_cov_without_degrees_of_freedom_warns():
    for library in (nr, torch):
        with pytest.warns(UserWarning, match="degrees of freedom"):
            assert not library.isfinite(library.cov(library.ones((2, 3)), correction=3)).any()


def test_what_cov_refuses():
    for options in [
        {"fweights": MUCH}, {"aweights": OFTEN}, {"fweights": -OFTEN}, {"aweights": -MUCH}, {"fweights": OFTEN * 0}, {"fweights": OFTEN[:2]},
        {"aweights": MUCH[None]},
    ]:  # fmt: skip
        (name, weights), = options.items()
        check_both_raise(lambda x, w: nr.cov(x, **{name: w}), lambda x, w: torch.cov(x, **{name: w}), X, weights)  # noqa: B023
    for x in (X[None], X > 0):
        check_both_raise(nr.cov, torch.cov, x)
    check_both_raise(nr.corrcoef, torch.corrcoef, X[None])


# --- numerical gradients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("options", [{}, {"spacing": 2.0}, {"spacing": [0.5, 3]}, {"dim": 1}, {"dim": (1, 0)}, {"dim": -1, "spacing": 1j}], ids=str)
def test_gradient_on_even_grids(options, edge_order):
    for x in (X, X.astype(np.float64), C, I):
        check(nr.gradient, torch.gradient, x, compiled=False, grad=not isinstance(options.get("spacing"), complex), edge_order=edge_order, **options)


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradient_on_uneven_grids(edge_order):
    places = np.array([0.0, 1.0, 3.0]), np.array([-1.0, 0.5, 1.0, 4.0, 4.5])
    for dtype in (np.float32, np.float64):
        check(
            lambda x, a, b: nr.gradient(x, spacing=(a, b), edge_order=edge_order),
            lambda x, a, b: torch.gradient(x, spacing=(a, b), edge_order=edge_order),
            X, *(p.astype(dtype) for p in places),
        )  # fmt: skip
    places = np.array([0, 1, 3, 4, 9])
    check(lambda x, a: nr.gradient(x, spacing=[a], dim=1), lambda x, a: torch.gradient(x, spacing=[a], dim=1), X, places)


def test_what_gradient_refuses():
    for x, options in [
        (X[:1], {}), (X[:2], {"edge_order": 2}), (X, {"edge_order": 3}), (X, {"dim": 2}), (X, {"dim": (1, 1)}), (X, {"spacing": [1.0]}), (X > 0, {}),
        (X, {"spacing": [1.0, 2.0], "dim": 1}), (I.astype(np.uint8), {}),
    ]:  # fmt: skip
        check_both_raise(nr.gradient, torch.gradient, x, **options)
    assert nr.gradient(nr.tensor(1.0)) == () == nr.gradient(nr.tensor(X), dim=())


# --- shapes and copies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(), (5,), (1,), (1, 5), (3, 1), (1, 1), (3, 5)], ids=str)
def test_sum_to_size_equals_pytorch(size):
    for x in (X, I, X > 0, C):
        check(lambda t: t.sum_to_size(size), lambda t: t.sum_to_size(size), x, compiled=False)
    x = nr.tensor(X)
    assert x.sum_to_size(3, 5) is x and nr.Tensor.sum_to_size(x, 1, 5).shape == (1, 5)


def test_sum_to_size_refuses_what_does_not_expand():
    for size in ((2,), (1, 3, 5), (5, 1)):
        check_both_raise(lambda t: t.sum_to_size(size), lambda t: t.sum_to_size(size), X)  # noqa: B023


def test_parts_as_copies():
    check(lambda x: nr.split_copy(x, 2, 1), lambda x: torch.split_copy(x, 2, 1), X)
    check(lambda x: nr.unsafe_split_with_sizes(x, (2, 3), 1), lambda x: torch.unsafe_split_with_sizes(x, (2, 3), 1), X)
    check(lambda x: x.unsafe_split_with_sizes([1, 2]), lambda x: x.unsafe_split_with_sizes([1, 2]), X)
    for arguments in ((), (1,), (1, 1, 4), (0, -2), (1, 0, 99, 2)):
        check(lambda x: nr.slice_copy(x, *arguments), lambda x: torch.slice_copy(x, *arguments), X, compiled=False)  # noqa: B023
    for arguments in ((3,), (0, 0, 1, 0)):
        check_both_raise(lambda x: nr.slice_copy(x, *arguments), lambda x: torch.slice_copy(x, *arguments), X)  # noqa: B023


def test_fill_keeps_shape_and_dtype():
    for x in (X, I, C):
        check(lambda t: nr.fill(t, 2), lambda t: torch.fill(t, 2), x)
    check(nr.fill, torch.fill, X, np.array(2.5, np.float32))
    check(lambda t: nr.fill(t, 2.5), lambda t: torch.fill(t, 2.5), I)
    check_both_raise(nr.fill, torch.fill, X, X[0])


def test_empty_with_strides_and_layouts():
    assert nr.empty_strided((2, 3), (1, 2)).shape == (2, 3) == nr.ones(1).new_empty_strided((2, 3), (3, 1)).shape
    assert nr.empty_permuted((2, 3), (1, 0), dtype=nr.int32).dtype == nr.int32
    for library in (nr, torch):
        with pytest.raises(RuntimeError):
            library.empty_strided((2, 3), (1,))
        with pytest.raises(RuntimeError):
            library.empty_permuted((2, 3), (1, 1))


def test_from_file_reads_numbers(tmp_path):
    path = str(tmp_path / "numbers")
    X.tofile(path)
    assert nr.from_file(path, size=4).tolist() == torch.from_file(path, size=4).tolist()
    assert nr.from_file(path, shared=False, size=2, dtype=nr.int32).dtype == nr.int32
    for name in (path, path + "x"):
        with pytest.raises(RuntimeError):
            nr.from_file(name, size=1000)


def test_dlpack_capsules_are_taken_by_other_libraries():
    np.testing.assert_array_equal(torch.from_dlpack(nr.to_dlpack(nr.tensor(X))).numpy(), X)
    np.testing.assert_array_equal(nr.from_dlpack(torch.tensor(X), copy=True).numpy(), X)


@pytest.mark.parametrize("x", [X, X.astype(np.float64), I, I.astype(np.int32), I > 0], ids=lambda x: f"{x.dtype}{x.shape}")
def test_hash_tensor_equals_pytorch(x):
    check(nr.hash_tensor, torch.hash_tensor, x, grad=False)
    check(nr.hash_tensor, torch.hash_tensor, x, grad=False, compiled=False, dim=1, keepdim=True)
    check_both_raise(lambda t: nr.hash_tensor(t, mode=1), lambda t: torch.hash_tensor(t, mode=1), x)
    check_both_raise(nr.hash_tensor, torch.hash_tensor, x[:0])
    check(nr.hash_tensor, torch.hash_tensor, x[:, :0], grad=False, compiled=False, dim=0)


# --- segments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("initial", [None, 1.5])
@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "max", "min"])
def test_segment_reduce_equals_pytorch(reduce, initial):
    def call(library, bounds, axis):
        return lambda x, b: library.segment_reduce(x, reduce, initial=initial, axis=axis, **{bounds: b})

    x = np.array([3.0, 3, 1, 5, 5, 5, 0, 2, 0], np.float32)
    for name, bounds in {"lengths": np.array([3, 0, 3, 2, 1]), "offsets": np.array([0, 3, 3, 6, 9])}.items():
        check(call(nr, name, 0), call(torch, name, 0), x, bounds)
    check(call(nr, "lengths", 1), call(torch, "lengths", 1), G.standard_normal((2, 3, 2)), np.array([[1, 2], [3, 0]]), compiled=False)
    check(call(nr, "lengths", 0), call(torch, "lengths", 0), G.standard_normal((3, 2)).astype(np.float16), np.array([1, 2]), grad=False, compiled=False)
    check(call(nr, "lengths", 0), call(torch, "lengths", 0), np.zeros(0, np.float32), np.array([0, 0]), compiled=False)


def test_segments_need_not_cover_the_dimension():
    x = np.array([1.0, 2, np.nan, 4, 5, 6], np.float32)
    for options in ({"offsets": np.array([3, 4, 6])}, {"lengths": np.array([1, 1]), "unsafe": True}, {"offsets": np.array([1, 3])}):
        bounds = next(iter(options))
        rest = {k: v for k, v in options.items() if k != bounds}
        for reduce in ("sum", "max", "min", "prod"):
            ours = nr.segment_reduce(nr.tensor(x), reduce, **{bounds: nr.tensor(options[bounds])}, **rest)
            theirs = torch.segment_reduce(torch.tensor(x), reduce, **{bounds: torch.tensor(options[bounds])}, **rest)
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_what_segment_reduce_refuses():
    x = np.arange(6, dtype=np.float32)
    for data, reduce, options in [
        (x, "sum", {"lengths": np.array([2, 2])}), (x, "sum", {"lengths": np.array([7, -1])}), (x, "median", {"lengths": np.array([6])}),
        (x, "sum", {}), (x, "sum", {"indices": np.array([6])}), (x.astype(np.int64), "sum", {"lengths": np.array([6])}),
        (x, "sum", {"lengths": np.array([6.0])}), (x, "sum", {"lengths": np.array([[6]])}), (x.reshape(2, 3), "sum", {"lengths": np.array([3]), "axis": 1}),
    ]:  # fmt: skip
        for library, convert in ((nr, nr.tensor), (torch, torch.tensor)):
            with pytest.raises(RuntimeError):
                library.segment_reduce(convert(data), reduce, **{k: convert(v) if isinstance(v, np.ndarray) else v for k, v in options.items()})


# --- attributes ----------------------------------------------------------------------------------------------------


def test_questions_about_a_tensor_have_pytorchs_answers():
    ours, theirs = nr.tensor(X), torch.tensor(X)
    for name in ("is_conj", "is_neg", "is_signed", "is_inference", "is_distributed", "get_device"):
        assert getattr(nr, name)(ours) == getattr(torch, name)(theirs) == getattr(ours, name)() == getattr(theirs, name)(), name
        for library in (nr, torch):
            with pytest.raises(TypeError):
                getattr(library, name)(3)
    for name in ("is_pinned", "is_shared", "dim_order"):
        assert getattr(ours, name)() == getattr(theirs, name)(), name
    for name in ("name", "is_sparse_csr", "is_mkldnn", "is_vulkan", "is_xla", "is_xpu", "is_ipu", "is_mtia", "is_maia"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.volatile is False
    assert nr.is_same_size(ours, ours) and not ours.is_same_size(ours[0])
    assert nr.tensor(1.0).is_nonzero() and not nr.tensor(0).is_nonzero()
    assert ours.is_set_to(ours) and not ours.is_set_to(ours.clone())
    assert ours.data_ptr() == ours.const_data_ptr() != 0
    assert ours.grad_dtype == nr.float32
    assert nr.zeros(1, device="cpu:2").get_device() == -1
    with pytest.raises(RuntimeError, match="data_ptr"):
        nr.jit(lambda x: x.data_ptr())(ours)


def test_a_tensor_that_needs_nothing_done_is_handed_back():
    x = nr.tensor(X)
    assert nr.resolve_conj(x) is nr.resolve_neg(x) is x.pin_memory() is x.share_memory_() is x.to_dense() is x
    assert x.to_dense(nr.float64).dtype == nr.float64
    assert nr.func.functionalize(nr.sin) is nr.sin and nr.func.debug_unwrap(x) is x
    with pytest.raises(ValueError, match="remove"):
        nr.func.functionalize(nr.sin, remove="views")
    y = nr.tensor(X, requires_grad=True)
    assert not nr.detach(y).requires_grad and not nr.detach_copy(y).requires_grad


def test_typename_names_tensors_and_classes():
    for value in (nr.ones(1), nr.ones(1).int(), nr.ones(1).bfloat16()):
        assert nr.typename(value) == f"neurarust_jax.{torch.typename(torch.ones(1).to(getattr(torch, value.dtype.name))).removeprefix('torch.')}"
    assert nr.typename(3) == "int" and nr.typename([]) == "list" and nr.typename(nr) == "neurarust_jax" and nr.typename(nr.float32).endswith("dtype")


def test_new_and_as_subclass():
    x = nr.tensor([1, 2])
    assert x.new(2, 3).shape == (2, 3) and x.new([1.0, 2.0]).dtype == nr.int64 and x.new().shape == (0,) and x.new(nr.Size([2])).shape == (2,)

    class Own(nr.Tensor):
        pass

    y = nr.tensor(X, requires_grad=True)
    own = (y * 2).as_subclass(Own)
    assert type(own) is Own
    own.sum().backward()
    assert y.grad.eq(2).all() and type(y.as_subclass(nr.nn.Parameter)) is nr.nn.Parameter
    with pytest.raises(TypeError, match="derived from"):
        y.as_subclass(list)


def test_dtype_methods_of_tensors():
    for name in ("cdouble", "cfloat", "double", "float", "half", "bfloat16", "long", "int", "short", "char", "byte", "bool"):
        check(lambda x: getattr(x, name)(), lambda x: getattr(x, name)(), abs(X), grad=False, compiled=False)  # noqa: B023
    assert nr.cfloat == nr.complex64 and nr.float == nr.float32 and nr.bool.name == "bool"


# --- in-place functions --------------------------------------------------------------------------------------------


def test_in_place_functions_write_into_cells():
    for name in ("abs_", "exp_", "zero_", "square_", "neg_", "sigmoid_", "trunc_"):
        p, q = nr.nn.Parameter(nr.tensor(X)), torch.nn.Parameter(torch.tensor(X))
        with nr.no_grad(), torch.no_grad():
            assert getattr(nr, name)(p) is p
            np.testing.assert_allclose(p.detach().numpy(), getattr(torch, name)(q).numpy(), rtol=1e-5)
    p = nr.nn.Buffer(nr.tensor(X))
    assert nr.clamp_(p, min=0).min() >= 0 and nr.fill_(p, 7).eq(7).all() and nr.as_strided_(p, (2, 2), (1, 2)).shape == (2, 2)


def test_in_place_functions_refuse_tensors_and_leaves_that_record():
    from neurarust_jax.ops import inplace

    x = nr.tensor(X)
    for name in inplace.__all__:
        with pytest.raises(RuntimeError, match="Write instead"):
            getattr(nr, name)(x)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        nr.abs_(nr.nn.Parameter(x))
    for name in ("apply_", "map_", "map2_", "resize_as_"):
        with pytest.raises(RuntimeError, match="Write instead"):
            getattr(x, name)(abs)
    assert {name for name in dir(torch) if name.endswith("_") and hasattr(nr, name)} >= set(inplace.__all__)


def test_python_functions_of_elements():
    p = nr.nn.Buffer(nr.tensor([1.0, 2.0]))
    assert p.apply_(lambda v: v + 1) is p and p.tolist() == [2.0, 3.0]
    assert p.map_(nr.tensor([10.0]), lambda a, b: a * b).tolist() == [20.0, 30.0]
    assert p.map2_(nr.tensor([1.0, 2.0]), nr.tensor([3.0, 4.0]), lambda a, b, c: a + b + c).tolist() == [24.0, 36.0]


def test_module_load_is_what_load_state_dict_does():
    p = nr.nn.Buffer(nr.zeros(2))
    other = nr.tensor([1.0, 2.0])
    assert p.module_load(other).tolist() == [1.0, 2.0] == p.tolist()
    assert nr.zeros(2).module_load(other, assign=True) is other


# --- settings ------------------------------------------------------------------------------------------------------


def test_deterministic_algorithms_can_be_asked_for():
    assert (nr.get_deterministic_debug_mode(), nr.are_deterministic_algorithms_enabled()) == (0, False)
    try:
        for mode, number, warn_only in (("warn", 1, True), ("error", 2, False), (1, 1, True), ("default", 0, False)):
            nr.set_deterministic_debug_mode(mode)
            assert nr.get_deterministic_debug_mode() == number and nr.is_deterministic_algorithms_warn_only_enabled() is warn_only
            assert nr.are_deterministic_algorithms_enabled() is (number > 0)
        nr.use_deterministic_algorithms(True, warn_only=True)
        assert nr.get_deterministic_debug_mode() == 1
    finally:
        nr.use_deterministic_algorithms(False)
    for mode in ("loud", 3):
        with pytest.raises(ValueError, match="debug_mode"):
            nr.set_deterministic_debug_mode(mode)
    for call in (lambda: nr.set_deterministic_debug_mode(1.5), lambda: nr.use_deterministic_algorithms("yes")):
        with pytest.raises(TypeError):
            call()


def test_deterministic_algorithms_on_a_gpu_need_xlas_flag(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setenv("XLA_FLAGS", "")
    with pytest.raises(RuntimeError, match="XLA_FLAGS=--xla_gpu_deterministic_ops=true"):
        nr.use_deterministic_algorithms(True)
    with pytest.warns(UserWarning, match="deterministic_ops"):
        nr.use_deterministic_algorithms(True, warn_only=True)
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
    nr.use_deterministic_algorithms(True)
    nr.use_deterministic_algorithms(False)


def test_threads_and_warnings_are_noted():
    before = nr.get_num_threads()
    assert before >= 1 and nr.get_num_interop_threads() >= 1
    nr.set_num_threads(3)
    nr.set_num_interop_threads(2)
    assert (nr.get_num_threads(), nr.get_num_interop_threads()) == (3, 2)
    nr.set_num_threads(before)
    with pytest.raises(ValueError, match="positive"):
        nr.set_num_threads(0)
    with pytest.raises(TypeError):
        nr.set_num_threads(2.0)
    nr.set_warn_always(True)
    assert nr.is_warn_always_enabled()
    nr.set_warn_always(False)
    assert nr.set_flush_denormal(True) is False


def test_default_device_for_the_program_and_for_a_block():
    assert nr.get_default_device() == nr.device("cpu")
    with nr.device("cpu:3") as chosen:
        assert chosen == nr.device("cpu:3") == nr.get_default_device() == nr.zeros(2).device == nr.tensor([1.0]).device == nr.rand(2).device
        with nr.device("cpu:1"):
            assert nr.nn.Linear(2, 2).weight.device == nr.device("cpu:1")
        assert nr.ones(1).device == chosen and nr.ones(1, device="cpu:2").device == nr.device("cpu:2")
    assert nr.zeros(2).device == nr.device("cpu")
    try:
        nr.set_default_device("cpu:4")
        assert nr.get_default_device() == nr.device("cpu:4") == nr.arange(3).device
    finally:
        nr.set_default_device(None)
    assert nr.zeros(2).device == nr.device("cpu")


def test_default_tensor_type_sets_dtype_and_device():
    try:
        nr.set_default_tensor_type("torch.DoubleTensor")
        assert nr.get_default_dtype() == nr.float64 and nr.tensor(1.0).dtype == nr.float64
        nr.set_default_tensor_type(nr.FloatTensor)
        assert nr.get_default_dtype() == nr.float32
    finally:
        nr.set_default_dtype(nr.float32)
        nr.set_default_device(None)
    with pytest.raises(TypeError, match="set_default_tensor_type"):
        nr.set_default_tensor_type("torch.LongTensor")


TYPED = [
    ([[1.7, 2.0], [3.0, 4.0]],), ((2, 3),), (2, 3), (3,), (), ([],), (range(3),), (np.arange(6.0).reshape(2, 3),), (np.arange(3, dtype=np.int32),), ([np.float64(1)],), ([True, 0],),
    (2.5,), (np.float32(3),), ("ab",), ([[1, 2], [3]],), (True,), (2.5, 3),
]  # fmt: skip


@pytest.mark.parametrize("name", ["FloatTensor", "LongTensor", "BoolTensor"])
@pytest.mark.parametrize("data", TYPED, ids=str)
def test_classes_of_tensors_by_dtype(name, data):
    ours, theirs = getattr(nr, name), getattr(torch, name)
    try:
        expected = theirs(*data)
    except (TypeError, ValueError):
        with pytest.raises((TypeError, ValueError)):
            ours(*data)
        return
    found = ours(*data)
    assert tuple(found.shape) == tuple(expected.shape) and f"torch.{found.dtype.name}" == str(expected.dtype)
    if not all(isinstance(x, int) for x in data):
        assert_same(found, expected)
    assert isinstance(found, ours) and not isinstance(found, nr.ByteTensor if name != "ByteTensor" else nr.CharTensor)
    assert nr.zeros(2).type(ours).dtype == found.dtype


def test_classes_of_tensors_take_tensors_of_their_dtype():
    for name in nr.ops.tensor_types.__all__:
        assert f"torch.{getattr(nr, name).dtype.name}" == str(getattr(torch, name).dtype)
    assert nr.LongTensor(nr.arange(3)).tolist() == [0, 1, 2] and tuple(nr.FloatTensor(nr.Size([2, 3])).shape) == (2, 3)
    with pytest.raises(TypeError, match=r"write x.to\(nr.int64\)"):
        nr.LongTensor(nr.zeros(2))
    assert not isinstance(nr.zeros(2), nr.cuda.FloatTensor) and not isinstance(2.0, nr.FloatTensor)


def test_layouts_and_memory_formats_are_names():
    x = nr.tensor(X)
    assert x.layout is nr.strided and isinstance(nr.strided, nr.layout) and repr(nr.strided) == "neurarust_jax.strided"
    for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d"):
        assert isinstance(getattr(nr, name), nr.memory_format) and repr(getattr(nr, name)) == f"neurarust_jax.{name}"
    assert x.contiguous(memory_format=nr.contiguous_format) is x and nr.zeros(2, layout=nr.strided).shape == (2,)
    assert x.clone(memory_format=nr.preserve_format).shape == (3, 5) and x.to(memory_format=nr.channels_last) is x
    import copy
    import pickle

    assert pickle.loads(pickle.dumps(nr.channels_last)) is nr.channels_last is copy.deepcopy(nr.channels_last)


def test_arithmetic_of_sizes():
    for name, arguments in [
        ("sym_int", (-3.7,)), ("sym_float", (3,)), ("sym_max", (3, 2.0)), ("sym_min", (1, 2)), ("sym_not", (0,)), ("sym_ite", (True, 1, 2)), ("sym_sum", ([1, 2],)),
        ("sym_sqrt", (4,)),
    ]:  # fmt: skip
        ours, theirs = getattr(nr, name)(*arguments), getattr(torch, name)(*arguments)
        assert ours == theirs and type(ours) is type(theirs), name
    with pytest.raises(TypeError):
        nr.sym_ite(True, 1, 2.0)
    with pytest.raises(TypeError):
        nr.sym_max("a", 1)


# --- nr.func -------------------------------------------------------------------------------------------------------

PATTERNS = [
    ("a b c -> c (a b)", {}), ("... c -> c ...", {}), ("a ... -> (a ...)", {}), ("a b c->a b c 1", {}), ("a (b d) c -> d a b c", {"d": 3}),
    ("a b c -> b () c a", {}), ("... -> ()...", {}), ("a b (c d) -> (d a) (b c)", {"c": 2, "d": 2}), ("a b c -> a b c", {"a": 2}),
]  # fmt: skip
WRONG = [
    ("a b -> a b", {}), ("a b b -> a b", {}), ("a b c -> a b", {}), ("a b c -> a b 2", {}), ("(a b c -> a b c", {}), ("a b c) -> a b c", {}), ("a b c", {}),
    ("a b c -> a b c", {"z": 1}), ("a b (c d) -> a b c d", {"c": 3}), ("a b c -> (...) a b c", {}), ("a (...) -> a ...", {}), ("a b c d ... -> a b c d ...", {}),
    ("a b c -> a.b c", {}), ("_a b c -> b c _a", {}), ("((a) b) c -> a b c", {}), ("a (b d) c -> d a b c", {}), ("a b c -> a b c", {"a": 3}),
    ("a b ... -> a b", {}),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "lengths"), PATTERNS, ids=str)
def test_rearrange_equals_pytorch(pattern, lengths):
    x = G.standard_normal((2, 3, 4))
    check(lambda t: nr.func.rearrange(t, pattern, **lengths), lambda t: torch.func.rearrange(t, pattern, **lengths), x)


def test_rearrange_of_scalars_and_several_tensors():
    assert nr.func.rearrange(nr.tensor(1.0), "->").shape == ()
    check(lambda a, b: nr.func.rearrange([a, b], "l i j -> i (j l)"), lambda a, b: torch.func.rearrange([a, b], "l i j -> i (j l)"), X, X + 1)


@pytest.mark.parametrize(("pattern", "lengths"), WRONG, ids=str)
def test_wrong_patterns_are_refused(pattern, lengths):
    with pytest.raises(Exception) as theirs:  # noqa: PT011 (some are of a class of its own)
        torch.func.rearrange(torch.zeros(2, 3, 4), pattern, **lengths)
    assert isinstance(theirs.value, ValueError) or type(theirs.value).__name__ == "DimensionBindError"
    with pytest.raises(ValueError):  # noqa: PT011 (what is wrong differs)
        nr.func.rearrange(nr.zeros(2, 3, 4), pattern, **lengths)


def test_batch_normalization_without_running_statistics_can_be_mapped():
    model = nr.nn.Sequential(nr.nn.Conv2d(2, 3, 3), nr.nn.BatchNorm2d(3))
    assert nr.func.replace_all_batch_norm_modules_(model) is model
    assert model[1].running_var is None and not model[1].track_running_stats and not list(model.buffers())
    x = nr.randn(4, 5, 2, 6, 6)
    parameters = dict(model.named_parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = nr.vmap(lambda p, x: nr.func.functional_call(model, p, (x,)), in_dims=(None, 0))(parameters, x)
    np.testing.assert_allclose(y[1].detach().numpy(), model(x[1]).detach().numpy(), rtol=1e-4, atol=1e-5)
