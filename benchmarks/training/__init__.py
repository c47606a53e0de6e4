"""Training the same network in segtool and in PyTorch, step by step."""
