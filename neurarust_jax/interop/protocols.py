"""What `Tensor` answers to other array libraries beside DLPack."""
