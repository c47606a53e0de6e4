"""Running an exported model: onnxruntime, numpy and Pillow, and nothing else."""
