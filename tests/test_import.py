"""What importing the package does not do."""

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_starts_no_backend_and_loads_no_optional_library():
    code = (
        "import sys, jax\n"
        "before = dict(jax.config.values)\n"
        "import neurarust_jax\n"
        "loaded = [m for m in ('optax', 'flax', 'onnx', 'matplotlib', 'torch', 'equinox', 'safetensors', 'scipy.stats') if m in sys.modules]\n"
        "assert not loaded, loaded\n"
        "assert dict(jax.config.values) == before\n"
        "import jax.extend.backend as b, jax._src.xla_bridge as x\n"
        "assert not x._backends, x._backends\n"
    )
    run(code)


def test_every_public_name_is_documented_and_listed():
    import neurarust_jax as nr
    from neurarust_jax.dispatch import OPS

    undocumented = [name for name, op in OPS.items() if not op.function.__doc__]
    assert not undocumented
    assert nr.Tensor.add.__doc__ and "Args" in nr.add.__doc__ and "alpha" in str(__import__("inspect").signature(nr.add))


def test_the_dispatcher_compiles_once_for_each_set_of_static_arguments():
    import neurarust_jax as nr

    op = nr.reshape.op
    op.kernels.clear()
    x = nr.ones(4, 3)
    for shape in ((3, 4), [3, 4], nr.Size([3, 4])):
        x.reshape(shape)
    x.reshape(3, 4)
    assert len(op.kernels) <= 1
