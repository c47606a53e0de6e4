"""The tables of docs/figures.md and the two tables of the README, from results/*.json; `figures.py` writes them."""

from __future__ import annotations

from itertools import product

from plots import engines, family, footprint, scaling
from plots.results import interval, processor, read

_KEYS = ("pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")
# Section 10 of the design: the figures of the source's own run, on its own random validation split.
SOURCE = "| the source's own run (FCN-8, 75 epochs, validation) | 99.14 | 84.76 | 91.73 | |"


def figures() -> str:
    """Return the content of docs/figures.md."""
    result = read("m2nist_fcn8")
    counts = result["data"]["splits"]
    lines = [
        f"FCN-8 on real M2NIST ({counts['train']} images to train, {counts['val']} for validation, "
        f"{counts['test']} for a test), {result['epochs']} epochs of the recipe `fast` in "
        f"{result['precision']['name']}, {result['training_seconds'] / 60:.0f} minutes on two cores beside other work:",
        "",
        "| file | pixel accuracy % | mean IoU, digits % | mean Dice, digits % | MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for part in ("val", "test"):
        for name, title in (("keras", "model.keras"), ("float32", "model.onnx"), ("int8", "model.int8.onnx")):
            score = result["scores"][part][name]
            values = (score[key] for key in _KEYS)
            row = " | ".join(f"{100 * value:.2f}" for value in values)
            lines.append(f"| {title}, {part} | {row} | {result['size_bytes'][name] / 1e6:.1f} |")
    speed = result["gates"]["speed"]
    lines += [
        SOURCE,
        "",
        result["test_note"],
        "",
        f"INT8 against FP32, one image, {speed['threads']} threads, measured interleaved by the export: "
        f"{speed['sentence']}.",
    ]
    more = (engines.throughput_table, footprint.table, family.table, scaling.table)
    tables = (line for table in more for line in table())
    return "\n".join([*_edge(), *lines, *_engines(), *tables, *_membrane()])


def accuracy() -> str:
    """Return the README's table of accuracy on test images of M2NIST."""
    edge = read("m2nist_edge")
    fcn8 = read("m2nist_fcn8")
    lines = [
        "| network, file | pixel accuracy % | mean IoU, digits % | mean Dice, digits % | MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, title in (("float32", "FP32"), ("int8", "INT8")):
        cells = " | ".join(f"{100 * edge['test_over_seeds'][name][key]['mean']:.2f}" for key in _KEYS)
        size = edge["runs"][0]["size_bytes"][name] / 1e6
        lines.append(f"| fcn8-edge (default, mean of {len(edge['runs'])} seeds), {title} | {cells} | {size:.2f} |")
    for name, title in (("float32", "FP32"), ("int8", "INT8")):
        cells = " | ".join(f"{100 * fcn8['scores']['test'][name][key]:.2f}" for key in _KEYS)
        lines.append(f"| fcn8, {title} | {cells} | {fcn8['size_bytes'][name] / 1e6:.1f} |")
    return "\n".join([*lines, SOURCE, "", f"fcn8: {fcn8['test_note']}"])


def engines_of_readme() -> str:
    """Return the README's table of engines, one thread."""
    result = read("export_engines")
    lines = ["| engine | p50 ms | MB | mean IoU, digits % |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['title']} | {row['latency_ms']['p50']:.2f} | {row['size_bytes'] / 1e6:.1f} | "
        f"{100 * row['foreground_mean_iou']:.2f} |"
        for row in result["engines"]
        if row["threads"] == 1 and (row["precision"] == "int8" or row["engine"].endswith("fp32"))
    ]
    source = f"One thread of an {processor(result['machine'])} (`benchmarks/export_engines.py`)."
    return "\n".join([*lines, "", source])


def _edge() -> list[str]:
    """Return fcn8-edge's figures on test images, over seeds, with its size and speed beside fcn8's."""
    result = read("m2nist_edge")
    runs, ratio = result["runs"], result["latency"]["edge_over_fcn8"]
    parts, parameters = runs[0]["splits"], runs[0]["parameters"]
    lines = [
        f"fcn8-edge, the default, on real M2NIST ({parts['train']} images to train, {parts['val']} for validation), "
        f"{len(runs)} seeds, on {parts['test']} test images that no choice was made on (`benchmarks/m2nist_edge.py`):",
        "",
        "| file | pixel accuracy % | mean IoU, digits % | mean Dice, digits % | MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, title in (("float32", "model.onnx"), ("int8", "model.int8.onnx")):
        cells = " | ".join(_mean(result["test_over_seeds"][name][key]) for key in _KEYS)
        lines.append(f"| {title} | {cells} | {runs[0]['size_bytes'][name] / 1e6:.2f} |")
    beats = [run["beats_the_source"] for run in runs if run["beats_the_source"]]
    epochs = ", ".join(str(item["epoch"]) for item in beats)
    past = ", ".join(f"{item['seconds']:.0f}" for item in beats)
    minutes = ", ".join(f"{run['training_seconds'] / 60:.0f}" for run in runs)
    lines += [
        "",
        f"It has {parameters:,} parameters, fcn8 9,061,985; in INT8 on one thread it takes "
        f"{interval(ratio)} of fcn8's time. It is past the source's figures after epoch "
        f"{epochs} of {runs[0]['epochs']} ({past} seconds), and done in {minutes} minutes. {result['note']}".rstrip(),
        "",
    ]
    return lines


def _mean(value: dict[str, float]) -> str:
    spread = f" ({100 * value['least']:.2f} to {100 * value['most']:.2f})" if value["least"] != value["most"] else ""
    return f"{100 * value['mean']:.2f}{spread}"


def _engines() -> list[str]:
    """Return the comparison with other engines, one thread."""
    result = read("export_engines")
    lines = [
        "",
        "The same network in other engines, one image from raw pixels to class ids, one thread, interleaved in "
        "one run "
        f"({processor(result['machine'])}; `benchmarks/export_engines.py`):",
        "",
        "| engine | p50 ms | time over segtool's, same precision | MB | mean IoU, digits % |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in (row for row in result["engines"] if row["threads"] == 1):
        precision = "int8" if row["precision"] == "int8" else "float32"
        lines.append(
            f"| {row['title']} | {row['latency_ms']['p50']:.2f} | {interval(row['time_over_ours'][precision])} | "
            f"{row['size_bytes'] / 1e6:.1f} | {100 * row['foreground_mean_iou']:.2f} |"
        )
    return lines


def _membrane() -> list[str]:
    """Return the figures on a folder of larger images, trained on crops and predicted by tiles."""
    result = read("membrane")
    runs = result["runs"]
    parts = runs["default"]["splits"]
    lines = [
        "",
        f"A folder of larger images, 30 electron micrographs of 512 x 512 (ISBI 2012): {parts['train']} to train on, "
        f"{parts['val']} for validation, {parts['test']} that no choice was made on, predicted whole, by tiles where "
        "the training was on small crops (`benchmarks/membrane.py`). With no option `train` chooses "
        f"{runs['default']['arch']}; the far smaller {runs['edge']['arch']} is better here. The minutes are "
        "an upper limit, because other work shared the two cores:",
        "",
        "| options of `train`, file | minutes | pixel accuracy % | IoU, membrane and cell % | "
        "Dice, membrane and cell % | MB |",
        "| --- | ---: | --- | --- | --- | --- |",
    ]
    for run, (name, title) in product(runs.values(), (("float32", "FP32"), ("int8", "INT8"))):
        score = run["scores"]["test"][name]
        cells = " | ".join(_both(score["classes"], key) for key in ("iou", "dice"))
        options = run["commands"][0].partition("--seed 0")[2].strip()
        lines.append(
            f"| {f'`{options}`' if options else 'none'}, {title} | {run['seconds'] / 60:.0f} | "
            f"{100 * score['pixel_accuracy']:.2f} | {cells} | {run['size_bytes'][name] / 1e6:.2f} |"
        )
    return [
        *lines,
        "",
        "![Predicted membranes, and where they are wrong](membrane.png)",
        "",
        "*What the last file predicts on three of them; below, membrane that it missed (red) and invented (blue).*",
    ]


def _both(classes: dict[str, dict[str, float]], key: str) -> str:
    return ", ".join(f"{100 * classes[kind][key]:.2f}" for kind in ("membrane", "cell"))
