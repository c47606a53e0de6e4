"""A tiny network with fcn8's kinds of layers, its data and its run folder, for the tests of export and models."""

import json
from functools import cache
from pathlib import Path

import numpy as np

HEIGHT, WIDTH, CLASSES = 16, 20, 3


def tiny_data(count=48, *, channels=1, seed=0):
    """Grey or RGB images of bright (2) and dim (1) boxes on a dark, noisy ground (0), with their labels."""
    random = np.random.default_rng(seed)
    labels = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    for label in labels:
        for class_id in (1, 2):
            top, left = random.integers(0, HEIGHT - 6), random.integers(0, WIDTH - 8)
            label[top : top + 6, left : left + 8] = class_id
    images = np.array([20, 120, 230])[labels][..., None] + random.integers(-15, 16, (count, HEIGHT, WIDTH, channels))
    return images.astype(np.uint8), labels


def build_tiny(channels=1, *, softmax=True, seed=0, widths=(6, 8)):
    """fcn8 in small: padded on the right, two pooled blocks, a wide convolution, a skip, transposed convolutions."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    image = keras.Input((HEIGHT, WIDTH, channels), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.ZeroPadding2D(((0, 0), (0, 4)))(x)
    skips = []
    for filters in widths:
        x = layers.LeakyReLU()(layers.Conv2D(filters, 3, padding="same")(x))
        x = layers.LeakyReLU()(layers.Conv2D(filters, 3, padding="same")(x))
        x = layers.BatchNormalization(momentum=0.5)(layers.MaxPooling2D(2)(x))
        skips.append(x)
    x = layers.Conv2D(8, 5, padding="same", activation="relu")(x)
    x = layers.Conv2D(CLASSES, 1, name="score")(x)
    x = layers.Conv2DTranspose(CLASSES, 4, strides=2, padding="same", use_bias=False)(x)
    x = layers.Add()([x, layers.Conv2D(CLASSES, 1, name="skip")(skips[0])])
    x = layers.Conv2DTranspose(CLASSES, 4, strides=2, padding="same", use_bias=False)(x)
    x = layers.Cropping2D(((0, 0), (0, 4)))(x)
    return keras.Model(image, layers.Softmax(dtype="float32")(x) if softmax else x, name="tiny")


@cache
def trained_tiny():
    """A tiny network trained until its labels mean something (seconds); shared, so do not change it."""
    model = build_tiny()
    images, labels = tiny_data()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.01
    model.fit(images, labels, epochs=25, batch_size=16, verbose=0)
    return model


def write_run(folder: Path, model=None):
    """A run folder as `segtool train` leaves it, and its data beside it."""
    from segtool.data.loading import load_dataset

    folder.mkdir(parents=True)
    images, labels = tiny_data()
    data = folder.parent / f"{folder.name}-data.npz"
    np.savez(data, images=images[..., 0], labels=labels)
    dataset = load_dataset(str(data), seed=3, val_split=0.25)
    facts = {
        "spec": str(data),
        "fingerprint": dataset.fingerprint(),
        "class_names": list(dataset.class_names),
        "background_id": dataset.background_id,
        "ignore_id": dataset.ignore_id,
    }
    info = {"schema_version": 1, "seed": 3, "val_split": 0.25, "test_split": 0.0, "data": facts}
    (folder / "run.json").write_text(json.dumps(info))
    (model or trained_tiny()).save(folder / "model.keras")
    return folder


def names(folder):
    """What is in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def scaled(model, factor):
    """The graph with every 4-D constant multiplied by `factor`."""
    import onnx

    for item in model.graph.initializer:
        if len(item.dims) == 4 and item.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.INT8):
            values = onnx.numpy_helper.to_array(item)
            item.CopyFrom(onnx.numpy_helper.from_array((values * factor).astype(values.dtype), item.name))
    return model


def with_wrong_ranges(calibrate, factor=50):
    """Calibration as `calibrate` does it, with every range too small."""

    def wrong(*args, **kwargs):
        return {name: (low / factor, high / factor) for name, (low, high) in calibrate(*args, **kwargs).items()}

    return wrong


def quantized(model, batches, *, preset, keep_float=(), **options):
    """The graph calibrated and quantized, as an export does it."""
    from segtool.export.quantize import calibrate_for, quantize

    return quantize(calibrate_for(preset, model, batches, **options), keep_float=keep_float)


def build_small(height, width, channels, num_classes, *, multiplier=1):
    """An architecture for trainings of seconds: a convolution of 8 channels, a normalization, the scores."""
    import keras

    image = keras.Input((height, width, channels), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(round(8 * multiplier), 3, padding="same", activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(num_classes, 1)(x)
    return keras.Model(image, keras.layers.Softmax(dtype="float32")(x))


def run(model, images):
    """Return the output of a graph for images, as the export runs it: with onnxruntime's own optimizations."""
    from segtool.export.running import open_graph

    return open_graph(model).run(None, {"image": images})[0]
