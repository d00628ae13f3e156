"""Ops of neural networks: what `nn.functional` names."""
