"""Every rewrite on FCN-8 with trained weights: one after the other, each compared with the graph before it.

FCN-8 is trained here, for some seconds, until it finds most of two kinds of boxes: weights, ranges and dead channels
are then those of a training. SEGTOOL_TRAINED names a larger one (a .keras of M2NIST) to compare on too.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from comparing import run

from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.passes import FLOAT_REWRITES, INT8_REWRITES, SHARED_REWRITES, WINOGRAD_REWRITES, rewrite
from segtool.export.passes.arg_max_before_crop import ARG_MAX_BEFORE_CROP
from segtool.export.passes.blocks_as_channels import BLOCKS_AS_CHANNELS
from segtool.export.passes.concat_last import CONCAT_LAST
from segtool.export.passes.dead_taps import DEAD_TAPS
from segtool.export.passes.flipped_convolution import FLIPPED_CONVOLUTION
from segtool.export.passes.gelu import GELU
from segtool.export.passes.hard_sigmoid import HARD_SIGMOID
from segtool.export.passes.mean_as_pool import MEAN_AS_POOL
from segtool.export.passes.min_max_as_clip import MIN_MAX_AS_CLIP
from segtool.export.passes.nearest_as_tile import NEAREST_AS_TILE
from segtool.export.passes.pixels_as_channels import PIXELS_AS_CHANNELS
from segtool.export.passes.scale_back import SCALE_BACK
from segtool.export.passes.scores_in_blocks import SCORES_IN_BLOCKS
from segtool.export.passes.shift_back import SHIFT_BACK
from segtool.export.passes.tokens import TOKENS
from segtool.export.passes.winograd import WINOGRAD

HEIGHT, WIDTH, CLASSES = 64, 84, 3
# These add in another order; the others are structural, and exact to the bit.
REORDERED = (SCALE_BACK, DEAD_TAPS, PIXELS_AS_CHANNELS, WINOGRAD)
# FCN-8 has an activation before each pooling, transposed convolutions of its scores alone (fcn8-edge has others), no
# nearest neighbours, no clips, hard sigmoids or GELU, no tokens, no concatenation, no mean over a map, and no
# convolution at the size of the image that makes scores. Its crop is part of the last transposed convolution.
IDLE = (
    SHIFT_BACK,
    ARG_MAX_BEFORE_CROP,
    BLOCKS_AS_CHANNELS,
    CONCAT_LAST,
    FLIPPED_CONVOLUTION,
    GELU,
    HARD_SIGMOID,
    NEAREST_AS_TILE,
    MEAN_AS_POOL,
    MIN_MAX_AS_CLIP,
    SCORES_IN_BLOCKS,
    TOKENS,
)
FLOAT = (*FLOAT_REWRITES, *WINOGRAD_REWRITES)
ALL = (*SHARED_REWRITES, *FLOAT, *INT8_REWRITES)


def boxes(count, seed):
    """Grey images of bright (2) and dim (1) boxes on a dark, noisy ground (0), with their labels."""
    random = np.random.default_rng(seed)
    labels = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    for label in labels:
        for class_id in (1, 2):
            top, left = random.integers(0, HEIGHT - 32), random.integers(0, WIDTH - 40)
            label[top : top + 32, left : left + 40] = class_id
    images = np.array([20, 120, 230])[labels][..., None] + random.integers(-15, 16, (count, HEIGHT, WIDTH, 1))
    return images.astype(np.uint8), labels


@cache
def trained_here():
    """FCN-8 of half the width after 84 steps, with statistics of batch normalization that follow so few."""
    import keras

    from segtool.train.architectures import build

    keras.utils.set_random_seed(0)
    model = build("fcn8", size=(HEIGHT, WIDTH), channels=1, num_classes=CLASSES, width=0.5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    images, labels = boxes(48, seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.001
    model.fit(images, labels, epochs=7, batch_size=4, verbose=0)
    return model


def named(path):
    """A trained network by its path, and real images."""
    from segtool.models.keras_file import load_keras_file

    data = Path(__file__).resolve().parents[3] / "shared" / "m2nist" / "m2nist_4000.npz"
    if not data.is_file():
        pytest.skip("the real data are not beside the checkout (../shared)")
    return load_keras_file(path), np.load(data)["images"][:16, ..., None]


@pytest.fixture(scope="session", params=["here", "SEGTOOL_TRAINED"])
def trained(request):
    """A trained network and images that it was not trained on."""
    if request.param == "here":
        return trained_here(), boxes(8, seed=1)[0]
    if "SEGTOOL_TRAINED" not in os.environ:
        pytest.skip("name a trained fcn8 (.keras) with SEGTOOL_TRAINED")
    return named(Path(os.environ["SEGTOOL_TRAINED"]))


@pytest.fixture(scope="session")
def steps(trained):
    """For both heads and each rewrite: the graph before it and after it, the changes, and the output before."""
    model, images = trained
    converted = keras_to_onnx(model)
    found = {}
    for head in ("probabilities", "labels"):
        shared = with_head(converted, head)
        for rewrites in (SHARED_REWRITES, FLOAT, INT8_REWRITES):
            graph = shared  # what pays in float alone, and what pays in INT8 alone, both go on from the shared ones
            for item in rewrites:
                after, (outcome,) = rewrite(graph, [item])
                found[head, item.name] = (graph, after, outcome.changes)
                graph = after
            shared = graph if rewrites is SHARED_REWRITES else shared
    return found, images


def test_the_network_trained_here_finds_most_of_the_boxes():
    """Else all labels would be one class, and a comparison would prove little."""
    images, labels = boxes(8, seed=1)
    found = run(with_head(keras_to_onnx(trained_here()), "labels"), images)
    assert (found == labels)[labels > 0].mean() > 0.6


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.name)
def test_a_rewrite_keeps_the_answers(steps, item):
    found, images = steps
    before, after, changes = found["probabilities", item.name]
    expected, got = run(before, images), run(after, images)
    before, after, more = found["labels", item.name]
    labels, same = run(before, images), run(after, images)
    # One that finds nothing to do compares nothing.
    assert bool(changes or more) == (item not in IDLE)
    np.testing.assert_allclose(got, expected, atol=1e-5 if item in REORDERED else 0, rtol=0)
    np.testing.assert_array_equal(same, labels)
    assert len(np.unique(labels)) > 2


@pytest.mark.parametrize("last", [FLOAT[-1], INT8_REWRITES[-1]], ids=["float", "int8"])
def test_all_together_keep_the_answers(steps, last):
    found, images = steps
    for head, atol in (("probabilities", 1e-5), ("labels", 0)):
        first, after = found[head, SHARED_REWRITES[0].name][0], found[head, last.name][1]
        np.testing.assert_allclose(run(after, images), run(first, images), atol=atol, rtol=0)
