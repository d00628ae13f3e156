"""Losses and distances. Their arguments are tested with the functions, in `test_functional_loss.py`."""

import numpy as np

from . import G, Row, normal

X, Y, Z = normal(4, 5), normal(4, 5), normal(4, 5)
P, Q = G.random((4, 5)).astype(np.float32), G.random((4, 5)).astype(np.float32)
SIGNS = np.array([1, -1, -1, 1])
CLASSES = G.integers(0, 5, 4)
WEIGHT = G.random(5).astype(np.float32)
LOGS = np.log(P / P.sum(1, keepdims=True))

ROWS = [
    Row("L1Loss", inputs=(X, Y)),
    Row("MSELoss", kwargs={"reduction": "sum"}, inputs=(X, Y)),
    Row("SmoothL1Loss", kwargs={"beta": 0.5}, inputs=(X, Y)),
    Row("HuberLoss", kwargs={"delta": 0.5, "reduction": "none"}, inputs=(X, Y)),
    Row("BCELoss", (WEIGHT,), inputs=(P, Q)),
    Row("BCEWithLogitsLoss", (WEIGHT,), {"pos_weight": WEIGHT * 3}, (X, Q)),
    Row("SoftMarginLoss", inputs=(X[:, 0], SIGNS)),
    Row("PoissonNLLLoss", kwargs={"log_input": False, "full": True}, inputs=(P, Q * 4 + 0.1)),
    Row("GaussianNLLLoss", kwargs={"full": True}, inputs=(X, Y, P + 0.1)),
    Row("KLDivLoss", kwargs={"reduction": "batchmean"}, inputs=(LOGS, Q)),
    Row("NLLLoss", (WEIGHT,), {"ignore_index": 2}, (LOGS, CLASSES)),
    Row("CrossEntropyLoss", (WEIGHT,), {"label_smoothing": 0.1}, (X, CLASSES)),
    Row("CrossEntropyLoss", kwargs={"reduction": "none"}, inputs=(X, Q)),
    Row("LinearCrossEntropyLoss", (5, 6), {"bias": True}, (X, CLASSES)),
    Row("LinearCrossEntropyLoss", (5, 6), {"out_features": (2,), "reduction": "none"}, (X, np.stack([CLASSES, CLASSES], 1))),
    Row("AdaptiveLogSoftmaxWithLoss", (5, 20, [4, 10]), {"head_bias": True, "div_value": 2.0}, (X, np.array([3, 19, 4, 9]))),
    # PyTorch computes it in single and double precision alone
    Row("CTCLoss", inputs=(normal(8, 2, 5), G.integers(1, 5, (2, 3)), np.array([8, 7]), np.array([3, 2])), half=False, loose=10),
    Row("MarginRankingLoss", (0.2,), inputs=(X[:, 0], Y[:, 0], SIGNS)),
    Row("HingeEmbeddingLoss", (0.5,), inputs=(X[:, 0], SIGNS)),
    Row("MultiMarginLoss", (2, 0.5, WEIGHT), inputs=(X, CLASSES), half=False),  # likewise
    Row("MultiLabelMarginLoss", inputs=(X, np.array([[0, 3, -1, 1, 1]] * 4)), half=False),  # likewise
    Row("MultiLabelSoftMarginLoss", (WEIGHT,), inputs=(X, (P > 0.5).astype(np.float32))),
    Row("CosineEmbeddingLoss", (0.1,), inputs=(X, Y, SIGNS)),
    Row("TripletMarginLoss", kwargs={"swap": True, "p": 1.0}, inputs=(X, Y, Z)),
    Row("TripletMarginWithDistanceLoss", kwargs={"margin": 0.5}, inputs=(X, Y, Z)),
    Row("PairwiseDistance", (1.0,), {"keepdim": True}, (X, Y)),
    Row("CosineSimilarity", (0,), inputs=(X, Y)),
]
