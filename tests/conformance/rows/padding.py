"""Padding layers, and those that take images apart and put them together."""

from . import IMAGE, Row, normal

ROWS = [
    Row("ZeroPad1d", ((1, 2),), inputs=(IMAGE[0, 0],)),
    Row("ZeroPad2d", (1,), inputs=(IMAGE,)),
    Row("ZeroPad3d", ((1, 0, -1, 0, 0, 2),), inputs=(IMAGE,)),
    Row("ConstantPad2d", ((2, -1, 0, 3), 1.5), inputs=(IMAGE,)),
    Row("ReflectionPad1d", ((3, 2),), inputs=(IMAGE[0],)),
    Row("ReflectionPad2d", ((-2, 3, 1, -1),), inputs=(IMAGE,)),
    Row("ReplicationPad2d", ((4, -2, 0, 9),), inputs=(IMAGE,)),
    Row("ReplicationPad3d", (1,), inputs=(normal(1, 2, 2, 3),)),
    Row("CircularPad1d", ((8, 2),), inputs=(IMAGE[0],)),
    Row("CircularPad2d", ((-1, 3, 2, 2),), inputs=(IMAGE,)),
    Row("Unfold", ((2, 3),), {"dilation": (2, 1), "padding": 1, "stride": (1, 2)}, (IMAGE,)),
    Row("Fold", ((5, 6), 3), {"padding": (0, 1), "stride": 2}, (normal(2, 18, 6),)),
    Row("Fold", ((3, 4), 2), inputs=(normal(8, 6),)),
]
