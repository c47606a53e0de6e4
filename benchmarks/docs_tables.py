"""The generated parts of the pages of docs/, from results/*.json and the code; benchmarks/figures.py writes them.

A part is between `<!-- figures: NAME -->` and `<!-- /figures -->` in a page; NAME is one of `PARTS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import arm_tables
import deploy_tables
import docs_facts as facts
import photo_tables
import readme_tables
from plots.results import RESULTS, interval, processor, read

from segtool.text import counted

_PART = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- /figures -->)", re.DOTALL)


def pages(folder: Path) -> dict[Path, str]:
    """Return each page of a folder with the figures and facts of today."""
    return {path: filled(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.md"))}


def filled(text: str) -> str:
    """Return a page with the figures between its marks, and the time of the first training where it is named."""
    text = re.sub(r"took about \S+ minutes", f"took about {_training_minutes()} minutes", text)
    return _PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)


def _step(index: int) -> Callable[[], str]:
    """Return what shows the terminal after the first or second of the three commands."""

    def shown() -> str:
        lines = [line.rstrip() for line in read("three_commands")["steps"][index]["stdout"]]
        return "\n".join(["```text", *lines, "```"])

    return shown


def _training_minutes() -> int:
    return round(read("three_commands")["steps"][0]["seconds"] / 60)


def _training_time() -> str:
    result = read("three_commands")
    return (
        f"With no option it trains {result['run']['epochs']} epochs on {result['data']['splits']['train']} generated "
        f"images. That took {_training_minutes()} minutes on two cores of an {result['machine']['cpu']} that other "
        "work shared."
    )


def _one_thread(precision: str) -> list[dict[str, Any]]:
    return [row for row in read("export_engines")["engines"] if row["threads"] == 1 and row["precision"] == precision]


def _int8_speed() -> str:
    ours = next(row for row in _one_thread("int8") if row["engine"] == "ours-int8")
    share, machine = ours["time_over_ours"]["float32"], read("export_engines")["machine"]
    edge = read("m2nist_edge")["latency"]["edge_over_fcn8"]
    return (
        f"On one thread of an {machine['cpu']} with VNNI, fcn8 in INT8 takes {share['median']:.2f} "
        f"({share['low']:.2f} to {share['high']:.2f}) of the time of segtool's own FP32 file: "
        f"{ours['latency_ms']['p50']:.2f} ms an image from raw pixels to class ids. fcn8-edge in INT8 takes "
        f"{edge['median']:.2f} ({edge['low']:.2f} to {edge['high']:.2f}) of the time of fcn8 in INT8."
    )


def _int8_engines() -> str:
    rows = [
        "| INT8 of the same network | p50 ms | time over segtool's | MB | mean IoU, digits % | labels of FP32 kept % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in _one_thread("int8"):
        ratio = row["time_over_ours"]["int8"]
        rows.append(
            f"| {row['title']} | {row['latency_ms']['p50']:.2f} | {interval(ratio)} | {row['size_bytes'] / 1e6:.1f} | "
            f"{100 * row['foreground_mean_iou']:.2f} | {100 * row['label_agreement']:.2f} |"
        )
    floats = next(row for row in _one_thread("float32") if row["engine"] == "ours-fp32")
    rows += ["", f"FP32 has a mean IoU of {100 * floats['foreground_mean_iou']:.2f} %. {_engines_method()}"]
    return "\n".join(rows)


def _engines_method() -> str:
    result = read("export_engines")
    return (
        f"fcn8 after {result['network']['epochs']} epochs, {result['validation_images']} validation images, one thread "
        f"({processor(result['machine'])}); ratios are medians over {result['method']['rounds']} rounds with a 95 % "
        "interval (`export_engines.json`)."
    )


def _throughput() -> str:
    rows = ["| fcn8 in INT8, two cores | images a second |", "| --- | --- |"]
    rows += [f"| {row['title']} | {interval(row, 0)} |" for row in read("export_engines")["throughput"]]
    return "\n".join(rows)


def _pruning() -> str:
    result = read("pruning")
    rows = [
        "| `--prune` | convolutions pruned | work saved % | time over the whole file's | MB | mean IoU, digits % "
        "| labels of FP32 kept % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["files"]:
        test = row["test"]
        rows.append(
            f"| {' | '.join(_taken(row))} | {row['size_bytes'] / 1e6:.2f} | "
            f"{100 * test['foreground_mean_iou']:.2f} | {100 * test['label_agreement']:.2f} |"
        )
    network = result["network"]
    images = result["files"][0]["test"]["images"]
    return "\n".join(
        [
            *rows,
            "",
            f"{network['arch']} after {network['epochs']} epochs in INT8, on {images} test images of M2NIST "
            f"({processor(result['machine'])}; `pruning.json`). {_pruned_ddrnet()}",
        ]
    )


def _pruned_ddrnet() -> str:
    """Return a sentence on pruning of another network."""
    whole, pruned = read("pruning_ddrnet")["files"]
    lost = pruned["val"]["drop_points"] - whole["val"]["drop_points"]
    return (
        f"A DDRNet (256 x 256, generated shapes) with `--prune {pruned['percent']:g}` loses {lost:.2f} points of "
        f"validation images, saves {100 * pruned['pruned']['macs_saved']:.0f} % of the work, takes "
        f"{interval(pruned['time_over_whole'])} of the time, and has {pruned['size_bytes'] / 1e6:.2f} MB in place of "
        f"{whole['size_bytes'] / 1e6:.2f} (`pruning_ddrnet.json`)."
    )


def _normalization() -> str:
    result = read("normalization")
    rows = [
        "| images | steps an epoch | training loss | validation loss, moving averages | re-estimated | mean IoU % with "
        "moving averages | re-estimated |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["data"]:
        lagging, anew = row["lagging"][-1], row["reestimated"][-1]
        rows.append(
            f"| {row['images']} | {row['steps_an_epoch']} | {row['training_loss'][-1]:.2f} | {lagging['loss']:.2f} | "
            f"{anew['loss']:.2f} | {100 * lagging['mean_iou']:.1f} | {100 * anew['mean_iou']:.1f} |"
        )
    note = (
        f"fcn8-edge after {result['epochs']} epochs: 40 and 367 photographs of CamVid at 180 x 240, and 3,200 images "
        "of M2NIST (`normalization.py`, `normalization.json`)."
    )
    return "\n".join([*rows, "", note])


def _qat() -> str:
    result = read("qat")
    rows = [
        "| network | preset | FP32 | INT8 by calibration | FP32 after `--qat` | INT8 after `--qat` | training "
        "| labels of the training kept % | processor |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows += [
        f"| {row['network']} | `{row['preset']}` | {_percents(row, 'float32', 'int8', 'qat_float32', 'qat_int8')} | "
        f"{counted(row['epochs'], 'epoch')} of {row['train_images']} images | "
        f"{_percents(row, 'int8_labels_of_training')} | {row['processor'].partition(',')[0]} |"
        for row in result["rows"]
    ]
    note = "Mean IoU in percent without the background, on the validation images, on which the best epoch was chosen"
    longer = (
        "Where FP32 after `--qat` is better than before, the network gained by more training. What the rounding costs "
        "is the difference of FP32 and INT8, before and after."
    )
    return "\n".join([*rows, "", f"{note} (`qat.py`, `qat.json`). {longer}"])


def _percents(row: Mapping[str, Any], *names: str) -> str:
    return " | ".join(f"{100 * row[name]:.2f}" for name in names)


def _taken(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return the limit of a row of pruning.json, the convolutions pruned, the work saved, and the time."""
    pruned = row["pruned"]
    if pruned is None:
        return "-", "-", "-", "1"
    limit = f"{row['percent']:g}"
    if "lost_points" in pruned:
        return limit, f"none: INT8 lost {pruned['lost_points']:.2f} points on validation, 0.5 may go", "-", "1"
    saved = f"{100 * pruned['macs_saved']:.0f}"
    return limit, str(len(pruned["channels"])), saved, interval(row["time_over_whole"])


def _onnx_networks() -> str:
    return (RESULTS / "onnx_networks.md").read_text(encoding="utf-8").strip()


def _foreign_engines() -> str:
    result = read("foreign_engines")
    counts = sorted(result["networks"][0]["time"])
    head = ["network", *(f"FP32 of the best engine's, threads: {count}" for count in counts)]
    head += [f"recommended of the best file's, threads: {count}" for count in counts]
    rows = [[*head, "recommended", "INT8's labels % of FP32", "loss of INT8, points of mean IoU"]]
    rows.append(["---"] * len(rows[0]))
    rows += [_foreign_network(row, counts) for row in result["networks"]]
    other, without = read("foreign_engines_amx"), read("foreign_engines_avx2")
    few = ", ".join(row["name"] for row in without["networks"])
    return "\n".join(
        [
            *(f"| {' | '.join(cells)} |" for cells in rows),
            "",
            f"Geometric means: {_means(result)}. In brackets the best other engine ({processor(result['machine'])}; "
            f"`foreign_engines.json`). Without VNNI ({few}): {_means(without)} ({processor(without['machine'])}; "
            f"`foreign_engines_avx2.json`). Of an earlier version, on another processor: {_means(other)} "
            f"({processor(other['machine'])}; `foreign_engines_amx.json`).",
        ]
    )


def _means(result: Mapping[str, Any]) -> str:
    """Return the geometric means of `foreign_engines.py`, but that of segtool's files with each other."""
    means = [item for item in result["geometric_means"] if item["comparison"] != "recommended_over_other"]
    return "; ".join(
        f"{item['title']} ({counted(item['threads'], 'thread')}): {item['geometric_mean']:.2f}" for item in means
    )


def _foreign_network(row: Mapping[str, Any], counts: list[str]) -> list[str]:
    titles = {engine["engine"]: engine["title"] for engine in row["engines"]}
    int8 = next(engine for engine in row["engines"] if engine["engine"] == "ours-int8")
    cells = [row["name"]]
    for comparison in ("float32_over_best", "recommended_over_best"):
        for count in counts:
            found = row["time"][count][comparison]
            cells.append(f"{found['median']:.2f} ({titles[found['best']]})")
    scores = (f"{100 * int8['label_agreement']:.2f}", f"{int8['mean_iou_drop_points']:.2f}")
    return [*cells, row["segtool"]["recommended"], *scores]


def _input_scaling() -> str:
    return (RESULTS / "input_scaling.md").read_text(encoding="utf-8").strip()


def _keras_layers() -> str:
    return (RESULTS / "keras_layers.md").read_text(encoding="utf-8").partition("\n\n")[2].strip()


def _install_size() -> str:
    result = read("install_size")
    largest = sorted(result["packages"], key=lambda item: -item["bytes"])[:3]
    named = ", ".join(f"{item['package']} {item['bytes'] / 1e6:.0f} MB" for item in largest)
    return (
        f"The base install is {len(result['packages'])} packages of {result['total_bytes'] / 1e6:.0f} MB in all; the "
        f"largest are {named} (`install_size.json`)."
    )


def _folder() -> str:
    result = read("folder_throughput")
    faster = result["threads_and_workers"]["whole_process"]["default_over"]["one_worker_one_thread"]
    memory = ", ".join(f"{row['peak_mb']:.0f} MB for {int(count):,}" for count, row in result["memory"].items())
    return (
        f"For a folder of {result['images']:,} PNGs of 64 x 84 pixels and fcn8 in INT8, the default is "
        f"{interval(faster)} times as fast as one worker with one thread, on two cores. Peak memory by the number of "
        f"images: {memory} (`folder_throughput.json`)."
    )


def _eight_bit_weights() -> str:
    result = read("eight_bit_weights")
    titles = {
        "x86": "INT8, `x86`",
        "vnni": "INT8, `vnni`",
        "vnni, not exact": "INT8, `vnni`, without the option",
        "float32": "FP32",
    }
    rows = ["| network | file | time over that of `x86` | labels equal to FP32's % |", "| --- | --- | --- | ---: |"]
    for network in result["networks"]:
        for key, title in titles.items():
            row = network["files"][key]
            time = interval(row["time_over_x86"]) if "time_over_x86" in row else "1"
            rows.append(f"| {network['network']} | {title} | {time} | {100 * row['labels_of_float32']:.2f} |")
    note = f"One thread, {result['images']} images ({processor(result['machine'])}; `eight_bit_weights.json`)."
    return "\n".join([*rows, "", note])


def _seams() -> str:
    result = read("seams")
    lines = [
        "| network, images | size, tiles | way | mean IoU % | other labels near the seams % | elsewhere % | "
        "different neighbours across the seams % |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        sizes = ", ".join("{} x {}".format(*row[key]) for key in ("whole", "tile"))
        for way in row["ways"]:
            shares = (way[key] for key in ("mean_iou", "other_labels_near", "other_labels_elsewhere", "steps"))
            numbers = " | ".join(f"{100 * share:.2f}" for share in shares)
            lines.append(f"| {row['network']}, {row['images']} of {row['data']} | {sizes} | {way['way']} | {numbers} |")
    near = result["rows"][0]["near_pixels"]
    return "\n".join(
        [
            *lines,
            "",
            f"The same weights exported at both sizes (height x width). Near: at most {near} pixels from a line where "
            "tiles meet. Other labels: than those of the whole image. The last column counts pairs of pixels on both "
            "sides of the lines: more than in the whole image are a visible seam (`seams.py`, `seams.json`).",
        ]
    )


PARTS: Mapping[str, Callable[[], str]] = {
    "readme-accuracy": readme_tables.accuracy,
    "readme-engines": readme_tables.engines_of_readme,
    "all": readme_tables.figures,
    "train": _step(0),
    "export": _step(1),
    "training-time": _training_time,
    "int8-accuracy": readme_tables.accuracy,
    "int8-speed": _int8_speed,
    "int8-engines": _int8_engines,
    "pruning": _pruning,
    "normalization": _normalization,
    "photos": photo_tables.whole_trainings,
    "photos-parts": photo_tables.parts_of_the_recipe,
    "photos-unseen": photo_tables.unseen_drive,
    "upsampling": photo_tables.upsampling,
    "seams": _seams,
    "photos-engines": photo_tables.engines,
    "readme-photos": photo_tables.in_short,
    "qat": _qat,
    "onnx-networks": _onnx_networks,
    "foreign-engines": _foreign_engines,
    "input-scaling": _input_scaling,
    "keras-layers": _keras_layers,
    "throughput": _throughput,
    "install-size": _install_size,
    "eight-bit-weights": _eight_bit_weights,
    "page": deploy_tables.page,
    "servers": deploy_tables.servers,
    "container": deploy_tables.container,
    "folder": _folder,
    "arm": arm_tables.files,
    "arm-traced": arm_tables.traced,
    "arm-install": arm_tables.install,
    "arm-damage": arm_tables.damage,
    "presets": facts.presets,
    "gates": facts.gates,
    "contract": facts.contract,
    "recipes": facts.recipes,
    "layers": facts.layers,
    "passes": facts.passes,
    "graph-helpers": facts.graph_helpers,
}
"""Name -> the Markdown that stands between the marks."""
