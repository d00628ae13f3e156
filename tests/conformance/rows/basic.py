"""Linear layers, embeddings and changes of shape."""

import numpy as np

from . import G, IMAGE, Row, normal

ROWS = [
    Row("Linear", (5, 3), inputs=(normal(2, 5),)),
    Row("Linear", (5, 3), {"bias": False}, (normal(2, 4, 5),)),
    Row("Linear", (5, 3), inputs=(normal(5),)),
    Row("Linear", (5, 3), inputs=(normal(0, 5),)),
    Row("Identity", (1, 2), inputs=(normal(3),)),
    Row("Embedding", (10, 3), inputs=(G.integers(0, 10, (2, 4)),)),
    Row("Embedding", (10, 3), {"padding_idx": -1}, (np.array([[9, 1], [9, 2]]),)),
    Row("Embedding", (10, 3), {"scale_grad_by_freq": True}, (np.array([1, 1, 2]),)),
    Row("Flatten", inputs=(IMAGE,)),
    Row("Flatten", (0, -2), inputs=(IMAGE,)),
    Row("Unflatten", (1, (2, 2)), inputs=(IMAGE,)),
]
