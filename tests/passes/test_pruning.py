"""Channels that others can stand in for, removed: which can go, how the others take over, and how much is taken."""

import logging
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from comparing import make, node, random, run
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_nets import build_tiny, tiny_data, write_run

import segtool.runtime.opening
from segtool.cli.export import command
from segtool.errors import DataError, ExportError
from segtool.export import ExportOptions, export_model, int8_file
from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.passes import SHARED_REWRITES, rewrite
from segtool.export.pruning import prune
from segtool.export.pruning.fitting import channel_moments, fit, measure, removal_order
from segtool.export.pruning.groups import find_groups, without_channels
from segtool.export.running import run_batches
from segtool.export.stamp import census

FEW = settings(max_examples=15)


def chain(*, middle=8, extra=(), outputs=("y",), window=None, **constants):
    """A convolution of 3 channels to `middle`, ReLU, pooling, a shift, and a convolution to 5 that reads them."""
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Relu", "c", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Add", "p shift", "s"),
        node("Conv", "s v d", "y", **(window or {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]})),
    ]
    kernel = (window or {}).get("kernel_shape", [3, 3])
    values = {
        "w": random(middle, 3, 3, 3, seed=1),
        "b": random(middle, seed=2),
        "shift": random(1, middle, 1, 1, seed=3),
        "v": random(5, middle, *kernel, seed=4),
        "d": random(5, seed=5),
    }
    return make([*nodes, *extra], {**values, **constants}, ["N", 3, 16, 12], outputs=outputs)


def values_of(model, x, names):
    """Inner values of a graph on `x`, as `run_batches` gives them of a model of images."""
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return onnxruntime.InferenceSession(watched.SerializeToString()).run(names, {"x": x})


def moments_of(model, group, x):
    reader = group.readers[0]
    read, answers = values_of(model, x, [group.source, reader.output])
    return measure(reader, [(read, answers)], images=len(x))


def test_a_group_is_what_only_convolutions_read():
    (group,) = find_groups(chain())
    assert (group.maker, group.channels, group.source) == ("c", 8, "s")
    assert [reader.name for reader in group.readers] == ["y"]
    assert group.macs == 3 * 9 * 16 * 12 + 5 * 9 * 8 * 6
    both = chain(extra=[node("Conv", "s u", "z", kernel_shape=[1, 1])], outputs=("y", "z"), u=random(2, 8, 1, 1))
    assert [reader.name for reader in find_groups(both)[0].readers] == ["y", "z"]


@pytest.mark.parametrize(
    "extra",
    [
        [node("Relu", "s", "z")],
        [node("Concat", "s s", "z", axis=1)],
        [node("Relu", "c", "z")],
        [node("Conv", "s v", "z", pads=[1, 1, 1, 1], kernel_shape=[3, 3])],
        [node("Conv", "x w", "z", kernel_shape=[3, 3])],
    ],
    ids=["another user", "a concatenation", "a user on the way", "shared weights", "weights of two makers"],
)
def test_what_others_read_or_share_is_no_group(extra):
    assert not find_groups(chain(extra=extra, outputs=("y", "z")))


@pytest.mark.parametrize("output", ["c", "r", "s"])
def test_an_output_of_the_graph_keeps_its_channels(output):
    assert not find_groups(chain(outputs=("y", output)))


@FEW
@given(
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
)
def test_a_fit_to_all_channels_finds_the_weights(rows, columns, strides, dilations, pads):
    """So the windows are those of onnxruntime's convolution."""
    window = {"kernel_shape": [rows, columns], "strides": strides, "dilations": dilations, "pads": pads}
    model = chain(middle=4, window=window)
    (group,) = find_groups(model)
    reader = group.readers[0]
    moments = moments_of(model, group, random(100, 3, 16, 12, seed=6))
    weights, bias = fit(replace(reader, weights=0 * reader.weights), moments, np.arange(4))
    np.testing.assert_allclose(weights, reader.weights, atol=5e-3)
    np.testing.assert_allclose(bias, reader.bias, atol=5e-3)


def test_channels_that_repeat_others_go_without_a_trace():
    w, b, shift = random(8, 3, 3, 3, seed=1), random(8, seed=2), random(1, 8, 1, 1, seed=3)
    w[5:], b[5:], shift[:, 5:] = w[:3], b[:3], shift[:, :3]
    model, x = chain(w=w, b=b, shift=shift), random(30, 3, 16, 12, seed=6)
    (group,) = find_groups(model)
    moments = moments_of(model, group, x)
    order = removal_order(
        channel_moments(group.readers[0], moments), group.readers[0].weights.transpose(0, 2, 3, 1).reshape(-1, 8)
    )
    assert {int(channel) % 5 for channel in order[:3]} == {0, 1, 2}
    kept = np.sort(order[3:])
    smaller = without_channels(model, group, kept, {"y": fit(group.readers[0], moments, kept)})
    new = random(4, 3, 16, 12, seed=7)
    np.testing.assert_allclose(run(smaller, new), run(model, new), atol=0.02)
    assert census(smaller).macs == census(model).macs * 5 // 8


def test_each_to_go_is_the_one_that_is_missed_least():
    """By least squares anew without each channel that is left, step by step."""
    covariance = np.cov(random(6, 200, seed=8) + 0.7 * random(1, 200, seed=9))
    weights = random(7, 6, seed=10).astype(np.float64)

    def missed(left):
        told = covariance[:, left] @ np.linalg.inv(covariance[np.ix_(left, left)]) @ covariance[left]
        return np.trace(weights @ (covariance - told) @ weights.T)

    left, expected = [*range(6)], []
    while len(left) > 1:
        least = min(left, key=lambda channel: missed([other for other in left if other != channel]))
        expected.append(least)
        left.remove(least)
    assert removal_order(covariance, weights).tolist() == [*expected, *left]


def test_channels_that_are_always_zero_do_not_stop_it():
    w, b, shift = random(8, 3, 3, 3, seed=1), random(8, seed=2), random(1, 8, 1, 1, seed=3)
    for silent in (slice(2, 5), slice(8)):
        w[silent], b[silent], shift[:, silent] = 0, 0, 0
        model, x = chain(w=w, b=b, shift=shift), random(4, 3, 16, 12, seed=6)
        (group,) = find_groups(model)
        moments = moments_of(model, group, x)
        weights = group.readers[0].weights.transpose(0, 2, 3, 1).reshape(-1, 8)
        order = removal_order(channel_moments(group.readers[0], moments), weights)
        assert {2, 3, 4} == {*order[:3]} or silent == slice(8)
        kept = np.sort(order[3:])
        smaller = without_channels(model, group, kept, {"y": fit(group.readers[0], moments, kept)})
        np.testing.assert_allclose(run(smaller, x), run(model, x), atol=1e-3)


def test_the_weights_that_were_there_change_nothing():
    model, x = chain(), random(2, 3, 16, 12)
    (group,) = find_groups(model)
    reader = group.readers[0]
    same = without_channels(model, group, np.arange(8), {"y": (reader.weights, reader.bias)})
    np.testing.assert_array_equal(run(same, x), run(model, x))


def test_only_what_is_asked_for_is_computed():
    base = wide_base()
    (group, *_) = find_groups(base)
    images = tiny_data(4)[0]
    (whole,) = run_batches(base, [group.source, base.graph.output[0].name], iter([images]))
    (part,) = run_batches(base, [group.source], iter([images]))
    np.testing.assert_array_equal(part[group.source], whole[group.source])


@cache
def wide_base():
    """The graph of a wide network, trained once; shared, so do not change it."""
    model = build_tiny(widths=(16, 32))
    images, labels = tiny_data()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.01
    model.fit(images, labels, epochs=12, batch_size=16, verbose=0)
    return rewrite(with_head(keras_to_onnx(model), "labels"), SHARED_REWRITES)[0]


def test_more_labels_may_change_and_more_goes():
    base, images = wide_base(), tiny_data(84, seed=4)[0]
    # The second of the two batches that are looked at is short: every pixel weighs the same all the same.
    batches, told = np.split(images, [16, 32, 48, 64, 68]), []
    saved = []
    for allowed in (0.0005, 0.05):
        found = prune(base, batches, allowed=allowed, progress=lambda *at: told.append(at))
        onnx.checker.check_model(found.model, full_check=True)
        assert found.images == (64, 20)
        looked_at = np.concatenate([batches[0], batches[4]])
        changed = np.mean(run(found.model, looked_at) != run(base, looked_at))
        assert changed == pytest.approx(1 - found.agreement, abs=1e-4)
        assert changed <= allowed + 1e-4
        assert found.macs_saved == pytest.approx(1 - census(found.model).macs / census(base).macs)
        assert all(now < before for before, now in found.channels.values())
        saved.append(found.macs_saved)
    assert 0 <= saved[0] < saved[1]
    assert told[-1][0] == told[-1][1] == 20 * len(find_groups(base))


def test_what_nobody_listens_to_goes_and_the_rest_stays():
    base = wide_base()
    group = max(find_groups(base), key=lambda item: item.channels)
    unheard = np.arange(group.channels) % 4 != 1
    deaf = {reader.name: (reader.weights * ~unheard[:, None, None], reader.bias) for reader in group.readers}
    model = without_channels(base, group, np.arange(group.channels), deaf)
    images = tiny_data(64, seed=4)[0]
    found = prune(model, [images[:32], images[32:]], allowed=1e-6)
    assert found.channels[group.maker][1] <= 8
    np.testing.assert_array_equal(run(found.model, images), run(model, images))


def test_one_batch_is_enough():
    images = tiny_data(8)[0]
    assert sum(prune(wide_base(), [images], allowed=0.02).images) == 8


@pytest.fixture
def wide(tmp_path):
    return write_run(tmp_path / "wide", build_tiny(widths=(16, 32)))


ANY = ["--quantize", "--max-drop", "100", "--waive", "speed"]


def test_an_export_says_what_it_pruned(wide):
    done = CliRunner().invoke(command, [str(wide), *ANY, "--prune", "5"])
    assert done.exit_code == 0, done.output
    facts = segtool.runtime.opening.load(wide / "model.int8.onnx", provider="cpu").contract.quantization["pruned"]
    assert (facts["images_fitted"], facts["images_checked"]) == (20, 16)
    assert facts["label_agreement"] >= 0.95
    assert facts["channels"]
    told, count = " ".join(done.output.split()), len(facts["channels"])
    assert f"Pruned {count} convolution{'s' if count > 1 else ''} of the INT8 file, {facts['macs_saved']:.0%}" in told
    agreement = segtool.runtime.opening.load(wide / "model.int8.onnx", provider="cpu").contract.gates["accuracy"]
    assert f"quantization, {agreement['label_agreement']:.3%} on validation images" in told
    assert "pruned" not in segtool.runtime.opening.load(wide / "model.onnx", provider="cpu").contract.quantization
    assert segtool.runtime.opening.load(wide / "model.int8.onnx", provider="cpu").verify().mismatching_pixels == 0


def test_pruning_that_costs_too_much_is_taken_back(wide, monkeypatch, caplog):
    def ruined(model, batches, **options):
        """Pruning whose fit is wrong."""
        found = prune(model, batches, **options)
        broken = onnx.ModelProto()
        broken.CopyFrom(found.model)
        for item in broken.graph.initializer:
            if len(item.dims) == 4:
                item.CopyFrom(onnx.numpy_helper.from_array(0 * onnx.numpy_helper.to_array(item), item.name))
        return replace(found, model=broken)

    trained = write_run(wide.parent / "trained")
    monkeypatch.setattr(int8_file, "prune", ruined)
    with caplog.at_level(logging.WARNING):
        result = export_model(trained, options=ExportOptions(quantize=True, prune=5, max_drop=5, waive=("speed",)))
    assert "and may lose 5; it is made with all of them" in " ".join(caplog.text.split())
    assert result.int8_contract.quantization["pruned"]["channels"] == {}
    assert result.int8_contract.quantization["pruned"]["lost_points"] > 5
    assert result.int8_contract.gates["accuracy"]["drop_points"] <= 5


def test_too_few_images_to_prune_on_are_refused(wide):
    images, labels = tiny_data(24)
    np.savez(wide / "few.npz", images=images[..., 0], labels=labels)
    options = ExportOptions(quantize=True, prune=1, data=str(wide / "few.npz"), waive=("speed",))
    with pytest.raises(DataError, match="training images to prune on, expected 32 or more"):
        export_model(wide, options=options)
    assert not (wide / "model.int8.onnx").exists()


def test_what_makes_no_sense_is_refused(wide):
    for prune_to, quantize, words in ((0.1, False, "INT8 file"), (0, True, "more than 0"), (11, True, "at most 10")):
        with pytest.raises(ExportError, match=words):
            export_model(wide, options=ExportOptions(quantize=quantize, prune=prune_to))
    done = CliRunner().invoke(command, [str(wide), "--prune", "0.1"])
    assert done.exit_code == 2
    assert "--prune is an option of INT8; add --quantize" in done.output
