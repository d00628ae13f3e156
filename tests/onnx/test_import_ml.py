"""The operators of ai.onnx.ml, compared with ONNX Runtime.

Left out is what ONNX Runtime 1.32 computes otherwise than ONNX says:

- LOGISTIC and SOFTMAX of one score alone are left away by it; with two classes and one score, SOFTMAX of `LinearClassifier` and all transformations of
  `SVMClassifier` without probabilities too. ONNX's reference implementation transforms them as we do.
- `SVMClassifier` without support vectors names the second of two classes where any score is positive.
- `TreeEnsembleClassifier` names the second of two classes whatever their scores are, if both have votes.
- SOFTMAX and LOGISTIC change places in `TreeEnsemble`.
- PROBIT is an approximation with an error of 1e-3.
"""

import collections
import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import neurarust_jax as nr

NAN = float("nan")


def model_of(op, inputs, outputs, version, attributes):
    infos = [
        helper.make_tensor_value_info(f"x{i}", TensorProto.STRING if x.dtype == object else helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for i, x in enumerate(inputs)
    ]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, [i.name for i in infos], results, domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph([node], "g", infos, [onnx.ValueInfoProto(name=name) for name in results])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", version)], ir_version=8)


def check(op, *inputs, outputs=1, version=3, rtol=1e-5, atol=1e-5, **attributes):
    """Values, dtypes and shapes are those of ONNX Runtime."""
    inputs = [np.asarray(x) for x in inputs]
    model = model_of(op, inputs, outputs, version, attributes)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {f"x{i}": x for i, x in enumerate(inputs)})
    found = nr.onnx.load(model)(*inputs)
    for ours, theirs in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        if isinstance(theirs, list):  # maps
            assert [list(row) for row in ours] == [list(row) for row in theirs]
            np.testing.assert_allclose([list(row.values()) for row in ours], [list(row.values()) for row in theirs], rtol=rtol)
            continue
        ours = ours.numpy() if isinstance(ours, nr.Tensor) else ours
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if theirs.dtype == object:
            assert ours.tolist() == theirs.tolist()
        else:
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def normal(*shape, dtype=np.float32, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * (3 if np.dtype(dtype).kind == "i" else 1)).astype(dtype)


def floats(count, seed=0, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, count).tolist()


def texts(*words):
    return np.array(words, object)


NUMBERS = pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32], ids=lambda d: d.__name__)

# --- features --------------------------------------------------------------------------------------------------------


@NUMBERS
def test_scaler(dtype):
    x = normal(4, 3, dtype=dtype)
    check("Scaler", x, offset=[0.5], scale=[2.0])
    check("Scaler", x, offset=[0.5, 1.0, -1.0], scale=[2.0, 3.0, 4.0])


@NUMBERS
@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizer(dtype, norm):
    x = normal(4, 3, dtype=dtype)
    x[1], x[2] = 0, -abs(x[2]) - 1
    check("Normalizer", x, norm=norm)


def test_binarizer():
    check("Binarizer", np.float32([[-1, 0, 0.5], [0.75, 0.25, 2]]), threshold=0.5)


def test_imputer():
    x = np.float32([[NAN, 1, 0], [2, NAN, 0]])
    check("Imputer", x, imputed_value_floats=[7.0], replaced_value_float=NAN)
    check("Imputer", x, imputed_value_floats=[7.0, 8.0, 9.0], replaced_value_float=NAN)
    check("Imputer", x, imputed_value_floats=[7.0, 8.0, 9.0], replaced_value_float=0.0)
    check("Imputer", np.int64([[1, 2, 1], [0, 1, 5]]), imputed_value_int64s=[7, 8, 9], replaced_value_int64=1)


@pytest.mark.parametrize(
    "x", [normal(3, 4), normal(4), normal(2, 3, 4), normal(3, 4, dtype=np.int64), texts("a", "b", "c", "d")], ids=lambda x: f"{x.dtype}{x.shape}"
)
def test_array_feature_extractor(x):
    for places in ([0], [1, 3], [[3, 3, 0]]):
        check("ArrayFeatureExtractor", x, np.int64(places))


@NUMBERS
def test_feature_vectorizer(dtype):
    for lengths in ([2, 3], [1, 3], [3, 4]):  # as they are, cut, filled up
        check("FeatureVectorizer", normal(4, 2, dtype=dtype), normal(4, 3, dtype=dtype), inputdimensions=lengths)
    check("FeatureVectorizer", normal(2, dtype=dtype), normal(3, dtype=dtype), inputdimensions=[2, 3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64], ids=lambda d: d.__name__)
def test_one_hot_encoder(dtype):
    check("OneHotEncoder", np.array([0, 2, 1], dtype), cats_int64s=[0, 1, 2], zeros=0)
    check("OneHotEncoder", np.array([[0, 2], [5, 1]], dtype), cats_int64s=[0, 1, 2])
    check("OneHotEncoder", texts("a", "z", "b"), cats_strings=["a", "b"], zeros=1)


KEYS = {
    "strings": (texts("a", "b", "z"), ["a", "b"]),
    "int64s": (np.int64([1, 2, 9]), [1, 2]),
    "floats": (np.float32([1.5, NAN, 9]), [1.5, NAN]),
}
VALUES = {"strings": (["p", "q"], "other"), "int64s": ([10, 20], 77), "floats": ([0.5, 0.25], 3.5)}


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("values", VALUES)
def test_label_encoder(keys, values):
    x, known = KEYS[keys]
    found, default = VALUES[values]
    given = {f"keys_{keys}": known, f"values_{values}": found}
    check("LabelEncoder", x, version=4, **given)
    check("LabelEncoder", np.stack([x, x]), version=4 if keys == "floats" else 2, **given, **{f"default_{values[:-1]}": default})


@pytest.mark.parametrize("values", [(TensorProto.DOUBLE, [0.5, 0.25], 3.5), (TensorProto.STRING, ["p", "q"], "other")], ids=lambda v: str(v[0]))
def test_label_encoder_by_tensors(values):
    kind, found, default = values
    keys = {
        TensorProto.DOUBLE: (np.array([1.5, NAN, 9]), [1.5, NAN]),
        TensorProto.INT16: (np.int16([1, 2, 9]), [1, 2]),
        TensorProto.STRING: (texts("a", "b", "z"), ["a", "b"]),
    }
    x, known = keys[kind]
    given = {"keys_tensor": helper.make_tensor("k", kind, [2], known), "values_tensor": helper.make_tensor("v", kind, [2], found)}
    check("LabelEncoder", x, version=4, **given, default_tensor=helper.make_tensor("d", kind, [1], [default]))


@pytest.mark.parametrize("x", [texts("a", "b", "z"), np.int64([0, 1, 5, -1])], ids=["strings", "numbers"])
def test_older_encoders(x):
    for more in ({}, {"default_int64": 5, "default_string": "other"}):
        check("LabelEncoder", x, version=1, classes_strings=["a", "b"], **more)
        check("CategoryMapper", x, cats_strings=["a", "b"], cats_int64s=[1, 0], **more)


def test_maps():
    for labels in ({"classlabels_strings": ["a", "b", "c"]}, {"classlabels_int64s": [4, 5, 6]}):
        check("ZipMap", normal(2, 3), **labels)
        check("ZipMap", normal(3), **labels)


@pytest.mark.parametrize("keys", [texts("a", "c", "b"), np.int64([3, 1, 2])], ids=["strings", "numbers"])
def test_dict_vectorizer(keys):
    """ONNX Runtime gives a row, we the vector that ONNX's text describes."""
    name = "string_vocabulary" if keys.dtype == object else "int64_vocabulary"
    key_type = TensorProto.STRING if keys.dtype == object else TensorProto.INT64
    given = helper.make_map_type_proto(key_type, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    node = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", **{name: keys.tolist()})
    graph = helper.make_graph([node], "g", [helper.make_value_info("x", given)], [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)], ir_version=8)
    x = {keys[0]: 0.5, keys[2]: 2.0}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert nr.onnx.load(model)(x).tolist() == session.run(None, {"x": x})[0].ravel().tolist() == [0.5, 0.0, 2.0]


# --- linear models and support vector machines -------------------------------------------------------------------------


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"])
def test_linear_regressor(transform):
    rtol = 2e-3 if transform == "PROBIT" else 1e-5
    x = np.random.default_rng(0).uniform(0, 1, (4, 2)).astype(np.float32)
    for targets, bias in itertools.product((1, 3) if transform in ("NONE", "PROBIT") else (2, 3), (False, True)):
        given = {"intercepts": floats(targets, 1, 0.1, 0.2)} if bias else {}
        check("LinearRegressor", x, coefficients=floats(2 * targets, 2, 0.1, 0.4), targets=targets, post_transform=transform, rtol=rtol, atol=rtol, **given)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("labels", [["a", "b"], [5, 6], ["a", "b", "c"], [5, 6, 7]], ids=str)
def test_linear_classifier(transform, labels):
    given = {"classlabels_strings" if isinstance(labels[0], str) else "classlabels_ints": labels, "post_transform": transform}
    for dtype in (np.float32, np.float64, np.int64):
        check("LinearClassifier", normal(5, 2, dtype=dtype), outputs=2, coefficients=floats(2 * len(labels)), intercepts=floats(len(labels), 1), **given)
    if len(labels) == 2 and transform in ("NONE", "LOGISTIC"):
        check("LinearClassifier", normal(5, 2), outputs=2, coefficients=floats(2), intercepts=[0.1], **given)


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
def test_svm_regressor(kernel):
    given = {"kernel_type": kernel, "kernel_params": [0.3, 0.2, 2.0], "rho": [0.1]}
    for one_class in (0, 1):
        vectors = {"n_supports": 4, "support_vectors": floats(12), "coefficients": floats(4, 1), "one_class": one_class}
        check("SVMRegressor", normal(5, 3), rtol=1e-4, **vectors, **given)
    if kernel == "LINEAR":
        check("SVMRegressor", normal(5, 3), n_supports=0, coefficients=floats(3), **given)


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
@pytest.mark.parametrize("labels", [["a", "b"], [5, 6, 7], ["a", "b", "c", "d"]], ids=str)
@pytest.mark.parametrize("probable", [False, True])
def test_svm_classifier(kernel, labels, probable):
    classes = len(labels)
    pairs = classes * (classes - 1) // 2
    given = {
        "kernel_type": kernel, "kernel_params": [0.3, 0.2, 2.0], "vectors_per_class": [2] * classes, "support_vectors": floats(6 * classes), "rho": floats(pairs, 1),
        "coefficients": floats((classes - 1) * 2 * classes, 2), "classlabels_strings" if isinstance(labels[0], str) else "classlabels_ints": labels,
    }  # fmt: skip
    if probable:
        given |= {"prob_a": floats(pairs, 3, -1, -0.1), "prob_b": floats(pairs, 4, 0, 0.2)}
    for transform in ("NONE", "SOFTMAX") if probable or classes > 2 else ("NONE",):
        check("SVMClassifier", normal(5, 3), outputs=2, rtol=1e-3, atol=1e-4, post_transform=transform, **given)


@pytest.mark.parametrize("labels", [["a", "b", "c"], [5, 6, 7]], ids=str)
def test_svm_classifier_without_vectors(labels):
    classes = len(labels)
    given = {"classlabels_strings" if isinstance(labels[0], str) else "classlabels_ints": labels, "kernel_params": [0.0, 0.0, 0.0]}
    check("SVMClassifier", normal(5, 3), outputs=2, kernel_type="LINEAR", coefficients=floats(3 * classes), rho=[0.5], **given)


# --- trees -----------------------------------------------------------------------------------------------------------

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


def forest(kind, voted, trees=2, missing=False, seed=0):
    """Attributes of full trees of depth 2 in which every leaf votes for the classes or targets `voted`."""
    rng = np.random.default_rng(seed)
    lists = collections.defaultdict(list)
    for tree, node in itertools.product(range(trees), range(7)):
        leaf = node > 2
        rows = {
            "treeids": tree, "nodeids": node, "modes": "LEAF" if leaf else str(rng.choice(MODES)), "featureids": 0 if leaf else int(rng.integers(3)),
            "values": 0.0 if leaf else float(rng.integers(-2, 3)) / 2, "truenodeids": 0 if leaf else 2 * node + 1, "falsenodeids": 0 if leaf else 2 * node + 2,
        }  # fmt: skip
        for name, value in rows.items():
            lists[f"nodes_{name}"].append(value)
        if missing:
            lists["nodes_missing_value_tracks_true"].append(int(rng.integers(2)))
        for one in voted if leaf else ():
            for name, value in (("treeids", tree), ("nodeids", node), ("ids", one), ("weights", float(rng.uniform(0.01, 0.2)))):
                lists[f"{kind}_{name}"].append(value)
    return dict(lists)


def halves(*shape, dtype=np.float32, seed=0):
    return (np.random.default_rng(seed).integers(-3, 4, shape) / 2).astype(dtype)


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("targets", [1, 3])
def test_tree_ensemble_regressor(aggregate, targets):
    for seed in range(4):
        given = forest("target", range(targets), trees=1 + seed % 3, missing=seed > 1, seed=seed)
        x = halves(8, 3, seed=seed)
        x[0, 0], x[1] = NAN, NAN
        base = {"base_values": floats(targets)} if seed % 2 else {}
        check("TreeEnsembleRegressor", x, n_targets=targets, aggregate_function=aggregate, **given, **base)
    if targets > 1:
        for transform in ("SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
            check("TreeEnsembleRegressor", x, n_targets=targets, aggregate_function=aggregate, post_transform=transform, **given, **base)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("labels", [["a", "b", "c"], [5, 6, 7, 8]], ids=str)
def test_tree_ensemble_classifier(transform, labels):
    given = {"classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s": labels, "post_transform": transform}
    for seed, dtype in enumerate((np.float32, np.int64, np.float64)):
        check(
            "TreeEnsembleClassifier",
            halves(8, 3, dtype=dtype, seed=seed),
            outputs=2,
            **forest("class", range(len(labels)), missing=seed == 2, seed=seed),
            **given,
        )


@pytest.mark.parametrize("labels", [["a", "b"], [5, 6]], ids=str)
def test_tree_ensemble_classifier_of_two_classes_by_the_votes_for_one(labels):
    given = {"classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s": labels}
    for seed in range(3):
        check("TreeEnsembleClassifier", halves(8, 3, seed=seed), outputs=2, **forest("class", [0], seed=seed), **given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize("aggregate", [0, 1, 2, 3])
def test_tree_ensemble(dtype, aggregate):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        modes = [6, 0, 6] if seed == 2 else rng.integers(0, 6, 3).tolist()
        given = {
            "n_targets": 2, "tree_roots": [0], "nodes_featureids": rng.integers(0, 3, 3).tolist(), "nodes_truenodeids": [1, 0, 2], "nodes_trueleafs": [0, 1, 1],
            "nodes_falsenodeids": [2, 1, 3], "nodes_falseleafs": [0, 1, 1], "leaf_targetids": [0, 1, 1, 0], "nodes_modes": helper.make_tensor("m", TensorProto.UINT8, [3], modes),
            "nodes_splits": helper.make_tensor("s", kind, [3], rng.integers(-2, 3, 3) / 2), "leaf_weights": helper.make_tensor("w", kind, [4], floats(4, seed)),
        }  # fmt: skip
        if seed == 2:
            given["membership_values"] = helper.make_tensor("v", kind, [6], [1.0, 3.0, 7.0, NAN, 2.0, NAN])
        if seed:
            given["nodes_missing_value_tracks_true"] = [0, 1, 1]
        x = halves(8, 3, dtype=dtype, seed=seed)
        x[0] = NAN
        check("TreeEnsemble", x, version=5, aggregate_function=aggregate, **given)
