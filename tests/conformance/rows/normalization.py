"""Normalization layers."""

from . import IMAGE, Row

ROWS = [
    Row("BatchNorm2d", (4,), inputs=(IMAGE,), batch_dependent=True),
    Row("BatchNorm2d", (4,), {"affine": False, "momentum": None, "eps": 1e-3}, (IMAGE,), batch_dependent=True),
    Row("BatchNorm2d", (4,), {"track_running_stats": False}, (IMAGE,), batch_dependent=True),
    Row("LayerNorm", (8,), inputs=(IMAGE,)),
    Row("LayerNorm", ([7, 8],), {"bias": False}, (IMAGE,)),
    Row("LayerNorm", (8,), {"elementwise_affine": False, "eps": 1e-2}, (IMAGE,)),
]
