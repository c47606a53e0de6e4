"""FP32 against INT8: what changed, what it cost, what it gained."""

from __future__ import annotations

from collections.abc import Sequence

from segtool.report.page.markup import Child, Html, tag
from segtool.report.page.parts import Cell, bdi, chart, facts, note, pictures, section, table
from segtool.report.page.view import Example, Facts, View, name_of
from segtool.text import percent, points


def int8(view: View) -> Html | None:
    """Return the section; None where no model is INT8."""
    quantized = [model for model in view.models if model["contract"]["precision"] == "int8"]
    if not quantized:
        return None
    paired = {pair["int8"]: (place, pair) for place, pair in enumerate(view.report["pairs"])}
    parts = [
        _with_pair(view, *paired[each["id"]]) if each["id"] in paired else _alone(view, each) for each in quantized
    ]
    return section("int8", "FP32 against INT8", parts)


def _with_pair(view: View, place: int, pair: Facts) -> list[Child]:
    first, second = view.models[pair["float32"]], view.models[pair["int8"]]
    drop, speed = pair["drop_points"], pair["speed"]
    share = f"{pair['changed_pixels']:,} of {pair['pixels']:,} labels, in {pair['changed_images']:,} images"
    measured = facts(
        [
            ("Labels that changed", f"{share} ({percent(pair['agreement'], 4)} % are the same)"),
            ("Foreground mean IoU", points(-drop["foreground_mean_iou"], 3)),
            ("Foreground mean Dice", points(-drop["foreground_mean_dice"], 3)),
            (
                "Speed",
                f"{speed['median']:.2f} times as fast, {speed['low']:.2f} to {speed['high']:.2f}" if speed else None,
            ),
            ("Size", f"{first['size_bytes'] / second['size_bytes']:.1f} times as small"),
        ]
    )
    return [
        tag("h3", name_of(first), " and ", name_of(second)),
        measured,
        tag("div", _classes(first, second, place), _moves(pair, place), class_="side"),
        _changed(view.changed.get(place, ())),
        _quantization(view, second),
    ]


def _alone(view: View, model: Facts) -> list[Child]:
    """Return what is known of an INT8 file whose FP32 file is not here: what its export recorded."""
    gate = model["contract"]["gates"].get("accuracy", {})
    text = "The FP32 file that it was made from is not part of this report, so this is what its export recorded."
    recorded = facts(
        [
            ("Foreground mean IoU, FP32", f"{percent(gate['float32'])} %" if gate else None),
            ("Foreground mean IoU, INT8", f"{percent(gate['int8'])} %" if gate else None),
            ("Labels that agree", f"{percent(gate['label_agreement'], 4)} %" if gate else None),
            ("Speed", model["contract"]["gates"].get("speed", {}).get("sentence")),
        ]
    )
    return [tag("h3", name_of(model)), note(text), recorded, _quantization(view, model)]


def _moves(pair: Facts, place: int) -> Html:
    if not pair["moves"]:
        return note("Not one label changed.")
    rows: list[Sequence[Child | Cell]] = [
        [[bdi(item["from"]), " became ", bdi(item["to"])], Cell(f"{item['pixels']:,}")] for item in pair["moves"]
    ]
    return table("The labels that changed most", ["change", "pixels"], rows, identifier=f"t-moves-{place}")


def _classes(first: Facts, second: Facts, place: int) -> Html:
    rows: list[Sequence[Child | Cell]] = []
    for one, two in zip(first["evaluation"]["classes"], second["evaluation"]["classes"], strict=True):
        if one["iou"] is None or one["iou"] != one["iou"] or two["iou"] is None or two["iou"] != two["iou"]:
            continue
        change = points(100 * (two["iou"] - one["iou"]), 3).removesuffix(" points")
        rows.append([bdi(one["name"]), Cell(percent(one["iou"])), Cell(percent(two["iou"])), Cell(change)])
    columns = ["class", "FP32 IoU %", "INT8 IoU %", "change, points"]
    return table("IoU of each class", columns, rows, identifier=f"t-drop-{place}")


def _changed(examples: Sequence[Example]) -> list[Child]:
    if not examples:
        return []
    figures = [
        pictures(
            example.panels,
            [tag("strong", bdi(example.facts["image"])), f" · {example.facts['changed_pixels']:,} labels changed"],
        )
        for example in examples
    ]
    return [tag("h3", "Where most labels changed"), tag("div", figures, class_="examples")]


def _quantization(view: View, model: Facts) -> list[Child]:
    found = model["contract"]["quantization"]
    kept = found.get("float_layers") or []
    described = facts(
        [
            ("Preset", found.get("preset")),
            ("Method", found.get("method")),
            ("Calibration", f"{found['images']} training images" if "images" in found else None),
            ("Layers in INT8", found.get("layers")),
            ("Layers kept in float", ", ".join(str(name) for name in kept) or "none"),
        ]
    )
    scene = view.scenes.get(f"sensitivity-{model['id']}")
    if scene is not None:
        return [described, chart(scene, "What each layer alone loses in INT8, as its export measured it.")]
    why = "Its export measured no layer by itself: all together kept the accuracy, so none had to go back to float."
    return [described, note(why) if not kept else None]
