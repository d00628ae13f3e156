"""Operators on strings, which are known values: arrays of Python strings."""

from __future__ import annotations

import functools
import re

import numpy as np

from ...errors import ArgumentError, ArgumentTypeError, ShapeError
from ..conversion import STRING
from ..registry import handler
from ..values import is_strings, static_value


def strings(x, op: str) -> np.ndarray:
    """An array of Python strings."""
    if not is_strings(x):
        raise ArgumentTypeError(f"{op} takes strings, got {getattr(x, 'dtype', type(x).__name__)}")
    return np.asarray(x).astype(STRING)


def _each(function, x: np.ndarray, dtype) -> np.ndarray:
    result = np.empty(x.shape, dtype)
    result.reshape(-1)[:] = [function(text) for text in x.reshape(-1)]
    return result


@handler("StringConcat", since=20)
def string_concat(node, x, y):
    x, y = np.broadcast_arrays(strings(x, "StringConcat"), strings(y, "StringConcat"))
    result = np.empty(x.shape, STRING)
    result.reshape(-1)[:] = [a + b for a, b in zip(x.reshape(-1), y.reshape(-1), strict=True)]
    return result


@handler("StringSplit", since=20)
def string_split(node, x):
    x = strings(x, "StringSplit")
    delimiter, limit = node.get("delimiter") or None, node.get("maxsplit")
    pieces = [text.split(delimiter, -1 if limit is None else limit) for text in x.reshape(-1)]
    counts = np.array([len(p) for p in pieces], np.int64).reshape(x.shape)
    width = int(counts.max(initial=0))
    padded = np.full((x.size, width), "", STRING)
    for row, found in zip(padded, pieces, strict=True):
        row[: len(found)] = found
    return padded.reshape(*x.shape, width), counts


@handler("RegexFullMatch", since=20)
def regex_full_match(node, x):
    pattern = re.compile(node.get("pattern", ""))
    return _each(lambda text: pattern.fullmatch(text) is not None, strings(x, "RegexFullMatch"), bool)


@handler("StringNormalizer", since=10)
def string_normalizer(node, x):
    x = strings(x, "StringNormalizer")
    if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[0] != 1):
        raise ShapeError(f"StringNormalizer takes shape (C,) or (1, C), got {x.shape}")
    action, by_case = node.get("case_change_action", "NONE"), node.get("is_case_sensitive", 0)
    if action not in ("NONE", "LOWER", "UPPER"):
        raise ArgumentError(f"StringNormalizer: case_change_action is NONE, LOWER or UPPER, got {action!r}")
    fold = (lambda text: text) if by_case else str.lower
    stopwords = {fold(word) for word in node.get("stopwords", None) or ()}
    kept = [text for text in x.reshape(-1) if fold(text) not in stopwords]
    change = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}[action]
    kept = [change(text) for text in kept] or [""]
    result = np.array(kept, STRING)
    return result if x.ndim == 1 else result[None]


# --- n-grams ---------------------------------------------------------------------------------------------------------


def _ngrams(node) -> dict[tuple, int]:
    """The column of each n-gram in the pool, for the lengths asked for."""
    pool, starts, columns = node.get("pool_strings") or node.get("pool_int64s") or [], node.get("ngram_counts"), node.get("ngram_indexes")
    found: dict[tuple, int] = {}
    number = 0
    for length, start in enumerate(starts, start=1):
        end = starts[length] if length < len(starts) else len(pool)
        for at in range(start, end, length):
            if node.get("min_gram_length") <= length <= node.get("max_gram_length"):
                found[tuple(pool[at : at + length])] = columns[number]
            number += 1
    return found


@handler("TfIdfVectorizer", since=9)
def tf_idf_vectorizer(node, x):
    x = static_value(x, "TfIdfVectorizer")
    if x.ndim > 2:
        raise ShapeError(f"TfIdfVectorizer takes shape (C,) or (N, C), got {x.shape}")
    columns, width = _ngrams(node), max(node.get("ngram_indexes")) + 1
    rows = x.reshape(-1, x.shape[-1] if x.ndim else 1).tolist()
    counts = np.zeros((len(rows), width), np.float32)
    for row, elements in zip(counts, rows, strict=True):
        for length in range(node.get("min_gram_length"), node.get("max_gram_length") + 1):
            for skip in range(1, (node.get("max_skip_count") if length > 1 else 0) + 2):  # a single element has nothing to skip
                span = (length - 1) * skip + 1
                for start in range(len(elements) - span + 1):
                    column = columns.get(tuple(elements[start : start + span : skip]))
                    if column is not None:
                        row[column] += 1
    weights, mode = node.get("weights"), node.get("mode")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise ArgumentError(f"TfIdfVectorizer: mode is TF, IDF or TFIDF, got {mode!r}")
    if mode == "IDF":
        counts = (counts > 0).astype(np.float32)
    if mode != "TF" and weights:
        counts = counts * _by_column(tuple(node.get("ngram_indexes")), tuple(weights), width)
    return counts[0] if x.ndim < 2 else counts


@functools.lru_cache(16)
def _by_column(columns: tuple[int, ...], weights: tuple[float, ...], width: int) -> np.ndarray:
    """The weights, which stand in the order of the pool, in the order of the columns."""
    result = np.ones(width, np.float32)
    result[list(columns)] = weights
    return result
