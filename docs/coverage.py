"""How much of PyTorch's public interface is here: `python docs/coverage.py` prints it and writes the page `docs/pages/coverage.md`.

PyTorch must be installed (the `test` extra). What is left out on purpose stands in `OUT_OF_SCOPE` with its reason; everything else counts.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib
import inspect
import sys
import types
import warnings
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "pages" / "coverage.md"

# PyTorch's namespaces, all under `torch`; ours have the same names under `neurarust_jax`
NAMESPACES = [
    "torch", "torch.Tensor", "torch.linalg", "torch.fft", "torch.special", "torch.func", "torch.masked", "torch.signal.windows", "torch.testing",
    "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.utils", "torch.optim", "torch.optim.lr_scheduler", "torch.utils.data", "torch.distributions",
    "torch.distributions.constraints", "torch.distributions.transforms",
]  # fmt: skip

# by reason and namespace the names that are left out; `*` stands for anything
OUT_OF_SCOPE: dict[str, dict[str, str]] = {
    "sparse layouts": {
        "torch": "sparse_* *_indices_copy indices_copy values_copy hsmm hspmm dsmm saddmm smm spmm sspaddmm resize_as_sparse_",
        "torch.Tensor": (
            "ccol_indices col_indices crow_indices row_indices coalesce is_coalesced dense_dim indices resize_as_sparse_ smm sparse_* sspaddmm to_sparse* values"
        ),
        "torch.nn.functional": "sparse_support_notes",
        "torch.optim": "SparseAdam",
    },
    "quantized tensors": {
        "torch": (
            "choose_qparams_optimized dequantize empty_quantized fake_quantize_* fbgemm_* fused_moving_avg_obs_fake_quant int_repr per_channel_* per_tensor_* q_* "
            "qint32 qint8 qscheme quantize_* quantized_* quint2x4 quint4x2 quint8"
        ),
        "torch.Tensor": "dequantize int_repr q_* qscheme",
    },
    "nested and masked tensors, prototypes in PyTorch": {
        "torch": "jagged",
        "torch.Tensor": "to_padded_tensor",
        "torch.masked": "MaskedTensor as_masked_tensor is_masked_tensor masked_tensor",
    },
    "storages and strides: a tensor's value never changes, and XLA chooses its layout": {
        "torch": "*Storage StorageBase is_storage resize_as_ slice_inverse",
        "torch.Tensor": "slice_inverse storage storage_type untyped_storage",
    },
    "dtypes that XLA does not compute with": {
        "torch": "bit bits* chalf complex32 float4_e2m1fn_x2 float8_e8m0fnu int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7",
        "torch.Tensor": "chalf",
        "torch.nn.functional": "scaled_mm scaled_grouped_mm ScalingType SwizzleType",
    },
    "kernels of one back end, and what asks about back ends": {
        "torch": (
            "cudnn_* miopen_* mkldnn_* is_vulkan_available has_lapack has_mkl has_openmp has_spectral compiled_with_cxx11_abi get_device_module init_num_threads "
            "Event Stream AcceleratorError OutOfMemoryError profiler_allow_cudagraph_cupti_lazy_reinit_cuda12 USE_GLOBAL_DEPS USE_RTLD_GLOBAL_WITH_LIBTORCH"
        ),
        "torch.Tensor": "ipu mtia xpu to_mkldnn record_stream",
        "torch.nn.functional": "tf32_notes",
    },
    "internal forms of public functions": {
        "torch": (
            "batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats batch_norm_gather_stats_with_counts batch_norm_stats "
            "batch_norm_update_stats embedding_bag native_batch_norm native_dropout native_group_norm native_layer_norm native_norm"
        ),
    },
    "TorchScript, its types, and the machinery of PyTorch's own compiler and dispatcher": {
        "torch": (
            "AVG AggregationType AliasDb AnyType Argument ArgumentSpec AwaitType BenchmarkConfig BenchmarkExecutionStats Block BoolType BufferDict CallStack "
            "Capsule ClassType Code CompilationUnit CompleteArgumentSpec ComplexType ConcreteModuleType ConcreteModuleTypeBuilder DeepCopyMemoTable "
            "DeserializationStorageContext DeviceObjType DictType DisableTorchFunction DisableTorchFunctionSubclass DispatchKey DispatchKeySet EnumType "
            "ErrorReport ExcludeDispatchKeyGuard ExecutionPlan FatalError FileCheck FloatType FunctionSchema Future FutureType Gradient Graph "
            "GraphExecutorState IODescriptor InferredType IntType InterfaceType JITException ListType LiteScriptModule LockingLogger LoggerBase ModuleDict Node "
            "NoneType NoopLogger NumberType OperatorInfo OptionalType PRIVATE_OPS ParameterDict PyObjectType PyTorchFileReader PyTorchFileWriter RRefType SUM "
            "ScriptClass ScriptClassFunction ScriptDict ScriptDictIterator ScriptDictKeyIterator ScriptFunction ScriptList ScriptListIterator ScriptMethod "
            "ScriptModule ScriptModuleSerializer ScriptObject ScriptObjectProperty SerializationStorageContext StaticModule StreamObjType StringType SymBool "
            "SymBoolType SymFloat SymInt SymIntType Tag TensorType ThroughputBenchmark TracingState TupleType Type UnionType Use Value fork get_file_path "
            "import_ir_module import_ir_module_from_buffer merge_type_from_type_comment parse_ir parse_schema parse_type_comment "
            "prepare_multiprocessing_environment sym_constrain_range sym_constrain_range_for_size sym_fresh_size thread_safe_generator unify_type_list wait"
        ),
        "torch.Tensor": "index",  # of first-class dimensions
        "torch.nn": "factory_kwargs",
        "torch.nn.functional": "boolean_dispatch has_torch_function* handle_torch_function BroadcastingList* assert_int_or_pair",
        "torch.testing": "FileCheck",
    },
    "autocast by device, which PyTorch itself gave up for names that take the device": {
        "torch": "get_autocast_cpu_dtype get_autocast_gpu_dtype get_autocast_ipu_dtype get_autocast_xla_dtype is_autocast_cpu_enabled is_autocast_ipu_enabled is_autocast_xla_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_gpu_dtype set_autocast_ipu_dtype set_autocast_ipu_enabled set_autocast_xla_dtype set_autocast_xla_enabled",
    },
    "removed from PyTorch: only an error is left, or a deprecated form that changed meaning": {
        "torch": "eig lstsq matrix_rank solve symeig",
        "torch.Tensor": "eig lstsq reinforce resize resize_as solve symeig",
    },
    "data pipes, and what prepares them": {
        "torch.utils.data": (
            "DFIterDataPipe DataChunk IterDataPipe MapDataPipe argument_validation functional_datapipe guaranteed_datapipes_determinism non_deterministic "
            "runtime_validation runtime_validation_disabled"
        ),
    },
    "one process for each device; JAX shards arrays instead": {
        "torch.nn": "DataParallel",
        "torch.utils.data": "DistributedSampler",
    },
    "names that a module of PyTorch uses for itself": {
        "torch": "TYPE_CHECKING classproperty",
        "torch.linalg": "common_notes",
        "torch.fft": "Tensor",
        "torch.nn.functional": "DType GRID_SAMPLE_INTERPOLATION_MODES GRID_SAMPLE_PADDING_MODES TYPE_CHECKING Tensor reproducibility_notes",
        "torch.optim": "swap_in_optimizer_params_and_state",
    },
}


class Coverage(NamedTuple):
    """One namespace.

    Attributes:
        name: PyTorch's.
        present: public names of PyTorch that are here.
        missing: those that are not.
        left_out: those in `OUT_OF_SCOPE`.
    """

    name: str
    present: list[str]
    missing: list[str]
    left_out: list[str]

    @property
    def share(self) -> float:
        """The share of names in scope that are here."""
        return len(self.present) / (len(self.present) + len(self.missing))


def find(namespace: str, library: str) -> Any:
    """PyTorch's namespace, or ours of that name; `None` if there is none."""
    found: Any = importlib.import_module(library)
    for part in namespace.split(".")[1:]:
        if not hasattr(found, part):
            return None
        found = getattr(found, part)
    return found


def public_names(namespace: str) -> list[str]:
    """PyTorch's public names: `__all__` where a module has one, else all without a leading underscore; no modules, and none of `typing`.

    `torch` itself has names on either side of its `__all__`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some names warn when they are looked at
        root = find(namespace, "torch")
        names = set(getattr(root, "__all__", dir(root))) | (set(dir(root)) if namespace == "torch" else set())
        return sorted(n for n in names if not n.startswith("_") and not _is_foreign(getattr(root, n, None)))


def _is_foreign(value: Any) -> bool:
    return inspect.ismodule(value) or (getattr(value, "__module__", None) or "").partition(".")[0] in ("typing", "typing_extensions", "collections")


def is_left_out(namespace: str, name: str) -> bool:
    """Whether the name stands in `OUT_OF_SCOPE`."""
    return any(fnmatch.fnmatchcase(name, pattern) for reason in OUT_OF_SCOPE.values() for pattern in reason.get(namespace, "").split())


@functools.cache
def coverage() -> list[Coverage]:
    """All namespaces."""
    return [_of_namespace(namespace) for namespace in NAMESPACES]


def _of_namespace(namespace: str) -> Coverage:
    ours = find(namespace, "neurarust_jax")
    present, missing, left_out = [], [], []
    for name in public_names(namespace):
        (left_out if is_left_out(namespace, name) else present if hasattr(ours, name) else missing).append(name)
    return Coverage(namespace, present, missing, left_out)


def report() -> str:
    """What the program prints."""
    lines = []
    for c in coverage():
        lines.append(f"{c.name:26} {len(c.present):4} of {len(c.present) + len(c.missing):4}  {c.share:6.1%}  (left out: {len(c.left_out)})")
        if c.missing:
            lines.append(f"    missing: {' '.join(c.missing)}")
    return "\n".join(lines)


def page() -> str:
    """The page of the documentation."""
    torch: types.ModuleType = importlib.import_module("torch")
    lines = [
        "# What is covered",
        "",
        f"The public names of PyTorch {torch.__version__.partition('+')[0]} that are here, by namespace. This page is written by `python docs/coverage.py`.",
        "",
        "| namespace | here | in scope | share | left out |",
        "|---|---:|---:|---:|---:|",
    ]
    for c in coverage():
        lines.append(f"| `{c.name}` | {len(c.present)} | {len(c.present) + len(c.missing)} | {c.share:.1%} | {len(c.left_out)} |")
    missing = [c for c in coverage() if c.missing]
    if missing:
        lines += ["", "## In scope and missing", ""]
        lines += [f"- `{c.name}`: {_names(c.missing)}" for c in missing]
    lines += ["", "## Left out, and why", "", "`*` stands for anything."]
    for reason, names in OUT_OF_SCOPE.items():
        lines += ["", f"### {reason[0].upper()}{reason[1:]}", ""]
        lines += [f"- `{namespace}`: {_names(words.split())}" for namespace, words in names.items()]
    return "\n".join(lines) + "\n"


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    print(report())
    PAGE.write_text(page(), encoding="utf-8")
