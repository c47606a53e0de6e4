"""Score a model on a data set; compare models on the same images."""
