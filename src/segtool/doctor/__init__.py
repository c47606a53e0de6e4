"""Checks of the environment: packages, providers that start, processor, memory."""
