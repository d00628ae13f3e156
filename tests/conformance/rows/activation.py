"""Activations and dropout."""

import numpy as np

from . import IMAGE, Row

ROWS = [
    Row("Dropout", (0.3,), inputs=(IMAGE,), random=True),
    Row("Dropout", (0.0,), inputs=(IMAGE,)),
    Row("Dropout", (1.0,), inputs=(IMAGE,)),
    Row("ReLU", inputs=(np.array([-1, 0, 2, np.nan], np.float32),)),
    Row("ReLU", (True,), inputs=(IMAGE,)),
    Row("GELU", inputs=(IMAGE,)),
    Row("GELU", ("tanh",), inputs=(IMAGE,)),
    Row("SiLU", inputs=(IMAGE,)),
    Row("Sigmoid", inputs=(IMAGE,)),
    Row("Tanh", inputs=(IMAGE,)),
]
