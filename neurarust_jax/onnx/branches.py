"""Python code that goes another way for other lengths of the open dimensions than an exported model does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from .dynamic import OpenShapes
from .sites import Site, following


def warn_of_branches(shapes: OpenShapes, run: Callable[[list[tuple[int, ...]]], Any]) -> None:
    """Say where the function went a way that it does not go for every length.

    Comparisons that the bounds of a dimension do not decide were noted while tracing. Those that look decided, such as ``n == 1`` or ``n % 2 == 0``, show if the function
    is run with other lengths.

    Args:
        shapes: the open dimensions.
        run: runs the function on abstract values of some shapes.
    """
    for site, fact in shapes.compared:
        warnings.warn(
            f"{site} compares the length of a dynamic dimension. The exported model does what the function does where {shapes.in_words(fact)}, as in the example. Give the "
            "dimension bounds by nr.onnx.Dim(name, min=..., max=...), or leave it out of dynamic_shapes.",
            stacklevel=3,
        )
    if shapes.compared or not shapes.lengths:
        return
    usual = _way(shapes, run, shapes.lengths)
    for lengths in shapes.others():
        other = _way(shapes, run, lengths)
        if usual is None or other is None or usual == other:
            continue
        number = next((i for i, (a, b) in enumerate(zip(usual, other, strict=False)) if a != b), min(len(usual), len(other)))
        site = (usual[max(number - 1, 0) :] or other)[0]
        there, here = (", ".join(f"{shapes.written.get(n, n)}={length}" for n, length in ls.items()) for ls in (lengths, shapes.lengths))
        warnings.warn(
            f"the function goes another way for {there} than for {here}, from {site} on, and an exported model has one way for all lengths. Leave the dimension out of "
            "dynamic_shapes, exclude that length by the bounds of nr.onnx.Dim(name, min=..., max=...), or write the choice as nr.where or nr.cond.",
            stacklevel=3,
        )
        return


def _way(shapes: OpenShapes, run: Callable, lengths: Mapping[str, int]) -> list[Site] | None:
    """The way that the function goes for some lengths; `None` if it refuses them."""
    way: list[Site] = []
    try:
        with warnings.catch_warnings(), following(way):
            warnings.simplefilter("ignore")
            run(shapes.shapes_at(lengths))
    except Exception:
        return None
    return way
