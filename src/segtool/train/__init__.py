"""Training in Keras 3: architectures, recipes, the fit loop and the run folder."""
