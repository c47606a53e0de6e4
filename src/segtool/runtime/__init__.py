"""Run an exported model with onnxruntime, numpy and Pillow only."""
