"""Recurrent layers and cells."""

from . import Row, normal

STEPS = normal(5, 2, 3)  # (length, batch, features)

ROWS = [
    Row("RNN", (3, 4), inputs=(STEPS, normal(1, 2, 4))),
    Row("RNN", (3, 4, 2, "relu", False, True), {"bidirectional": True}, (STEPS,)),
    Row("LSTM", (3, 4), inputs=(STEPS, (normal(1, 2, 4), normal(1, 2, 4)))),
    Row("LSTM", (3, 4, 2), {"proj_size": 2, "bidirectional": True, "batch_first": True}, (STEPS,)),
    Row("LSTM", (3, 4), {"bias": False}, (normal(5, 3), (normal(1, 4), normal(1, 4)))),
    Row("GRU", (3, 4), inputs=(STEPS, normal(1, 2, 4))),
    Row("GRU", (3, 4, 1, False), {"bidirectional": True}, (normal(5, 3), normal(2, 4))),
    Row("RNNCell", (3, 4), inputs=(normal(2, 3), normal(2, 4))),
    Row("RNNCell", (3, 4, False, "relu"), inputs=(normal(3),)),
    Row("LSTMCell", (3, 4), inputs=(normal(2, 3), (normal(2, 4), normal(2, 4)))),
    Row("LSTMCell", (3, 4, False), inputs=(normal(3),)),
    Row("GRUCell", (3, 4), inputs=(normal(2, 3), normal(2, 4))),
]
