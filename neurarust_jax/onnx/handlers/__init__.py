"""Handlers of ONNX ops, one file for each family. `registry.find` imports them all."""
