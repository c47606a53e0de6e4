"""The same prediction on a Ray cluster, with inputs and outputs wherever fsspec reaches."""
