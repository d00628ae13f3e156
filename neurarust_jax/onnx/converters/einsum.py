"""Einstein's sums."""

from __future__ import annotations

from typing import Any

from ..builder import Graph, Value
from ..lowering import case, converter
from .elementwise import out_dtype

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@converter(
    "_einsum",
    cases=[
        case("nr.einsum('bij,bjk->bik', x, y)", "MatMul", x=(2, 3, 4), y=(2, 4, 5)),
        case("nr.einsum('bhid,bhjd->bhij', x, y)", "Einsum", x=(2, 3, 4, 5), y=(2, 3, 6, 5)),
        case("nr.einsum('...i,i->...', x, y)", "Einsum", x=(2, 3, 4), y=(4,)),
        case("nr.einsum('ii->i', x)", "Einsum", x=(3, 3)),
    ],
)
def _einsum(g: Graph, subscripts: tuple[tuple[Any, ...], ...], output: tuple[Any, ...] | None, operands: list[Value]) -> Value | None:
    if any(x.dtype != out_dtype(g) for x in operands):
        return None
    labels = sorted({label for part in (*subscripts, output or ()) for label in part if label is not ...})
    if len(labels) > len(_LETTERS):
        return None
    names = dict(zip(labels, _LETTERS, strict=False))

    def text(part: tuple[Any, ...]) -> str:
        return "".join("..." if label is ... else names[label] for label in part)

    inputs = [text(part) for part in subscripts]
    if output is None:
        flat = [label for part in subscripts for label in part if label is not ...]
        output = (*((...,) if any(... in part for part in subscripts) else ()), *(label for label in labels if flat.count(label) == 1))
    if len(inputs) == 2 and _is_matmul(inputs[0], inputs[1], text(output)):
        return g.add("MatMul", *operands)
    return g.add("Einsum", *operands, equation=f"{','.join(inputs)}->{text(output)}")


def _is_matmul(left: str, right: str, output: str) -> bool:
    """Whether it is a product of matrices, with the same dimensions in front of all."""
    if "." in left + right or min(len(left), len(right)) < 2 or len({*left}) != len(left) or len({*right}) != len(right):
        return False
    batch, i, k = left[:-2], left[-2], left[-1]
    return right[:-2] == batch and right[-2] == k and output == batch + i + right[-1] and i != right[-1] and len(left) == len(right)
