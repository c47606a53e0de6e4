"""Prediction on a Ray cluster, with inputs and outputs on any file system of fsspec."""
