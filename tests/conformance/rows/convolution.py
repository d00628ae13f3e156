"""Convolution layers."""

from . import IMAGE, Row, normal

ROWS = [
    Row("Conv2d", (4, 6, 3), inputs=(IMAGE,)),
    Row("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}, (IMAGE,)),
    Row("Conv2d", (4, 4, 3), {"padding": "same", "groups": 4, "bias": False}, (IMAGE,)),
    Row("Conv2d", (4, 6, 3), {"padding": "valid"}, (IMAGE[0],)),
    Row("Conv2d", (4, 6, 2), {"padding": "same", "dilation": 3}, (IMAGE,)),
    Row("Conv2d", (4, 5, 1), {"stride": 2}, (IMAGE,)),
    Row("Conv2d", (4, 3, 3), {"padding": (2, 1), "padding_mode": "circular", "stride": 2}, (IMAGE,)),
    Row("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1}, (normal(2, 4, 9),)),
    Row("Conv1d", (18, 36, 2), {"groups": 9}, (normal(2, 18, 5),)),
    Row("Conv1d", (4, 2, 4), {"padding": "same", "padding_mode": "reflect"}, (normal(4, 6),)),
    Row("Conv3d", (2, 3, (2, 3, 2)), {"padding": (1, 0, 1), "stride": (1, 2, 1)}, (normal(2, 2, 3, 5, 4),)),
    Row("Conv3d", (2, 2, 2), {"padding": 1, "padding_mode": "replicate", "groups": 2}, (normal(2, 3, 3, 3),)),
    Row("ConvTranspose1d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (normal(2, 4, 5),)),
    Row("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (2, 3), "dilation": (2, 1), "groups": 2}, (IMAGE,)),
    Row("ConvTranspose2d", (4, 3, 3), {"padding": 1, "bias": False}, (IMAGE[0],)),
    Row("ConvTranspose2d", (4, 3, 3), {"stride": 2, "padding": 1}, (IMAGE,), {"output_size": (14, 15)}),
    Row("ConvTranspose3d", (2, 2, 2), {"stride": (2, 1, 2)}, (normal(2, 2, 2, 3, 2),)),
]
