"""Linear layers, embeddings and changes of shape."""

import numpy as np

from . import IMAGE, G, Row, normal

ROWS = [
    Row("Linear", (5, 3), inputs=(normal(2, 5),)),
    Row("Linear", (5, 3), {"bias": False}, (normal(2, 4, 5),)),
    Row("Linear", (5, 3), inputs=(normal(5),)),
    Row("Linear", (5, 3), inputs=(normal(0, 5),)),
    Row("Bilinear", (5, 4, 3), inputs=(normal(2, 3, 5), normal(2, 3, 4))),
    Row("Bilinear", (5, 4, 3), {"bias": False}, (normal(5), normal(4))),
    Row("Identity", (1, 2), inputs=(normal(3),)),
    Row("Embedding", (10, 3), inputs=(G.integers(0, 10, (2, 4)),)),
    Row("Embedding", (10, 3), {"padding_idx": -1}, (np.array([[9, 1], [9, 2]]),)),
    Row("Embedding", (10, 3), {"scale_grad_by_freq": True}, (np.array([1, 1, 2]),)),
    Row("EmbeddingBag", (10, 3), {"padding_idx": 2}, (np.array([[9, 1, 2], [2, 2, 2]]),)),
    Row("EmbeddingBag", (10, 3), {"mode": "sum"}, (np.array([1, 5, 1, 4]), np.array([0, 2, 2])), {"per_sample_weights": normal(4)}),
    Row("EmbeddingBag", (10, 3), {"mode": "max", "include_last_offset": True}, (np.array([1, 5, 1, 4]), np.array([0, 0, 3, 4]))),
    Row("Flatten", inputs=(IMAGE,)),
    Row("Flatten", (0, -2), inputs=(IMAGE,)),
    Row("Unflatten", (1, (2, 2)), inputs=(IMAGE,)),
]
