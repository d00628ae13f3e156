"""Activations and dropout."""

import numpy as np

from . import IMAGE, Row, normal

FLAT = normal(3, 6) * 4

ROWS = [
    Row("Dropout", (0.3,), inputs=(IMAGE,), random=True),
    Row("Dropout", (0.0,), inputs=(IMAGE,)),
    Row("Dropout", (1.0,), inputs=(IMAGE,)),
    Row("Dropout1d", (0.4,), inputs=(normal(8, 9, 3),), random=True),
    Row("Dropout2d", (0.4, True), inputs=(normal(8, 9, 2, 2),), random=True),
    Row("Dropout3d", (0.4,), inputs=(normal(30, 2, 2, 2),), random=True),
    Row("AlphaDropout", (0.3,), inputs=(IMAGE,), random=True),
    Row("FeatureAlphaDropout", (0.3,), inputs=(IMAGE,), random=True),
    Row("ReLU", inputs=(np.array([-1, 0, 2, np.nan], np.float32),)),
    Row("ReLU", (True,), inputs=(IMAGE,)),
    Row("ReLU6", inputs=(FLAT,)),
    Row("RReLU", (0.1, 0.3), inputs=(FLAT,), random=True),
    Row("Hardtanh", (-2.0, 1.0), inputs=(FLAT,)),
    Row("Threshold", (0.5, -3.0), inputs=(FLAT,)),
    Row("LeakyReLU", (0.2, True), inputs=(FLAT,)),
    Row("PReLU", inputs=(normal(5),)),
    Row("PReLU", (4, 0.1), inputs=(IMAGE,)),
    Row("ELU", (0.5,), inputs=(FLAT,)),
    Row("CELU", (0.5,), inputs=(FLAT,)),
    Row("SELU", inputs=(FLAT,)),
    Row("GLU", (1,), inputs=(IMAGE,)),
    Row("GELU", inputs=(IMAGE,)),
    Row("GELU", ("tanh",), inputs=(IMAGE,)),
    Row("SiLU", inputs=(IMAGE,)),
    Row("Mish", inputs=(FLAT,)),
    Row("Softplus", (2.0, 5.0), inputs=(FLAT,)),
    Row("Sigmoid", inputs=(IMAGE,)),
    Row("LogSigmoid", inputs=(FLAT,)),
    Row("Tanh", inputs=(IMAGE,)),
    Row("Tanhshrink", inputs=(FLAT,)),
    Row("Softsign", inputs=(FLAT,)),
    Row("Hardsigmoid", inputs=(FLAT,)),
    Row("Hardswish", inputs=(FLAT,)),
    Row("Hardshrink", (1.0,), inputs=(FLAT,)),
    Row("Softshrink", (1.0,), inputs=(FLAT,)),
    Row("Softmax", (1,), inputs=(IMAGE,)),
    Row("Softmin", (-1,), inputs=(FLAT,)),
    Row("LogSoftmax", (0,), inputs=(FLAT,)),
    Row("Softmax2d", inputs=(IMAGE[0],)),
]
