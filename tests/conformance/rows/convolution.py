"""Convolution layers."""

from . import IMAGE, Row

ROWS = [
    Row("Conv2d", (4, 6, 3), inputs=(IMAGE,)),
    Row("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}, (IMAGE,)),
    Row("Conv2d", (4, 4, 3), {"padding": "same", "groups": 4, "bias": False}, (IMAGE,)),
    Row("Conv2d", (4, 6, 3), {"padding": "valid"}, (IMAGE[0],)),
    Row("Conv2d", (4, 6, 2), {"padding": "same", "dilation": 3}, (IMAGE,)),
]
