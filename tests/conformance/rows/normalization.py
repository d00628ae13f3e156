"""Normalization layers."""

from . import IMAGE, Row, normal

SEQUENCE, VOLUME = normal(3, 4, 5), normal(2, 4, 2, 3, 2)

ROWS = [
    Row("BatchNorm1d", (4,), inputs=(normal(6, 4),), batch_dependent=True),
    Row("BatchNorm1d", (4,), {"bias": False}, (SEQUENCE,), batch_dependent=True),
    Row("BatchNorm2d", (4,), inputs=(IMAGE,), batch_dependent=True),
    Row("BatchNorm2d", (4,), {"affine": False, "momentum": None, "eps": 1e-3}, (IMAGE,), batch_dependent=True),
    Row("BatchNorm2d", (4,), {"track_running_stats": False}, (IMAGE,), batch_dependent=True),
    Row("BatchNorm3d", (4,), inputs=(VOLUME,), batch_dependent=True),
    Row("SyncBatchNorm", (4,), inputs=(IMAGE,), batch_dependent=True),
    Row("InstanceNorm1d", (4,), inputs=(SEQUENCE,)),
    Row("InstanceNorm1d", (3,), {"affine": True}, (SEQUENCE[:, 0],)),
    Row("InstanceNorm2d", (4,), {"affine": True, "track_running_stats": True, "momentum": 0.3}, (IMAGE,), batch_dependent=True),
    Row("InstanceNorm3d", (4,), inputs=(VOLUME,)),
    Row("GroupNorm", (2, 4), inputs=(IMAGE,)),
    Row("GroupNorm", (4, 4), {"affine": False}, (SEQUENCE,)),
    Row("LayerNorm", (8,), inputs=(IMAGE,)),
    Row("LayerNorm", ([7, 8],), {"bias": False}, (IMAGE,)),
    Row("LayerNorm", (8,), {"elementwise_affine": False, "eps": 1e-2}, (IMAGE,)),
    Row("RMSNorm", (8,), inputs=(IMAGE,)),
    Row("RMSNorm", ((7, 8), 1e-3, False), inputs=(IMAGE,)),
    Row("LocalResponseNorm", (3,), {"alpha": 0.1}, (IMAGE,), half=False),  # PyTorch rounds every square and sum
    Row("LocalResponseNorm", (2, 0.1, 0.5, 2.0), inputs=(SEQUENCE,)),
]
