"""The steps of INT8 quantization: which layers, equalized channels, calibrated ranges, QDQ nodes, corrected biases."""
