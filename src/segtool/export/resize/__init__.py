"""A trained network at another input size: rebuilt with the same weights, framed with zeros, with its warnings."""
