"""Scoring a model on a data set, and comparing models on the same images."""
