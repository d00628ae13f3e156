"""Pooling layers."""

import numpy as np

from . import IMAGE, G, Row, normal

VOLUME = normal(2, 2, 4, 5, 6)
POOLED, PLACES = normal(2, 1, 3, 2), np.stack([G.permutation(20)[:6].reshape(1, 3, 2) for _ in range(2)])

ROWS = [
    Row("MaxPool2d", (2,), inputs=(IMAGE,)),
    Row("MaxPool2d", (3,), {"stride": 2, "padding": 1, "dilation": 2}, (IMAGE,)),
    Row("MaxPool2d", ((3, 2),), {"stride": (2, 3), "ceil_mode": True}, (IMAGE[0],)),
    Row("MaxPool2d", (2,), {"return_indices": True, "padding": 1}, (IMAGE,)),
    Row("MaxPool1d", (5,), {"stride": 6, "padding": 2}, (normal(2, 3, 20),)),
    Row("MaxPool3d", ((2, 3, 1),), {"stride": (1, 2, 2), "return_indices": True}, (VOLUME,)),
    Row("MaxUnpool2d", (2,), inputs=(POOLED, PLACES)),
    Row("MaxUnpool2d", (2,), {"stride": (1, 2)}, (POOLED, PLACES), {"output_size": (2, 1, 4, 5)}),
    Row("AvgPool1d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (normal(2, 3, 8),)),
    Row("AvgPool2d", (2,), inputs=(IMAGE,)),
    Row("AvgPool2d", ((4, 3),), {"stride": (2, 3), "padding": 1, "ceil_mode": True, "count_include_pad": False}, (IMAGE,)),
    Row("AvgPool3d", (2,), {"divisor_override": 5}, (VOLUME[0],), half=False),  # PyTorch has it in neither on the CPU
    Row("LPPool1d", (2, 3), {"stride": 2}, (normal(3, 9),)),
    Row("LPPool2d", (3.5, 2), {"ceil_mode": True}, (np.abs(IMAGE),)),
    Row("FractionalMaxPool2d", (2,), {"output_ratio": (0.6, 0.5), "_random_samples": np.abs(normal(2, 4, 2)) % 1, "return_indices": True}, (IMAGE,)),
    Row("FractionalMaxPool3d", (2,), {"output_size": (2, 3, 4), "_random_samples": np.abs(normal(2, 2, 3)) % 1}, (VOLUME,)),
    Row("AdaptiveMaxPool1d", (4,), inputs=(normal(2, 3, 10),)),
    Row("AdaptiveMaxPool2d", ((3, None),), {"return_indices": True}, (IMAGE,)),
    Row("AdaptiveMaxPool3d", ((2, 5, 4),), inputs=(VOLUME,)),
    Row("AdaptiveAvgPool1d", (4,), inputs=(normal(3, 10),)),
    Row("AdaptiveAvgPool2d", (1,), inputs=(IMAGE,)),
    Row("AdaptiveAvgPool2d", ((3, None),), inputs=(IMAGE,)),
    Row("AdaptiveAvgPool2d", ((7, 5),), inputs=(IMAGE[0],)),
    Row("AdaptiveAvgPool3d", ((2, 8, 4),), inputs=(VOLUME,)),
]
