"""Where the models come from: their training, their contracts, and the commands that make all of it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from segtool.files import nan_to_none
from segtool.report.page.markup import Child, Html, tag
from segtool.report.page.parts import bdi, chart, facts, fold, note, section
from segtool.report.page.view import Facts, View, name_of
from segtool.text import percent, whole

_SHORT = 16  # characters of a digest that are shown; the whole one is in the contract below


def training(view: View) -> Html:
    """Return the section with the curves of each run, or why there are none."""
    runs = [_run(view, number, run) for number, run in enumerate(view.report["runs"])]
    alone = [model for model in view.models if model["run"] is None]
    text = [
        "No run folder lies beside ",
        [[name_of(model), " "] for model in alone],
        "so its training is not known here.",
    ]
    return section("training", "Training", runs, note(text) if alone else None)


def _run(view: View, number: int, run: Facts) -> list[Child]:
    info, history = run["info"], run["history"]
    data, recipe = info["data"], info.get("recipe_values") or {}
    parts = ", ".join(f"{name} {count:,}" for name, count in (data.get("splits") or {}).items())
    described = facts(
        [
            ("Network", info.get("arch")),
            ("Parameters", whole(info["parameters"]) if "parameters" in info else None),
            ("Recipe", _joined(info.get("recipe"), recipe.get("summary"))),
            ("Epochs, batch", _joined(info.get("epochs"), info.get("batch_size"))),
            ("Seed", info.get("seed")),
            (
                "Precision",
                _joined((info.get("precision") or {}).get("name"), (info.get("precision") or {}).get("reason")),
            ),
            ("Data", _joined(data["spec"], parts)),
            ("Data fingerprint", tag("code", str(data["fingerprint"])[:_SHORT])),
            ("Trained", _joined(info.get("created"), (info.get("device") or {}).get("description"))),
        ]
    )
    charts = [chart(scene) for name, scene in view.scenes.items() if name.startswith(f"training-{number}-")]
    missing = note("This run has no history.csv, so there are no curves.") if not history else None
    return [tag("h3", "Run ", bdi(run["path"])), described, tag("div", charts, class_="charts") if charts else missing]


def contracts(view: View) -> Html:
    """Return the section with the contract of each file: in words, and as it stands in the file."""
    return section("contract", "Contract", [_contract(model) for model in view.models])


def _contract(model: Facts) -> list[Child]:
    contract = model["contract"]
    names = [str(name) for name in contract["class_names"]]
    background = contract["background_id"]
    size = f"(N, {contract['height']}, {contract['width']}, {contract['channels']})"
    output = "uint8 (N, H, W) class ids" if contract["head"] == "labels" else f"float32 (N, H, W, {len(names)})"
    trained = contract["trained_size"]
    described = facts(
        [
            ("File", bdi(model["path"])),
            ("SHA-256", tag("code", model["sha256"])),
            ("Input", f"image uint8 {size}, {contract['color_order']}; scaling is in the graph"),
            ("Output", f"{contract['head']} {output}"),
            ("Trained at", f"{trained[0]} x {trained[1]}" if trained else None),
            ("Larger images", "tiled" if contract["size_policy"] == "tile" else "resized"),
            ("Classes", [f"{len(names)}: ", _listed(names)]),
            ("Background", bdi(names[background]) if background is not None else "none"),
            ("Ignored label", contract["ignore_id"] if contract["ignore_id"] is not None else "none"),
            ("Graph", _graph(model["graph"])),
            ("Gates", _gates(contract["gates"])),
            ("Made with", _joined(*(f"{name} {version}" for name, version in contract["versions"].items()))),
        ]
    )
    raw = json.dumps(nan_to_none(contract), indent=2, ensure_ascii=False)
    whole_contract = fold("The whole contract, as JSON", tag("pre", raw, tabindex="0"))
    return [tag("h3", name_of(model)), described, whole_contract]


def _listed(names: list[str]) -> list[Child]:
    shown = [[bdi(name), ", "] for name in names[:40]]
    if shown:
        shown[-1] = shown[-1][:1]
    return [shown, f" and {len(names) - 40} more" if len(names) > 40 else ""]


def _graph(graph: Mapping[str, Any]) -> str | None:
    if not graph:
        return None
    share = f", {percent(graph['int8_share'], 1)} % of them in INT8" if graph.get("int8_share") else ""
    nodes, work = sum(graph["nodes"].values()), graph["macs"] / 1e6
    return f"{nodes} nodes, {graph['parameters']:,} parameters, {work:.1f} million multiply-adds an image{share}"


def _gates(gates: Mapping[str, Any]) -> str:
    passed = [name for name, gate in gates.items() if not gate.get("waived")]
    waived = [name for name, gate in gates.items() if gate.get("waived")]
    words = [f"passed: {', '.join(passed)}" if passed else "", f"WAIVED: {', '.join(waived)}" if waived else ""]
    return "; ".join(word for word in words if word) or "none recorded"


def reproduce(view: View) -> Html:
    """Return the section with the commands."""
    steps = [
        tag("li", tag("span", item["what"]), tag("pre", tag("code", item["command"]), tabindex="0"))
        for item in view.report["commands"]
    ]
    text = (
        "Figures of accuracy come out the same on the same files; times are this machine's at that hour, so compare "
        "ratios. The JSON beside this page, named as it is with .json behind, holds every figure on it."
    )
    return section("reproduce", "Reproduce", note(text), tag("ol", steps, class_="commands"))


def _joined(*parts: object) -> str | None:
    return ", ".join(str(part) for part in parts if part not in (None, "")) or None
