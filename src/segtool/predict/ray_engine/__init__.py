"""Prediction on a Ray cluster, with inputs and outputs on any file system of fsspec.

`predict.predict_on_cluster` is what `segtool predict --engine ray` calls. `inputs` finds the images, `cluster` connects
and counts the actors, `worker` is the actor, `outputs` the folder that it writes to; `storage` is the way to fsspec.
"""
