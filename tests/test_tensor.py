"""`Tensor`: a value with PyTorch's attributes and conversions."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import neurarust_jax as nr

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(
    "data",
    [1, 1.5, True, 1 + 2j, [1, 2], [1.0, 2], [[True, False]], [], [[]], [[], []], (1, 2), range(3), [[1, 2], [3, 4]], [1j, 2.0]],
    ids=str,
)
def test_tensor_takes_the_dtype_and_shape_that_pytorch_gives(data):
    expected = torch.tensor(list(data) if isinstance(data, range) else data)
    made = nr.tensor(data)
    assert tuple(made.shape) == tuple(expected.shape)
    assert str(expected.dtype) == f"torch.{made.dtype.name}"
    np.testing.assert_array_equal(made.numpy(), expected.numpy())


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex64", "complex128"])
def test_numpy_arrays_keep_their_dtype(dtype):
    array = np.arange(4).astype(dtype)
    assert nr.tensor(array).dtype.name == dtype
    assert nr.from_numpy(array).numpy().dtype == array.dtype
    assert nr.as_tensor(array).tolist() == array.tolist()


def test_int64_and_float64_hold_64_bits_without_a_jax_flag():
    assert not jax.config.jax_enable_x64
    assert (nr.tensor(2**40) + 1).item() == 2**40 + 1
    assert (nr.tensor(1.0, dtype=nr.float64) + 1e-12).item() == 1 + 1e-12
    assert not jax.config.jax_enable_x64


def test_from_numpy_does_not_see_later_writes_to_the_array():
    for make in (nr.from_numpy, nr.tensor, nr.as_tensor):
        array = np.zeros(1000, np.float32)
        made = make(array)
        array[:] = 1
        assert made.sum().item() == 0


def test_pytorch_tensors_come_in_and_go_out():
    theirs = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    ours = nr.as_tensor(theirs)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_array_equal((ours + theirs).numpy(), (theirs * 2).numpy())
    np.testing.assert_array_equal(torch.from_dlpack(ours).numpy(), theirs.numpy())
    assert nr.as_tensor(torch.ones(2, dtype=torch.bfloat16)).dtype == nr.bfloat16
    assert nr.as_tensor(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
    assert nr.as_tensor(theirs.t()).tolist() == theirs.t().tolist()


def test_jnp_takes_tensors_and_nr_takes_arrays():
    x = nr.tensor([1.0, 2.0])
    assert isinstance(jnp.sin(x), jax.Array)
    assert isinstance(nr.sin(jnp.ones(2)), nr.Tensor)
    assert isinstance(nr.sin(np.ones(2)), nr.Tensor)
    np.testing.assert_allclose(jnp.dot(x, x), 5.0)
    assert isinstance(np.ones(2) + x, nr.Tensor)
    assert (np.float32(2) * x).tolist() == [2, 4]


def test_a_tensor_is_a_pytree_with_one_leaf():
    x = nr.tensor([1.0, 2.0])
    assert len(jax.tree.leaves({"a": x})) == 1
    assert isinstance(jax.jit(lambda t: t * 2)(x), nr.Tensor)
    doubled = jax.tree.map(lambda a: a * 2, [x])
    assert isinstance(doubled[0], nr.Tensor)
    assert doubled[0].tolist() == [2, 4]
    np.testing.assert_allclose(jax.grad(lambda t: (t * t).sum()._value)(x).numpy(), [2, 4])


def test_attributes():
    x = nr.zeros(2, 3, 4)
    assert x.shape == (2, 3, 4)
    assert x.size() == nr.Size([2, 3, 4])
    assert x.size(-1) == x.shape[2] == 4
    assert (x.dim(), x.ndim, x.numel(), len(x), x.stride(), x.itemsize, x.nbytes) == (3, 3, 24, 2, (12, 4, 1), 4, 96)
    assert x.dtype == nr.float32 and x.dtype == "float32" and x.dtype == jnp.float32
    assert x.device == nr.device("cpu")
    assert x.is_contiguous() and x.contiguous() is x
    assert nr.zeros(2, 3).T.shape == (3, 2) and x.mT.shape == (2, 4, 3)


def test_item_and_python_numbers():
    assert nr.tensor([[3]]).item() == 3
    assert float(nr.tensor(1.5)) == 1.5 and int(nr.tensor(7.9)) == 7 and complex(nr.tensor(1j)) == 1j
    assert [10, 20, 30][nr.tensor(1)] == 20
    assert f"{nr.tensor(3.14159):.2f}" == "3.14"
    assert bool(nr.tensor(2)) and not nr.tensor([0.0])
    assert 2.0 in nr.tensor([1.0, 2.0]) and 3.0 not in nr.tensor([1.0, 2.0])
    assert [t.item() for t in nr.arange(3)] == [0, 1, 2]


def test_pickle_and_deepcopy_keep_value_dtype_and_requires_grad():
    x = nr.tensor([1.0, 2.0], dtype=nr.float64, requires_grad=True)
    for twin in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert twin.tolist() == [1, 2] and twin.dtype == nr.float64 and twin.requires_grad and twin.is_leaf
    memo = copy.deepcopy([x, x])
    assert memo[0] is memo[1]
    with pytest.raises(RuntimeError, match="created explicitly"):
        copy.deepcopy(x * 2)


REPRS = [
    np.float32(1.5),
    np.array([1.0, 2.0, 3.0], np.float32),
    np.array([1.5, -2, 1e-5], np.float32),
    np.array([1e9, 1], np.float32),
    GENERATOR.standard_normal((3, 4)).astype(np.float32),
    GENERATOR.standard_normal((2, 3, 4)).astype(np.float32),
    np.arange(2000).reshape(20, 100),
    GENERATOR.standard_normal((50, 50)).astype(np.float32),
    np.array([np.nan, 1.0, np.inf], np.float32),
    np.array([True, False]),
    np.zeros((0, 3), np.float32),
    np.array([], np.int64),
    np.array([1 + 2j, 3.5 - 1j], np.complex64),
    np.array([1, 2], np.int32),
    np.array([1.25], np.float16),
    np.arange(1001).astype(np.float32),
]


@pytest.mark.parametrize("array", REPRS, ids=lambda a: f"{a.dtype}-{a.shape}")
def test_repr_is_pytorchs(array):
    assert repr(nr.tensor(array)).replace("neurarust_jax.", "torch.") == repr(torch.tensor(array))


def test_repr_shows_the_graph():
    x = nr.ones(2, requires_grad=True)
    assert repr(x) == "tensor([1., 1.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 2.], grad_fn=<MulBackward0>)"
    assert repr(nr.nn.Parameter(nr.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"


def test_printoptions_are_pytorchs():
    x = GENERATOR.standard_normal(5)
    for options in ({"precision": 2}, {"sci_mode": True}, {"linewidth": 20}, {"profile": "short"}):
        nr.set_printoptions(**options)
        torch.set_printoptions(**options)
        assert repr(nr.tensor(x)).replace("neurarust_jax.", "torch.") == repr(torch.tensor(x))
    nr.set_printoptions(profile="default")
    torch.set_printoptions(profile="default")


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int32", "bool", "complex64"])
def test_to_converts(dtype):
    x = np.array([-1.7, 0.0, 2.5], np.float32)
    expected = torch.tensor(x).to(getattr(torch, dtype))
    converted = nr.tensor(x).to(getattr(nr, dtype) if dtype != "bool" else nr.bool)
    assert converted.dtype.name == dtype
    assert converted.tolist() == expected.tolist()


def test_to_takes_devices_dtypes_and_tensors():
    x = nr.ones(2)
    assert x.to("cpu").device.type == "cpu"
    assert x.to("cpu", nr.float64).dtype == nr.float64
    assert x.to(nr.zeros(1, dtype=nr.int32)).dtype == nr.int32
    assert x.to(nr.float32) is x
    assert x.to("cpu:3").device == nr.device("cpu", 3)
    assert x.double().type() == "neurarust_jax.DoubleTensor"
    with pytest.raises(RuntimeError, match="no device 'cuda' here: JAX has cpu"):
        x.to("cuda")
    with pytest.raises(RuntimeError, match="unknown device type 'cudda'"):
        x.to("cudda")


@pytest.mark.parametrize(
    "operands",
    [
        (np.ones(2, np.int32), 1.5), (np.ones(2, np.int8), 300), (np.ones(2, np.float16), np.float32(1)), (np.ones(2, np.float16), np.ones(2, np.float32)),
        (np.ones(2, np.uint8), np.ones(2, np.int8)), (np.ones(2, bool), 2), (np.ones(2, bool), 2.5), (np.ones(2, np.float32), np.float64(2)),
        (np.int64(3), np.ones(2, np.float16)), (np.ones(2, np.int64), np.float32(2)), (np.ones(2, np.float64), 1j), (np.ones(2, np.float32), np.complex128(1j)),
        (np.float32(1), np.int64(2)), (np.int32(1), np.int64(2)), (np.bool_(True), np.uint8(1)),
    ],
    ids=str,
)  # fmt: skip
def test_promotion_is_pytorchs(operands):
    theirs = [torch.tensor(np.array(x)) if isinstance(x, np.ndarray | np.generic) else x for x in operands]
    ours = [nr.tensor(x) if isinstance(x, np.ndarray | np.generic) else x for x in operands]
    expected = torch.result_type(*theirs)
    if not isinstance(operands[1], int) or operands[1] != 300:  # 300 does not fit int8, which PyTorch wraps around
        assert str((ours[0] * ours[1]).dtype).replace("neurarust_jax", "torch") == str(expected)
    assert str(nr.result_type(*ours)).replace("neurarust_jax", "torch") == str(expected)


def test_every_pair_of_dtypes_promotes_as_in_pytorch():
    names = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128".split()
    for a in names:
        for b in names:
            expected = torch.promote_types(getattr(torch, a), getattr(torch, b))
            found = nr.promote_types(getattr(nr, a), getattr(nr, b))
            if expected == torch.complex32:
                continue  # JAX has no complex number of 16-bit parts
            assert str(expected) == f"torch.{found.name}", (a, b)


def test_default_dtype_can_be_changed():
    x = nr.arange(2)
    assert (x / 2).dtype == nr.float32
    nr.set_default_dtype(nr.float64)
    try:
        assert nr.tensor(1.0).dtype == nr.float64 and nr.zeros(2).dtype == nr.float64 and (x / 2).dtype == nr.float64
    finally:
        nr.set_default_dtype(nr.float32)
    assert (x / 2).dtype == nr.float32
    with pytest.raises(TypeError, match="floating-point dtype"):
        nr.set_default_dtype(nr.int32)


def test_finfo_and_iinfo():
    for name in ("float16", "bfloat16", "float32", "float64"):
        ours, theirs = nr.finfo(getattr(nr, name)), torch.finfo(getattr(torch, name))
        assert (ours.bits, ours.eps, ours.max, ours.min, ours.tiny) == (theirs.bits, theirs.eps, theirs.max, theirs.min, theirs.tiny)
    for name in ("uint8", "int8", "int16", "int32", "int64"):
        ours, theirs = nr.iinfo(getattr(nr, name)), torch.iinfo(getattr(torch, name))
        assert (ours.bits, ours.max, ours.min) == (theirs.bits, theirs.max, theirs.min)


def test_writing_to_a_tensor_shows_the_line_to_write():
    x = nr.ones(3)
    with pytest.raises(nr.errors.ImmutableTensorError, match=r"x = x\.at\[index\]\.set\(value\)"):
        x[0] = 1
    with pytest.raises(nr.errors.ImmutableTensorError, match=r"x = x\.add\(\.\.\.\)"):
        x.add_(1)
    with pytest.raises(RuntimeError, match=r"x = nr\.zeros_like\(x\)"):
        x.zero_()
    with pytest.raises(RuntimeError, match="x = value"):
        x.data = nr.zeros(3)
    y = x
    y += 1
    assert x.tolist() == [1, 1, 1] and y.tolist() == [2, 2, 2]


def test_conversions_that_cannot_be_name_the_shape():
    x = nr.ones(2, 3)
    with pytest.raises(RuntimeError, match=r"6 elements cannot be converted to Scalar.*\(2, 3\)"):
        x.item()
    with pytest.raises(RuntimeError, match="more than one value is ambiguous"):
        bool(x)
    with pytest.raises(TypeError, match="0-d"):
        len(nr.tensor(1))
    with pytest.raises(TypeError, match="0-d"):
        iter(nr.tensor(1))
    with pytest.raises(RuntimeError, match=r"tensor\.detach\(\)\.numpy\(\)"):
        nr.ones(2, requires_grad=True).numpy()
    with pytest.raises(TypeError, match="cannot make a tensor"):
        nr.tensor(["a"])
    with pytest.raises(TypeError, match="cannot make a tensor"):
        nr.tensor([[1, 2], [3]])
