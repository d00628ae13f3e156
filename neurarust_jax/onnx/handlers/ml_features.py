"""Preparation of features in ai.onnx.ml: scaling, encoding, look-up, maps (which are Python dicts)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ...errors import ArgumentError
from ..conversion import STRING, convert
from ..registry import handler
from ..values import apply, dtype_of, is_strings, shape_of, static_value
from .ml_scores import floating

_ML = "ai.onnx.ml"


def _scaler(x, offset, scale):
    x = x.astype(np.float32)
    return (x - offset) * scale


@handler("Scaler", domain=_ML)
def scaler(node, x):
    offset, scale = (np.array(node.get(name) or [neutral], np.float32) for name, neutral in (("offset", 0.0), ("scale", 1.0)))
    return apply(_scaler, x, offset, scale)


def _normalizer(x, norm: str):
    x = x.astype(np.float32)
    axis = x.ndim - 1
    inner = {"MAX": x, "L1": jnp.abs(x), "L2": x * x}[norm]  # the maximum is not of absolute values, as ONNX defines it and ONNX Runtime computes it
    size = inner.max(axis, keepdims=True) if norm == "MAX" else inner.sum(axis, keepdims=True)
    size = jnp.sqrt(size) if norm == "L2" else size
    return jnp.where(size == 0, x, x / jnp.where(size == 0, 1, size))


@handler("Normalizer", domain=_ML)
def normalizer(node, x):
    norm = node.get("norm", "MAX")
    if norm not in ("MAX", "L1", "L2"):
        raise ArgumentError(f"Normalizer: norm is MAX, L1 or L2, got {norm!r}")
    return apply(_normalizer, x, norm=norm)


def _binarizer(x, threshold: float):
    return (x > jnp.asarray(threshold, x.dtype)).astype(x.dtype)


@handler("Binarizer", domain=_ML)
def binarizer(node, x):
    return apply(_binarizer, x, threshold=node.get("threshold", 0.0))


def _imputed(x, values, replaced: float):
    missing = jnp.isnan(x) if x.dtype.kind == "f" and np.isnan(replaced) else x == np.asarray(replaced, x.dtype)
    return jnp.where(missing, values, x)


@handler("Imputer", domain=_ML)
def imputer(node, x):
    dtype = dtype_of(x)
    kind = ("imputed_value_int64s", "replaced_value_int64", 0) if dtype.kind == "i" else ("imputed_value_floats", "replaced_value_float", 0.0)
    values = node.get(kind[0])
    if not values:
        raise ArgumentError(f"Imputer {node.name!r}: an input of {dtype} needs the attribute {kind[0]}")
    return apply(_imputed, x, np.array(values, dtype), replaced=node.get(kind[1], kind[2]))


def _picked(x, places):
    return jnp.take(x.reshape(1, -1) if x.ndim == 1 else x, places.reshape(-1), -1, mode="clip")


@handler("ArrayFeatureExtractor", domain=_ML)
def array_feature_extractor(node, x, places):
    if is_strings(x):
        return (x.reshape(1, -1) if x.ndim == 1 else x)[..., np.asarray(static_value(places, "ArrayFeatureExtractor: the places")).reshape(-1)]
    return apply(_picked, x, places)


def _joined(*features, lengths: tuple[int, ...]):
    pieces = []
    for x, length in zip(features, lengths, strict=True):
        x = floating(x)
        x = x[None] if x.ndim == 1 else x.reshape(x.shape[0], -1)
        pieces.append(x[:, :length] if x.shape[1] >= length else jnp.pad(x, ((0, 0), (0, length - x.shape[1]))))
    return jnp.concatenate(pieces, 1).astype(np.float32)


@handler("FeatureVectorizer", domain=_ML)
def feature_vectorizer(node, *features):
    widths = [int(np.prod(shape_of(x)[1:])) if len(shape_of(x)) > 1 else shape_of(x)[0] for x in features]
    return apply(_joined, *features, lengths=tuple(node.get("inputdimensions") or widths))


# --- look-up ---------------------------------------------------------------------------------------------------------


def _by_key(x, keys, values, default):
    """The value of the last key that each element equals, else the default."""
    same = x[..., None] == keys
    if keys.dtype.kind == "f":
        same = same | (jnp.isnan(x)[..., None] & jnp.isnan(keys))
    last = keys.shape[0] - 1 - jnp.argmax(same[..., ::-1], -1)
    return jnp.where(same.any(-1), jnp.take(values, last, mode="clip"), default)


def _looked_up(x: Any, keys: np.ndarray, values: np.ndarray, default: Any) -> Any:
    """The value of each element's key; strings, on either side, only where the elements are known."""
    if not is_strings(x) and values.dtype.kind != "O":
        return apply(_by_key, x, convert(keys, dtype_of(x)), values, np.asarray(default, values.dtype))
    known = np.asarray(static_value(x, "the input of an encoder of strings"))
    table = {_key(k): v for k, v in zip(keys.tolist(), values.tolist(), strict=True)}
    found = [table.get(_key(k), default) for k in known.reshape(-1).tolist()]
    result = np.empty(known.shape, values.dtype)
    result.reshape(-1)[:] = found
    return result


def _key(key: Any) -> Any:
    return "not a number" if isinstance(key, float) and key != key else key


_DEFAULTS = {"strings": "_Unused", "int64s": -1, "floats": -0.0}
_DTYPES = {"strings": STRING, "int64s": np.dtype(np.int64), "floats": np.dtype(np.float32)}


def _listed(node, prefix: str) -> tuple[np.ndarray, str]:
    """The keys or values of a `LabelEncoder`, and of which kind they are."""
    tensor = node.get(f"{prefix}_tensor")
    if tensor is not None:
        return tensor, "tensor"
    for kind, dtype in _DTYPES.items():
        given = node.get(f"{prefix}_{kind}")
        if given is not None:
            return np.array(given, dtype), kind
    raise ArgumentError(f"LabelEncoder {node.name!r}: expected one of {', '.join(f'{prefix}_{kind}' for kind in _DTYPES)}")


@handler("LabelEncoder", domain=_ML, since=2)
def label_encoder(node, x):
    keys, _ = _listed(node, "keys")
    values, kind = _listed(node, "values")
    if kind == "tensor":
        default = node.get("default_tensor")
        plain = "_Unused" if values.dtype.kind == "O" else -0.0 if values.dtype.kind == "f" else -1
        default = plain if default is None else default.reshape(-1)[0]
    else:
        default = node.get(f"default_{kind.removesuffix('s')}", _DEFAULTS[kind])
    return _looked_up(x, keys, values, default)


@handler("LabelEncoder", domain=_ML, since=1)
def label_encoder_of_classes(node, x):
    classes = np.array(node.get("classes_strings"), STRING)
    numbers = np.arange(len(classes))
    if is_strings(x):
        return _looked_up(x, classes, numbers, node.get("default_int64", -1))
    return _looked_up(x, numbers, classes, node.get("default_string", "_Unused"))


@handler("CategoryMapper", domain=_ML)
def category_mapper(node, x):
    texts, numbers = np.array(node.get("cats_strings"), STRING), np.array(node.get("cats_int64s"), np.int64)
    if is_strings(x):
        return _looked_up(x, texts, numbers, node.get("default_int64", -1))
    return _looked_up(x, numbers, texts, node.get("default_string", "_Unused"))


def _one_hot_of(x, categories):
    x = x.astype(np.int64)
    return (x[..., None] == categories).astype(np.float32)


@handler("OneHotEncoder", domain=_ML)
def one_hot_encoder(node, x):
    texts, numbers = node.get("cats_strings"), node.get("cats_int64s")
    of_texts = is_strings(x)
    encoded = (x[..., None] == np.array(texts, STRING)).astype(np.float32) if of_texts else apply(_one_hot_of, x, np.array(numbers, np.int64))
    if not node.get("zeros", 1):
        found = np.asarray(static_value(encoded, "OneHotEncoder with zeros=0: whether all categories are known")).any(-1)
        if not found.all():
            raise ArgumentError(f"OneHotEncoder {node.name!r}: {int((~found).sum())} elements are of none of the categories {texts or numbers}")
    return encoded


# --- maps ------------------------------------------------------------------------------------------------------------


@handler("ZipMap", domain=_ML)
def zip_map(node, x):
    labels = node.get("classlabels_strings") or node.get("classlabels_int64s")
    rows = np.asarray(static_value(x, "ZipMap: the values"))
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.shape[1] != len(labels):
        raise ArgumentError(f"ZipMap {node.name!r}: {rows.shape[1]} columns and {len(labels)} labels")
    return [dict(zip(labels, row.tolist(), strict=True)) for row in rows]


def _numbers_of(values: list[Any]) -> np.ndarray:
    """Values of a map as an array; Python's floats are float32, as in ONNX's maps."""
    values = [np.asarray(static_value(v, "a value of a map")) for v in values]
    array = np.array([v.item() if v.dtype.kind in "OU" else v for v in values]) if values else np.zeros(0, np.float32)
    if array.dtype.kind == "U":
        return array.astype(STRING)
    return array.astype(np.float32) if array.dtype == np.float64 else array


@handler("DictVectorizer", domain=_ML)
def dict_vectorizer(node, x):
    vocabulary = node.get("string_vocabulary") or node.get("int64_vocabulary")
    if isinstance(x, list):
        return np.stack([dict_vectorizer(node, row) for row in x])
    unknown = [key for key in x if key not in vocabulary]
    if unknown:
        raise ArgumentError(f"DictVectorizer {node.name!r}: keys {unknown} are not in the vocabulary")
    kind = _numbers_of(list(x.values())).dtype
    return np.array([x.get(key, "" if kind.kind == "O" else 0) for key in vocabulary], kind)


@handler("CastMap", domain=_ML)
def cast_map(node, x):
    dtype = {"TO_FLOAT": np.dtype(np.float32), "TO_STRING": STRING, "TO_INT64": np.dtype(np.int64)}[node.get("cast_to", "TO_FLOAT")]
    keys = sorted(x)
    values = [np.asarray(static_value(x[key], "a value of a map")).item() for key in keys]
    texts = [str(v) if dtype == STRING else float(v) if dtype.kind == "f" else int(float(v)) for v in values]
    if node.get("map_form", "DENSE") == "DENSE":
        return np.array(texts, dtype)[None]
    length = node.get("max_map", 1)
    if keys and keys[-1] >= length:
        raise ArgumentError(f"CastMap {node.name!r}: the key {keys[-1]} is not below max_map={length}")
    result = np.full(length, "" if dtype == STRING else 0, dtype)
    result[keys] = texts
    return result[None]
