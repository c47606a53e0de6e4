"""Checks of the environment: packages, providers that start, processor, threads.

`environment.examine` is what `segtool doctor` calls. `findings`, for a machine, and `packages` return a remedy for each
problem; `provider_probe` runs a tiny model on each provider.
"""
