"""PyTorch in one thread: its products of small matrices in bfloat16 take a hundred times longer in several."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
