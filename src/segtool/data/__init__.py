"""Data sets as numpy arrays: reading, checking, splitting, making and evaluating on them."""
