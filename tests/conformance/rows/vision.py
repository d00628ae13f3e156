"""Layers for images."""

from . import IMAGE, Row, normal

SIGNAL, VOLUME = normal(2, 3, 7), normal(1, 2, 3, 4, 5)

ROWS = [
    Row("Upsample", (), {"scale_factor": 2}, (IMAGE,)),
    Row("Upsample", (), {"size": (5, 11), "mode": "bicubic"}, (IMAGE,), loose=2),
    Row("Upsample", (), {"scale_factor": 1.7, "mode": "linear", "recompute_scale_factor": True}, (SIGNAL,)),
    Row("Upsample", (), {"scale_factor": (2.0, 1.5, 0.7), "mode": "trilinear", "align_corners": True}, (VOLUME,)),
    Row("UpsamplingNearest2d", (), {"scale_factor": 3}, (IMAGE,)),
    Row("UpsamplingBilinear2d", ((9, 4),), {}, (IMAGE,)),
    Row("PixelShuffle", (2,), {}, (IMAGE,)),
    Row("PixelUnshuffle", (2,), {}, (normal(2, 3, 4, 6),)),
    Row("ChannelShuffle", (2,), {}, (IMAGE,)),
]
