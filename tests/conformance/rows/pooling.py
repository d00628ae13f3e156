"""Pooling layers."""

from . import IMAGE, Row

ROWS = [
    Row("MaxPool2d", (2,), inputs=(IMAGE,)),
    Row("MaxPool2d", (3,), {"stride": 2, "padding": 1, "dilation": 2}, (IMAGE,)),
    Row("MaxPool2d", ((3, 2),), {"stride": (2, 3), "ceil_mode": True}, (IMAGE[0],)),
    Row("MaxPool2d", (2,), {"return_indices": True, "padding": 1}, (IMAGE,)),
    Row("AdaptiveAvgPool2d", (1,), inputs=(IMAGE,)),
    Row("AdaptiveAvgPool2d", ((3, None),), inputs=(IMAGE,)),
    Row("AdaptiveAvgPool2d", ((7, 5),), inputs=(IMAGE[0],)),
]
