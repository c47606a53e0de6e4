"""The generated parts on photographs of docs/photographs.md and the README, from results/photos*.json."""

from __future__ import annotations

from typing import Any

from plots.results import interval, processor, read

_TRANSPOSED = {"transposed scores", "transposed scores, seed 1", "transposed scores, seed 2"}


def whole_trainings() -> str:
    """Return a table of the trainings with no option but the seed, and the time of a step."""
    result = read("photos")
    rows = [row for row in result["variants"] if row["epochs"] > result["short_epochs"]]
    table = [
        "| training | epochs | minutes | fastest epoch, s | processor | mean IoU % | after 2 epochs |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for row in rows:
        table.append(
            f"| {row['name']}{_mark(row)} | {row['epochs']} | {row['seconds'] / 60:.0f} | "
            f"{row['seconds_an_epoch']['least']:.0f} | {_cpu(row)} | {100 * row['mean_iou']:.2f} | "
            f"{100 * row['history_mean_iou'][1]:.1f} |"
        )
    throughput = read("training_throughput_lite")
    ours, torch = (
        next(row for row in throughput["networks"][0]["subjects"] if row["subject"] == name)
        for name in ("segtool", "PyTorch, fused Adam")
    )
    note = (
        "CamVid, 367 training and 101 validation images of 480 x 360, 11 classes, whole images, void ignored, two "
        "cores that other work shared (`photos.py`, `photos.json`). `frozen to stride 4` keeps the weights and "
        "statistics of the encoder's first layers. A step of 8 crops takes "
        f"{ours['step_ms']['p50'] / 1e3:.2f} s on the {processor(throughput['machine'])} with nothing else running; "
        "the same network in PyTorch (channels_last, fused AdamW) takes "
        f"{interval(torch['time_over_segtool'])} times as long (`training_throughput.py`, "
        f"`training_throughput_lite.json`). {_onednn()}"
    )
    return "\n".join([*table, "", note])


def _onednn() -> str:
    """Return what oneDNN saves on a processor on which TensorFlow leaves it off."""
    result = read("training_pieces_lite")
    lite = result["networks"][0]
    low, median, high = lite["time_without_over_time_with"]["oneDNN"]["wall"]
    return (
        f"On an {processor(result['machine'])}, a step takes {lite['step_ms']['wall'] / 1e3:.2f} s. TensorFlow's "
        f"default there is without oneDNN, and takes {median:.2f} ({low:.2f} to {high:.2f}) times as long "
        "(`training_pieces.py`, `training_pieces_lite.json`)."
    )


def parts_of_the_recipe() -> str:
    """Return a table of short trainings, each with one change."""
    result = read("photos")
    rows = [row for row in result["variants"] if row["epochs"] == result["short_epochs"]]
    short = [row["mean_iou"] for row in rows if row["group"] == "baseline"]
    seeds = [row["mean_iou"] for row in rows if row["name"] in _TRANSPOSED]
    table = [
        "| training | options | minutes | processor | mean IoU % | after 2 epochs | against short |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        apart = "" if row["group"] == "baseline" else f"{_points(row['mean_iou'], sum(short) / len(short))} points"
        table.append(
            f"| {row['name']}{_mark(row)} | `{' '.join(row['options'])}` | {row['seconds'] / 60:.0f} | {_cpu(row)} | "
            f"{100 * row['mean_iou']:.2f} | {100 * row['history_mean_iou'][1]:.1f} | {apart} |"
        )
    note = (
        f"Each of {result['short_epochs']} epochs, beside other work, so the minutes are an upper limit. {len(short)} "
        f"seeds of `short` have {_range(short)} %, and {len(seeds)} trainings of `transposed scores` {_range(seeds)} "
        "%: a smaller difference is noise. The last column compares with the mean of `short`. `transposed scores` ends "
        "in a transposed convolution, `slow encoder` gives the encoder 0.3 times the learning rate. "
        "* With a moving average of the weights (EMA), which the recipe has no more: after the last epoch it scores "
        f"{_gain_of_averages()} points more than the weights themselves (`photos.py`, `photos.json`)."
    )
    return "\n".join([*table, "", note])


def unseen_drive() -> str:
    """Return a table of trainings that are scored on a drive that no training image is of."""
    result = read("photos_unseen")
    default = next(row["mean_iou"] for row in result["variants"] if row["name"] == "20 epochs")
    table = ["| training | options | mean IoU % | against the recipe |", "| --- | --- | ---: | ---: |"]
    for row in result["variants"]:
        apart = "" if row["mean_iou"] == default else f"{_points(row['mean_iou'], default)} points"
        table.append(
            f"| {row['name']}{_mark(row)} | `{' '.join(row['options'])}` | {100 * row['mean_iou']:.2f} | {apart} |"
        )
    note = (
        f"Validated on the drive {result['unseen']} ({result['val']} images), trained on the {result['train']} images "
        "of the others (`photos.py --unseen`, `photos_unseen.json`)."
    )
    return "\n".join([*table, "", note])


def _mark(row: dict[str, Any]) -> str:
    return "*" if row["recipe_values"].get("ema") else ""


def _cpu(row: dict[str, Any]) -> str:
    return str(row["processor"].partition(" and ")[0])


def _points(value: float, other: float) -> str:
    return f"{100 * (value - other):+.2f}"


def _range(values: list[float]) -> str:
    return f"{100 * min(values):.1f} to {100 * max(values):.1f}"


def _gain_of_averages() -> str:
    """Return the range, in points, of what averaged weights gain over the weights at the end of a training."""
    rows = read("photos")["variants"] + read("photos_unseen")["variants"]
    last = [row["last_epoch_mean_iou"] for row in rows if row.get("last_epoch_mean_iou")]
    gains = [100 * (found["average"] - found["weights"]) for found in last]
    return f"{min(gains):+.1f} to {max(gains):+.1f}"


def in_short() -> str:
    """Return the sentence of the README."""
    trained = next(row for row in read("photos")["variants"] if row["name"] == "default")
    network = read("photos_engines")["networks"][0]
    int8 = next(engine for engine in network["engines"] if engine["engine"] == "ours-int8")
    time = network["time"]["1"]["engines"]["ours-int8"]["latency_ms"]["p50"]
    return (
        f"Photographs: `segtool train --data camvid/` with no other option reaches {100 * trained['mean_iou']:.1f} % "
        f"mean IoU on CamVid's validation images after {trained['seconds'] / 60:.0f} minutes on two cores. The INT8 "
        f"file loses {int8['mean_iou_drop_points']:.2f} points, has {int8['size_bytes'] / 1e6:.1f} MB and takes "
        f"{time:.0f} ms an image of 480 x 360 on one thread ({processor(read('photos_engines')['machine'])})."
    )


def upsampling() -> str:
    """Return what bilinear upsampling of the scores is worth."""
    result = read("upsampling")
    own, bilinear = result["ways"]
    return (
        "The scores are upsampled bilinearly. With a transposed convolution in place of it, "
        f"{100 * own['flips']:.2f} % of the pixels have another label than both neighbours in a row or column, which "
        "agree: along uncertain borders its 4 x 4 taps decide differently. With the mean of its taps and bilinear "
        f"upsampling, without any training, these are {100 * bilinear['flips']:.2f} %, and the mean IoU is "
        f"{100 * bilinear['mean_iou']:.2f} in place of {100 * own['mean_iou']:.2f} % ({result['images']} validation "
        f"images, {result['epochs']} epochs; `upsampling.py`, `upsampling.json`)."
    )


def engines() -> str:
    """Return the time and accuracy of the trained network in all engines."""
    result = read("photos_engines")
    network = result["networks"][0]
    rows = [
        "| engine | ms, 1 thread: p50, p90 | 2 threads | labels equal to Keras % | mean IoU % | MB |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for engine in network["engines"]:
        times = [network["time"][count]["engines"][engine["engine"]]["latency_ms"] for count in ("1", "2")]
        shown = " | ".join(f"{time['p50']:.1f}, {time['p90']:.1f}" for time in times)
        rows.append(
            f"| {engine['title']} | {shown} | {100 * engine['label_agreement']:.2f} | {100 * engine['mean_iou']:.2f} | "
            f"{engine['size_bytes'] / 1e6:.2f} |"
        )
    note = (
        "The network of a training with no option, one image of 480 x 360, from raw pixels to class ids, "
        f"all engines interleaved ({processor(result['machine'])}; `foreign_engines.py --keras`, "
        "`photos_engines.json`). The images are those of validation, on which the best epoch was chosen."
    )
    return "\n".join([*rows, "", note])
