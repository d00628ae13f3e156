"""The state of autocast: regions, threads, compiled functions, setters and errors; and functions with gradients of their own under it."""

import threading

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import dispatch
from neurarust_jax.amp import policies


def _product(library=nr):
    x = library.ones(2, 2)
    return str((x @ x).dtype).rpartition(".")[2]


def test_regions_nest_and_end():
    for library in (torch, nr):
        seen = []
        with library.autocast("cpu"):
            seen.append(_product(library))
            with library.autocast("cpu", dtype=library.float16):
                seen.append(_product(library))
                with library.autocast("cpu", enabled=False):
                    seen.append(_product(library))
                seen.append(_product(library))
            seen.append(_product(library))
        seen.append(_product(library))
        assert seen == ["bfloat16", "float16", "float32", "float16", "bfloat16", "float32"]


def test_a_region_ends_with_an_error_and_may_be_entered_again():
    region = nr.autocast("cpu")
    for _ in range(2):
        with pytest.raises(KeyError), region:
            assert _product() == "bfloat16"
            raise KeyError
        assert _product() == "float32"
    with region, region:
        assert _product() == "bfloat16"
    assert not nr.is_autocast_enabled("cpu")


def test_it_decorates_functions_and_methods():
    class Net(nr.nn.Module):
        @nr.autocast("cpu", dtype=nr.float16)
        def forward(self, x):
            return x @ x

    assert Net()(nr.ones(2, 2)).dtype == nr.float16
    assert nr.amp.autocast_decorator(nr.autocast("cpu"), _product)() == "bfloat16"
    assert _product() == "float32"


def test_the_state_belongs_to_the_thread():
    found = []

    def other():
        found.append(_product())
        with nr.autocast("cpu", dtype=nr.float16):
            found.append(_product())

    with nr.autocast("cpu"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert _product() == "bfloat16"
    assert found == ["float32", "float16"]


def test_ops_are_as_ever_where_it_is_off():
    with nr.autocast("cpu"):
        assert nr.matmul.__globals__["_call"] is not dispatch.call
    for name in policies.CPU.keys() | policies.OTHERS.keys():
        assert dispatch.OPS[name].public.__globals__["_call"] is dispatch.call


def test_it_leaves_tensors_on_other_devices_and_in_double_precision_alone():
    nr.set_autocast_enabled("cuda", True)
    assert nr.is_autocast_enabled("cuda")
    assert nr.is_autocast_enabled()
    assert _product() == "float32"
    nr.set_autocast_enabled(False)
    with nr.autocast("cpu"):
        x = nr.ones(2, 2, dtype=nr.float64)
        assert (x @ x).dtype == nr.float64


def test_a_compiled_function_has_a_program_for_each_state():
    traced = []

    @nr.jit
    def f(x):
        traced.append(1)
        return x @ x

    x = nr.ones(2, 2)
    for _ in range(2):
        assert f(x).dtype == nr.float32
        with nr.autocast("cpu"):
            assert f(x).dtype == nr.bfloat16
        with nr.autocast("cpu", dtype=nr.float16):
            assert f(x).dtype == nr.float16
            with nr.autocast("cpu", enabled=False):
                assert f(x).dtype == nr.float32
    assert len(traced) == 3


def test_regions_inside_a_compiled_function_and_gradients_outside():
    model = nr.nn.Linear(3, 2)

    @nr.jit
    def inside(x):
        with nr.autocast("cpu", dtype=nr.float16):
            return model(x)

    @nr.jit
    def outside(x):
        return model(x)

    with nr.autocast("cpu", dtype=nr.float16):
        second = outside(nr.ones(4, 3))
    for y in (inside(nr.ones(4, 3)), second):
        assert y.dtype == nr.float16
        model.weight.grad = None
        y.sum().backward()  # traces the function anew, when autocast is off
        assert model.weight.grad.dtype == nr.float32
        np.testing.assert_array_equal(model.weight.grad.numpy(), 4)


def test_a_whole_training_step_keeps_master_weights():
    model = nr.nn.Sequential(nr.nn.Linear(4, 8), nr.nn.LayerNorm(8), nr.nn.ReLU(), nr.nn.Linear(8, 3))
    optimizer = nr.optim.Adam(model.parameters(), lr=0.05)
    x, y = nr.randn(32, 4), nr.randint(0, 3, (32,))

    @nr.jit
    def step():
        optimizer.zero_grad()
        with nr.autocast("cpu", dtype=nr.bfloat16):
            output = model(x)
            loss = nr.nn.functional.cross_entropy(output, y)
        loss.backward()
        optimizer.step()
        return loss, output

    first, output = step()
    assert (first.dtype, output.dtype) == (nr.float32, nr.bfloat16)
    for _ in range(60):
        last, _ = step()
    assert last.item() < 0.5 * first.item()
    assert {p.dtype for p in model.parameters()} == {nr.float32}


def test_transformations_see_it():
    with nr.autocast("cpu"):
        assert nr.vmap(lambda x: x @ x)(nr.ones(3, 2, 2)).dtype == nr.bfloat16
        assert nr.grad(lambda x: (x @ x).sum().float())(nr.ones(2, 2)).dtype == nr.float32


def test_setters_and_getters():
    assert nr.get_autocast_dtype("cpu") == nr.bfloat16
    assert nr.get_autocast_dtype("cuda") == nr.float16
    nr.set_autocast_dtype("cpu", nr.float16)
    try:
        nr.set_autocast_enabled("cpu", True)
        assert _product() == "float16"
        nr.set_autocast_dtype("cpu", nr.bfloat16)
        assert _product() == "bfloat16"
    finally:
        nr.set_autocast_dtype("cpu", nr.bfloat16)
        nr.set_autocast_enabled("cpu", False)
    assert nr.is_autocast_cache_enabled()
    with nr.autocast("cpu", cache_enabled=False):
        assert not nr.is_autocast_cache_enabled()
        assert nr.autocast_increment_nesting() == 2
        assert nr.autocast_decrement_nesting() == 1
    nr.clear_autocast_cache()


def test_errors_are_those_of_pytorch():
    for library in (torch, nr):
        for known, expected in (("cpu", True), ("cuda", True), ("xla", True), ("meta", False)):
            assert library.amp.is_autocast_available(known) is expected
        with pytest.raises(RuntimeError, match="Expected one of"):
            library.amp.is_autocast_available("foo")
        with pytest.raises(RuntimeError):
            library.autocast("meta")
        with pytest.raises(RuntimeError, match="unknown device type"):
            library.is_autocast_enabled("meta")
        with pytest.raises(ValueError, match="`device_type` of type `str`"):
            library.autocast(3)
        with pytest.raises(ValueError, match="`device_type` of type `str`"):
            library.amp.custom_fwd(device_type=3)
        with pytest.raises(ValueError, match="`device_type` of type `str`"):
            library.amp.custom_bwd(device_type=3)
        with pytest.raises(TypeError, match="requires a callable"):
            library.autocast("cpu")(3)
        with pytest.raises(TypeError):
            library.set_autocast_dtype("cpu", "x")
        with pytest.warns(UserWarning, match="target dtype is not supported"), library.autocast("cpu", dtype=library.float32):
            assert _product(library) == "float32"
        with pytest.warns(UserWarning, match="CUDA is not available"), library.autocast("cuda"):
            assert not library.is_autocast_enabled("cuda")


@pytest.mark.parametrize("cast_inputs", [None, "float32"])
def test_custom_functions(cast_inputs):
    seen = []
    for library in (torch, nr):
        cast = cast_inputs and getattr(library, cast_inputs)

        class Product(library.autograd.Function):
            @staticmethod
            @library.amp.custom_fwd(device_type="cpu", cast_inputs=cast)
            def forward(ctx, x, y):
                ctx.save_for_backward(x, y)
                seen.append(str((x @ y).dtype).rpartition(".")[2])
                return x @ y

            @staticmethod
            @library.amp.custom_bwd(device_type="cpu")
            def backward(ctx, grad):
                x, y = ctx.saved_tensors
                seen.append(str((x @ y).dtype).rpartition(".")[2])
                return (grad @ y.T).to(x.dtype), (x.T @ grad).to(y.dtype)

        x = library.ones(2, 2, requires_grad=True)
        with library.autocast("cpu", dtype=library.bfloat16):
            y = Product.apply(x * 1, x.bfloat16())
        y.float().sum().backward()
        seen.append(str(x.grad.dtype).rpartition(".")[2])
    assert seen[:3] == seen[3:]
    assert seen[0] == (cast_inputs or "bfloat16")
