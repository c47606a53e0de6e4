"""The permutations of a Transpose between the two layouts of a map."""

TO_FIRST = [0, 3, 1, 2]
"""(N, H, W, C) to (N, C, H, W)."""

TO_LAST = [0, 2, 3, 1]
"""(N, C, H, W) to (N, H, W, C)."""
