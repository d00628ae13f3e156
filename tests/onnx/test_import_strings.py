"""Strings, sequences and maps in imported models."""

import numpy as np
import onnx
import pytest
from onnx import helper

import neurarust_jax as nr


def one_node(op, inputs, outputs=1, domain="", opset=20, **attributes):
    names, results = [f"x{i}" for i in range(len(inputs))], [f"y{i}" for i in range(outputs)]
    infos = [
        helper.make_tensor_value_info(n, 8 if x.dtype == object else helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in zip(names, inputs, strict=True)
    ]
    graph = helper.make_graph([helper.make_node(op, names, results, domain=domain, **attributes)], "g", infos, [onnx.ValueInfoProto(name=n) for n in results])
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 4)] if domain else [])]
    return nr.onnx.load(helper.make_model(graph, opset_imports=opsets))(*inputs)


def texts(*words):
    return np.array(words, object)


def test_strings_are_joined_split_and_matched():
    assert one_node("StringConcat", [texts("a", "b"), texts("!")]).tolist() == ["a!", "b!"]
    pieces, counts = one_node("StringSplit", [texts("a,b,c", "d")], 2, delimiter=",", maxsplit=1)
    assert pieces.tolist() == [["a", "b,c"], ["d", ""]]
    assert counts.tolist() == [2, 1]
    assert one_node("RegexFullMatch", [texts("ab1", "1ab")], pattern=r"[a-z]+\d").tolist() == [True, False]


def test_stopwords_go_and_the_case_changes():
    found = one_node("StringNormalizer", [texts("Monday", "tuesday", "THE")], stopwords=["the"], case_change_action="UPPER")
    assert found.tolist() == ["MONDAY", "TUESDAY"]
    assert one_node("StringNormalizer", [texts("the")], stopwords=["the"]).tolist() == [""]


def test_numbers_are_written_and_read():
    assert one_node("Cast", [np.array([1.5, -2.0], np.float32)], to=8).tolist() == ["1.5", "-2.0"]
    read = one_node("Cast", [texts("1e-2", "-INF", "NaN", "3")], to=1).numpy()
    np.testing.assert_array_equal(read, np.array([1e-2, -np.inf, np.nan, 3], np.float32))
    with pytest.raises(ValueError, match="'x' is not the text of a number"):
        one_node("Cast", [texts("x")], to=1)


def test_n_grams_are_counted_with_and_without_gaps():
    x = np.array([[1, 1, 3, 3, 3, 7], [8, 6, 7, 5, 6, 8]], np.int32)
    pool = {"ngram_counts": [0, 4], "ngram_indexes": [0, 1, 2, 3, 4, 5, 6], "pool_int64s": [2, 3, 5, 4, 5, 6, 7, 8, 6, 7]}
    found = one_node("TfIdfVectorizer", [x], mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=1, **pool)
    assert found.tolist() == [[0, 3, 0, 0, 0, 0, 0], [0, 0, 1, 0, 1, 0, 1]]


def test_labels_are_looked_up_also_inside_nr_jit():
    encode = {"domain": "ai.onnx.ml", "keys_strings": ["a", "b"], "values_int64s": [4, 5], "default_int64": -3}
    assert one_node("LabelEncoder", [texts("b", "c")], **encode).tolist() == [5, -3]
    graph = helper.make_graph(
        [helper.make_node("LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_floats=[0.5, float("nan")], values_floats=[1.0, 2.0], default_float=9.0)],
        "g", [helper.make_tensor_value_info("x", 1, [None])], [onnx.ValueInfoProto(name="y")],
    )  # fmt: skip
    model = nr.onnx.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 4)]))
    assert nr.jit(model)(nr.tensor([0.5, float("nan"), 3.0])).tolist() == [1.0, 2.0, 9.0]


def test_a_matrix_becomes_maps_and_maps_become_vectors():
    rows = one_node("ZipMap", [np.array([[0.25, 0.75]], np.float32)], domain="ai.onnx.ml", classlabels_strings=["no", "yes"])
    assert rows == [{"no": 0.25, "yes": 0.75}]
    graph = helper.make_graph(
        [helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "c", "b"])], "g", [onnx.ValueInfoProto(name="x")],
        [onnx.ValueInfoProto(name="y")],
    )  # fmt: skip
    model = nr.onnx.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)]))
    assert model({"a": 4, "b": 8}).tolist() == [4, 0, 8]


def test_sequences_are_lists():
    text = """<ir_version: 10, opset_import: ["" : 17]> f (float[N] a, float[M] b) => (seq(float[K]) s, float[L] joined, int64 n) <int64 first = {0}> {
        pair = SequenceConstruct(a, b)  more = SequenceInsert(pair, b, first)  s = SequenceErase(more, first)
        joined = ConcatFromSequence<axis = 0>(more)  n = SequenceLength(more) }"""
    model = nr.onnx.load(onnx.parser.parse_model(text))
    a, b = nr.tensor([1.0]), nr.tensor([2.0, 3.0])
    for run in (model, nr.jit(model)):
        s, joined, n = run(a, b)
        assert ([t.tolist() for t in s], joined.tolist(), n.item()) == ([[1.0], [2.0, 3.0]], [2.0, 3.0, 1.0, 2.0, 3.0], 3)
