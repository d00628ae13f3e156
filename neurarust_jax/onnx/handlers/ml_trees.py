"""Tree ensembles of ai.onnx.ml: all trees go down one level at a time, for the whole batch."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...errors import ArgumentError, ModelFileError
from ..registry import handler
from ..values import apply
from .ml_scores import TRANSFORMS, chosen, floating, labels_of, transformed, two_columns

_ML = "ai.onnx.ml"
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF")
_LEAF = _MODES.index("LEAF")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


class _Forest(NamedTuple):
    """Nodes of all trees in one list.

    Attributes:
        roots: the node where each tree starts.
        feature, mode, split, missing: what each node asks, and where NaN goes.
        yes, no: the nodes that follow; a leaf follows itself.
        members: for each node the set of values that it asks for, filled up with NaN, or `None` if none does.
        votes: what each node adds to each target.
        voted: which targets each node adds to.
        depth: levels from the roots to the deepest leaf.
    """

    roots: np.ndarray
    feature: np.ndarray
    mode: np.ndarray
    split: np.ndarray
    missing: np.ndarray
    yes: np.ndarray
    no: np.ndarray
    members: np.ndarray | None
    votes: np.ndarray
    voted: np.ndarray
    depth: int


_forests: weakref.WeakKeyDictionary[Any, _Forest] = weakref.WeakKeyDictionary()


def _kept(node, make: Any, *arguments: Any) -> _Forest:
    """The forest of a graph's node, made once."""
    found = _forests.get(node)
    if found is None:
        found = _forests[node] = make(node, *arguments)
    return found


def _depth(roots: np.ndarray, yes: np.ndarray, no: np.ndarray, leaves: np.ndarray) -> int:
    """Levels down to the deepest leaf."""
    level, depth = np.unique(roots), 0
    while not leaves[level].all():
        inner = level[~leaves[level]]
        level, depth = np.unique(np.concatenate([yes[inner], no[inner]])), depth + 1
        if depth > len(yes):
            raise ModelFileError("a tree of the ensemble leads back to itself")
    return depth


def _votes(count: int, places: np.ndarray, targets: np.ndarray, weights: np.ndarray, n_targets: int) -> tuple[np.ndarray, np.ndarray]:
    votes, voted = np.zeros((count, n_targets), weights.dtype), np.zeros((count, n_targets), bool)
    np.add.at(votes, (places, targets), weights)
    voted[places, targets] = True
    return votes, voted


def _numbers(node, name: str) -> np.ndarray:
    """A list of floats, or the tensor that stands in its place for doubles."""
    tensor = node.get(f"{name}_as_tensor")
    return np.array(node.get(name) or [], np.float32) if tensor is None or not tensor.size else tensor


def _by_tree_and_node(node, kind: str, n_targets: int) -> _Forest:
    """The forest of the older operators, whose nodes are named by tree and number, and whose leaves vote in lists of their own."""
    trees, numbers = np.array(node.get("nodes_treeids")), np.array(node.get("nodes_nodeids"))
    place = {key: i for i, key in enumerate(zip(trees.tolist(), numbers.tolist(), strict=True))}
    mode = np.array([_MODES.index(m) for m in node.get("nodes_modes")])
    leaves, own = mode == _LEAF, np.arange(len(mode))
    try:
        follow = {
            name: np.array([i if leaf else place[tree, child] for i, leaf, tree, child in zip(own, leaves, trees.tolist(), node.get(name), strict=True)])
            for name in ("nodes_truenodeids", "nodes_falsenodeids")
        }
        voters = np.array([place[key] for key in zip(node.get(f"{kind}_treeids"), node.get(f"{kind}_nodeids"), strict=True)], int)
    except KeyError as error:
        raise ModelFileError(f"{node.op_type} {node.name!r}: there is no node {error.args[0]} (tree, number)") from None
    yes, no = follow["nodes_truenodeids"], follow["nodes_falsenodeids"]
    roots = np.array([np.flatnonzero(trees == tree)[0] for tree in np.unique(trees)])
    votes, voted = _votes(len(mode), voters, np.array(node.get(f"{kind}_ids"), int), _numbers(node, f"{kind}_weights"), n_targets)
    missing = np.array(node.get("nodes_missing_value_tracks_true") or [0] * len(mode), bool)
    feature = np.array(node.get("nodes_featureids"))
    return _Forest(roots, feature, mode, _numbers(node, "nodes_values"), missing, yes, no, None, votes, voted, _depth(roots, yes, no, leaves))


def _by_branch(node) -> _Forest:
    """The forest of `TreeEnsemble`: inner nodes, then leaves."""
    mode, split, weights = (np.asarray(node.get(name)) for name in ("nodes_modes", "nodes_splits", "leaf_weights"))
    inner, count = len(mode), len(weights)
    places = np.arange(inner, inner + count)

    def follow(ids: str, leaves: str) -> np.ndarray:
        return np.concatenate([np.array(node.get(ids)) + np.where(np.array(node.get(leaves), bool), inner, 0), places])

    yes, no = follow("nodes_truenodeids", "nodes_trueleafs"), follow("nodes_falsenodeids", "nodes_falseleafs")
    mode = np.concatenate([mode.astype(int), np.full(count, _LEAF)])
    feature = np.concatenate([np.array(node.get("nodes_featureids")), np.zeros(count, int)])
    missing = np.concatenate([np.array(node.get("nodes_missing_value_tracks_true") or [0] * inner, bool), np.zeros(count, bool)])
    roots = np.array(node.get("tree_roots"))
    votes, voted = _votes(inner + count, places, np.array(node.get("leaf_targetids"), int), weights, node.get("n_targets", 1))
    members = _members(node, mode, split.dtype)
    split = np.concatenate([split, np.zeros(count, split.dtype)])
    return _Forest(roots, feature, mode, split, missing, yes, no, members, votes, voted, _depth(roots, yes, no, mode == _LEAF))


def _members(node, mode: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    asking = np.flatnonzero(mode == _MODES.index("BRANCH_MEMBER"))
    if not len(asking):
        return None
    values = np.asarray(node.get("membership_values"), dtype)
    ends = np.flatnonzero(np.isnan(values))
    if len(ends) != len(asking):
        raise ModelFileError(f"TreeEnsemble {node.name!r}: {len(asking)} nodes ask for a set, and membership_values holds {len(ends)} sets")
    sets = [part[~np.isnan(part)] for part in np.split(values, ends + 1)[: len(asking)]]
    table = np.full((len(mode), max(map(len, sets))), np.nan, dtype)
    for place, one in zip(asking, sets, strict=True):
        table[place, : len(one)] = one
    return table


def _reached(x, roots, feature, mode, split, missing, yes, no, members, depth: int):
    """The leaf that each row reaches in each tree, shape (N, trees)."""
    rows = jnp.arange(x.shape[0])[:, None]

    def down(_: Any, place: Any) -> Any:
        value, at, kind = x[rows, feature[place]], split[place], mode[place]
        answers = [value <= at, value < at, value >= at, value > at, value == at, value != at]
        if members is not None:
            answers.append((value[..., None] == members[place]).any(-1))
        answer = jnp.select([kind == i for i in range(len(answers))], answers, False)
        answer = answer | (jnp.isnan(value) & missing[place])
        return jnp.where(answer, yes[place], no[place])

    return lax.fori_loop(0, depth, down, jnp.broadcast_to(roots, (x.shape[0], roots.shape[0])))


def _summed(x, roots, feature, mode, split, missing, yes, no, members, votes, voted, depth: int, aggregate: str):
    """The votes of all trees for each target."""
    x = floating(x)
    places = _reached(x, roots, feature, mode, split.astype(x.dtype), missing, yes, no, members, depth)
    scores = votes[places]
    if aggregate in ("SUM", "AVERAGE"):
        total = scores.sum(1)
        return total / roots.shape[0] if aggregate == "AVERAGE" else total
    counts = voted[places]
    outside = jnp.inf if aggregate == "MIN" else -jnp.inf
    scores = jnp.where(counts, scores, outside)
    total = scores.min(1) if aggregate == "MIN" else scores.max(1)
    return jnp.where(counts.any(1), total, 0)


def _regress(x, *arrays: Any, depth: int, aggregate: str, transform: str, dtype: Any):
    *forest, base = arrays
    scores = _summed(x, *forest, depth=depth, aggregate=aggregate)
    if base is not None:
        scores = scores + base.astype(scores.dtype)
    return transformed(scores, transform).astype(dtype)


def _output_dtype(forest: _Forest) -> np.dtype:
    return np.dtype(forest.votes.dtype)


@handler("TreeEnsembleRegressor", domain=_ML)
def tree_ensemble_regressor(node, x):
    aggregate = node.get("aggregate_function", "SUM")
    if aggregate not in _AGGREGATES:
        raise ArgumentError(f"aggregate_function is one of {', '.join(_AGGREGATES)}, got {aggregate!r}")
    forest = _kept(node, _by_tree_and_node, "target", node.get("n_targets", 1))
    base = _numbers(node, "base_values")
    options = {"aggregate": aggregate, "transform": node.get("post_transform", "NONE"), "dtype": np.dtype(np.float32)}
    return apply(_regress, x, *forest[:-1], base if base.size else None, depth=forest.depth, **options)


@handler("TreeEnsemble", domain=_ML, since=5)
def tree_ensemble(node, x):
    forest = _kept(node, _by_branch)
    aggregate, transform = _AGGREGATES[node.get("aggregate_function", 1)], TRANSFORMS[node.get("post_transform", 0)]
    return apply(_regress, x, *forest[:-1], None, depth=forest.depth, aggregate=aggregate, transform=transform, dtype=_output_dtype(forest))


def _classify(x, *arrays: Any, depth: int, transform: str, target: int | None, positive: bool):
    """(number of the class, scores); with `target` all votes are for that one class, the second of two."""
    *forest, base = arrays
    scores = _summed(x, *forest, depth=depth, aggregate="SUM")
    if target is None:
        if base is not None:
            scores = scores + base.astype(scores.dtype)
        return jnp.argmax(scores, 1).astype(np.int64), transformed(scores, transform).astype(np.float32)
    score = scores[:, target : target + 1]
    if base is not None:
        score = score + base[-1].astype(score.dtype)
    if positive:  # the votes are probabilities
        return (score[:, 0] > 0.5).astype(np.int64), jnp.concatenate([1 - score, score], 1).astype(np.float32)
    return (score[:, 0] > 0).astype(np.int64), two_columns(score, transform).astype(np.float32)


@handler("TreeEnsembleClassifier", domain=_ML)
def tree_ensemble_classifier(node, x):
    labels, _ = labels_of(node, "classlabels_strings", "classlabels_int64s")
    targets = set(node.get("class_ids"))
    forest = _kept(node, _by_tree_and_node, "class", max(len(labels), max(targets) + 1))
    base = _numbers(node, "base_values")
    binary = len(labels) <= 2 and len(targets) == 1
    if len(labels) == 1:
        labels = np.array(["", labels[0]], object) if labels.dtype.kind == "O" else np.array([0, labels[0]], np.int64)
    number, scores = apply(
        _classify, x, *forest[:-1], base if base.size else None, depth=forest.depth, transform=node.get("post_transform", "NONE"),
        target=next(iter(targets)) if binary else None, positive=bool((_numbers(node, "class_weights") >= 0).all()),
    )  # fmt: skip
    return chosen(labels, number), scores
