"""Any segmentation network in the form that the rest of the export takes.

`opening` reads a Keras or ONNX network, `interface` finds out what it takes and gives, `inside` and `measured_scale`
how its pixels are scaled, `uniform` puts all of that into the graph, and `reference` runs the network as its authors
do, in NumPy around it, for the parity gate.
"""
