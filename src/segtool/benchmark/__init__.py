"""Latency, throughput, cold start and memory of model files, and comparison with an earlier run."""
