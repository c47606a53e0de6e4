"""Networks as other people make them, with weights that are worked out: they find the classes of `shades`.

The classes differ in brightness b. A network with the scores 2 c b - c^2, for the brightness c of each class, gives
the class whose c is the nearest, if its pixels have the scaling that its weights were made for. The score of the middle
class is taken off all three, so that none is large.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tiny_nets import CLASSES, HEIGHT, WIDTH, tiny_data

BRIGHTNESS = (150, 175, 200)  # far from the middle, so that another scaling gives other classes


def shades(count=48):
    """RGB images of boxes in three shades of grey with a little noise, and their labels."""
    _, labels = tiny_data(count, channels=3)
    noise = np.random.default_rng(1).integers(-8, 9, (*labels.shape, 3))
    return (np.array(BRIGHTNESS)[labels][..., np.newaxis] + noise).astype(np.uint8), labels


def class_weights(scale, channels=3):
    """The weights (channels, K) and biases (K,) of the scores, for scaled pixels."""
    grey = np.array(BRIGHTNESS, np.uint8).reshape(1, 1, -1, 1).repeat(channels, axis=3)
    centres = scale.apply(grey)[0, 0]
    sharpness = 60 / np.ptp(centres) ** 2
    weights, bias = (2 * centres * sharpness / channels).T, -sharpness * (centres**2).mean(axis=1)
    return weights - weights[:, 1:2], bias - bias[1]


def onnx_net(
    scale,
    *,
    layout="NCHW",
    channels=3,
    size=(HEIGHT, WIDTH),
    batch="N",
    end="logits",
    form="map",
    stride=1,
    classes=CLASSES,
    opset=17,
    kind=TensorProto.FLOAT,
    extra=(),
    resized=False,
    ceil=False,
):
    """An ONNX network of two convolutions, as PyTorch ("NCHW") or another tool ("NHWC") would write it."""
    weights, bias = class_weights(scale, channels)
    if classes == 1:  # the second class against the first
        weights, bias = (weights[:, 2:] - weights[:, :1]) / 4, (bias[2:] - bias[:1]) / 4
    count = weights.shape[1]
    graph = _Graph()
    x = graph.add("Cast", "input", to=TensorProto.FLOAT) if kind != TensorProto.FLOAT else "input"
    x = x if layout == "NCHW" else graph.add("Transpose", x, perm=[0, 3, 1, 2])
    blur = np.zeros((channels, channels, 3, 3), np.float32)
    blur[range(channels), range(channels), 1, 1] = 1
    x = graph.add("Conv", x, blur, pads=[1, 1, 1, 1])
    if stride > 1:
        x = graph.add("AveragePool", x, kernel_shape=[stride, stride], strides=[stride, stride], ceil_mode=int(ceil))
    if resized:  # down and up again, to a size that names the batch
        half = (size[0] // 2, size[1] // 2)
        x = graph.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        for target in (half, size):
            x = graph.add("Resize", x, np.array([], np.float32), np.array([], np.float32),
                          np.array([1, channels, *target], np.int64), mode="linear")  # fmt: skip
            x = graph.add("Conv", x, blur, pads=[1, 1, 1, 1])
    x = graph.add("Conv", x, weights.T.reshape(count, channels, 1, 1).astype(np.float32), bias.astype(np.float32))
    x = x if layout == "NCHW" else graph.add("Transpose", x, perm=[0, 2, 3, 1])
    axis = 1 if layout == "NCHW" else 3
    if end in ("softmax", "labels"):
        x = graph.add("Softmax", x, axis=axis)
    elif end == "hidden softmax":
        x = graph.add("Exp", graph.add("Mul", x, np.float32(0.1)))
        total = graph.add("ReduceSum", x, np.array([axis], np.int64), keepdims=1)
        x = graph.add("Div", x, total)
    elif end == "sigmoid":
        x = graph.add("Sigmoid", graph.add("Mul", x, np.float32(0.1)) if classes > 1 else x)
    small = [None if side is None else -(-side // stride) if ceil else side // stride for side in size]
    sides = [count, *small] if layout == "NCHW" else [*small, count]
    if end == "labels":
        x, sides = graph.add("ArgMax", x, axis=axis, keepdims=0), small
    if form == "pixels":
        pixels = small[0] * small[1]
        sides = [count, pixels] if layout == "NCHW" else [pixels, count]
        first = 1 if batch == 1 else -1
        x = graph.add("Reshape", x, np.array([first, *sides], np.int64))
    elif form == "plane":
        x, sides = graph.add("Squeeze", x, np.array([axis], np.int64)), small
    taken = [batch, channels, *size] if layout == "NCHW" else [batch, *size, channels]
    out_kind = TensorProto.INT64 if end == "labels" else TensorProto.FLOAT
    return graph.model(x, taken, [batch, *sides], opset, kind, out_kind, extra)


class _Graph:
    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, op_type, x, *constants, **attributes):
        """Append an operation; return the name of its output."""
        names = [x]
        for values in constants:
            if isinstance(values, str):
                names.append(values)
                continue
            names.append(f"c{len(self.constants)}")
            self.constants.append(numpy_helper.from_array(np.asarray(values), names[-1]))
        self.nodes.append(helper.make_node(op_type, names, [f"v{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def model(self, output, taken, given, opset, kind, out_kind, extra):
        """Return the model with this output under the name "out", and further outputs of the same shape."""
        outputs = []
        for name in ("out", *extra):
            self.nodes.append(helper.make_node("Identity", [output], [name]))
            outputs.append(helper.make_tensor_value_info(name, out_kind, given))
        image = helper.make_tensor_value_info("input", kind, taken)
        graph = helper.make_graph(self.nodes, "net", [image], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save_onnx(path, model):
    """Write a model and return its path."""
    onnx.save(model, path)
    return path


def keras_net(scale, *, channels=3, size=(HEIGHT, WIDTH), end="softmax", dtype="float32", several=None):
    """The same network in Keras."""
    import keras
    from keras import layers

    weights, bias = class_weights(scale, channels)
    image = keras.Input((*size, channels), dtype=dtype, name="picture")
    identity = layers.Conv2D(channels, 3, padding="same", use_bias=False, kernel_initializer="zeros", name="blur")
    scores = layers.Conv2D(CLASSES, 1, activation={"softmax": "softmax"}.get(end), name="scores")
    y = scores(identity(image))
    outputs = y if several is None else several(y)
    model = keras.Model(image, outputs, name="theirs")
    blur = np.zeros((3, 3, channels, channels), np.float32)
    blur[1, 1, range(channels), range(channels)] = 1
    identity.set_weights([blur])
    scores.set_weights([weights.reshape(1, 1, channels, CLASSES), bias])
    return model
