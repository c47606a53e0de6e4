"""The report: what is on the page and in its JSON, and what it refuses."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from report_runs import CLASSES, HOSTILE, write_data, write_report_run
from tiny_models import write_model

from segtool.cli import main
from segtool.errors import ModelFileError
from segtool.models.resolve import ModelSource
from segtool.report.page.models import open_models
from segtool.report.page.options import ReportOptions
from segtool.report.page.verdict import choose, judge
from segtool.runtime.segmenter import Segmenter

VOID = {"br", "col", "img", "input", "link", "meta"}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[str, Any]:
    """The JSON of the report of a run, made once with everything that there is."""
    result = run(folder, "--runs", 10, "--plots", folder / "plots", "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def page(made: dict[str, Any], folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


class Tree(HTMLParser):
    """The elements of a page; complains about tags that do not close what was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


def test_the_page_is_well_formed_and_says_everything_in_words(page: str) -> None:
    tree = Tree(page)
    assert not tree.open
    identifiers = [attributes["id"] for _, attributes in tree.found if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {f"#{name}" for name in identifiers} >= {link["href"] for link in tree.all("a")}
    assert tree.all("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in tree.all("img"))
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in tree.all("svg"))
    assert all(cell["scope"] in ("row", "col") for cell in tree.all("th"))
    assert len(tree.all("table")) == len(tree.all("caption"))
    levels = [int(tag[1]) for tag, _ in tree.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_names_of_others_are_text_and_nothing_else(page: str) -> None:
    """Classes, layers and the network are called like a script; a mark of direction in a name is taken out."""
    tree = Tree(page)
    assert not tree.all("script")
    assert not [name for _, attributes in tree.found for name in attributes if name.startswith("on")]
    assert any(HOSTILE in words for words in tree.words)
    assert "\u202e" not in page


def test_nothing_comes_from_elsewhere(page: str) -> None:
    tree = Tree(page)
    places = [value or "" for _, found in tree.found for name, value in found.items() if name in ("src", "href")]
    assert all(place.startswith(("data:image/png;base64,", "data:image/jpeg;base64,", "#")) for place in places)
    assert not re.search(r"@import|url\(", page)
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in tree.all("meta"))


def test_the_figures_are_those_of_the_other_commands(made: dict[str, Any], folder: Path) -> None:
    beside = json.loads((folder / "report.html.json").read_text())
    assert beside["models"] == made["models"]
    scored = CliRunner().invoke(main, ["evaluate", str(folder / "model.int8.onnx"), "--json"])
    evaluation = json.loads(scored.stdout)
    for key in ("foreground_mean_iou", "pixel_accuracy", "confusion_matrix", "split", "images"):
        assert made["models"][1]["evaluation"][key] == evaluation[key]


def test_the_pair_is_compared_image_by_image(made: dict[str, Any]) -> None:
    [pair] = made["pairs"]
    first, second = made["models"]
    assert (pair["float32"], pair["int8"]) == (first["id"], second["id"])
    assert pair["pixels"] == first["evaluation"]["images"] * 24 * 32
    assert 0 < pair["changed_pixels"] == sum(move["pixels"] for move in pair["moves"])
    assert pair["drop_points"]["pixel_accuracy"] == pytest.approx(
        100 * (first["evaluation"]["pixel_accuracy"] - second["evaluation"]["pixel_accuracy"])
    )
    assert pair["speed"]["low"] <= pair["speed"]["median"] <= pair["speed"]["high"]


def test_the_worst_images_are_the_worst(made: dict[str, Any]) -> None:
    for model in made["models"]:
        scores = {each["index"]: each["foreground_mean_iou"] for each in model["per_image"]}
        assert len(scores) == model["evaluation"]["images"]
        worst, best = ([scores[index] for index in model[kind]] for kind in ("worst", "best"))
        assert worst == sorted(scores.values())[: len(worst)]
        assert best == sorted(scores.values(), reverse=True)[: len(best)]


def test_times_and_their_distribution_are_of_the_same_runs(made: dict[str, Any]) -> None:
    for model in made["models"]:
        row = model["benchmark"]
        assert len(row["samples_ms"]) == row["n"] >= 10
        assert min(row["samples_ms"]) <= row["latency_ms"]["p50"] <= max(row["samples_ms"])


def test_every_drawing_is_a_file_too(made: dict[str, Any], folder: Path) -> None:
    names = {path.name for path in (folder / "plots").iterdir()}
    for name in ("latency", "stages", "accuracy-latency", "sensitivity-1", "training-0-loss", "training-0-iou"):
        assert {f"{name}.svg", f"{name}.png"} <= names
    assert len(names) == 2 * len({Path(name).stem for name in names})
    for path in (folder / "plots").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        Tree(text.partition("?>")[2])
        assert "<script" not in text
        assert str(path) in made["written"]


def test_the_commands_are_those_of_the_run(made: dict[str, Any], folder: Path) -> None:
    train, export, *_, last = [step["command"] for step in made["commands"]]
    assert train == f"segtool train --seed 3 --out {folder}"
    assert export == f"segtool export {folder} --quantize"
    assert last.startswith("segtool report ")


@pytest.mark.parametrize("change", [{"provider": "cpu"}, {"threads": 2}, {"runs": 200}])
def test_how_to_run_is_refused_where_no_model_is_exported(tmp_path: Path, change: dict[str, Any]) -> None:
    trained = ModelSource(tmp_path / "model.keras", "keras")
    with pytest.raises(ModelFileError, match="remove them"):
        open_models([trained], ReportOptions(**change))


def test_nothing_is_overwritten(made: dict[str, Any], folder: Path) -> None:
    before = (folder / "report.html").read_bytes()
    other = ["--out", folder / "other.html", "--plots", folder / "plots"]
    for arguments in ([], other):
        refused = run(folder, "--no-latency", *arguments)
        assert refused.exit_code == 1
        assert "--overwrite" in refused.stderr
    assert not (folder / "other.html").exists()
    assert (folder / "report.html").read_bytes() == before


def test_without_times_the_page_says_so(folder: Path, tmp_path: Path) -> None:
    result = run(folder / "model.onnx", "--no-latency", "--out", tmp_path / "page.html", "--samples", 0)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Times were not measured" in text
    assert "p50" not in text
    assert json.loads((tmp_path / "page.html.json").read_text())["models"][0]["benchmark"] is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "running", "epochs": 60}, "unfinished (epoch 3 of 60)"),
        ({"data": {"spec": "gone.npz", "fingerprint": "", "class_names": ["a"]}}, "gone.npz"),
    ],
)
def test_what_cannot_be_reported_is_one_sentence(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    result = run(write_report_run(tmp_path / "run", **change), "--no-latency")
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("package", ["jinja2", "matplotlib.figure"])
def test_a_missing_extra_is_the_pip_line_before_any_work(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = run(write_report_run(tmp_path / "run"), "--no-latency")
    assert result.exit_code == 1
    assert 'pip install "segtool[report]"' in result.stderr
    assert not (tmp_path / "run" / "report.html").exists()


def test_each_model_is_opened_once_and_sees_each_image_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    images: list[int] = []
    start, predict = Segmenter.__init__, Segmenter.predict_batch

    def counted(self: Segmenter, graph: Any, *arguments: Any, **options: Any) -> None:
        opened.append("a file")
        start(self, graph, *arguments, **options)

    def watched(self: Segmenter, batch: Any) -> Any:
        images.append(len(batch))
        return predict(self, batch)

    monkeypatch.setattr(Segmenter, "__init__", counted)
    monkeypatch.setattr(Segmenter, "predict_batch", watched)
    result = run(folder, "--no-latency", "--samples", 0, "--out", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert len(opened) == 2  # FP32 and INT8
    assert sum(images) == 2 * (12 + 2)  # of the validation images, and of the golden pair in each file


def test_a_model_without_a_contract_or_data_is_refused(tmp_path: Path) -> None:
    import onnx

    path = write_model(tmp_path / "bare.onnx")
    lonely = run(path, "--no-latency")
    assert (lonely.exit_code, "--data SPEC" in lonely.stderr) == (1, True)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    bare = run(path, "--data", write_data(tmp_path / "data.npz"), "--no-latency")
    assert (bare.exit_code, "has no segtool contract" in bare.stderr) == (1, True)


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    assert run("--runs", 20, "--no-latency").exit_code == 2
    folder = write_report_run(tmp_path / "run")
    for name in ("page.json", "page.pdf", "page"):
        refused = run(folder, "--out", tmp_path / name)
        assert (refused.exit_code, "not an .html or .htm file" in refused.stderr) == (2, True)
        assert not (tmp_path / name).exists()


def test_a_file_that_fails_its_golden_test_is_a_no_and_a_refusal(tmp_path: Path) -> None:
    from report_runs import write_pair

    data = write_data(tmp_path / "data.npz")
    write_pair(tmp_path, data, golden=False)
    out = tmp_path / "page.html"
    result = run(tmp_path / "model.int8.onnx", "--data", data, "--no-latency", "--out", out)
    assert result.exit_code == 4
    found = json.loads((tmp_path / "page.html.json").read_text())
    assert found["verdict"] == {"model": None, "answer": "no", "reason": ""}
    assert "Do not deploy" in out.read_text(encoding="utf-8")


QUIET = {"band": 0.01, "quiet": True}


CLASSES_OF_TRUTH = [{"name": "sky", "support": 940}, {"name": "car", "support": 60}]


def scored(**changes: Any) -> dict[str, Any]:
    """What a verdict looks at of an evaluation; `interval` in shares."""
    interval = changes.pop("interval", None)
    facts = {"foreground_mean_iou": 0.9, "pixel_accuracy": 0.99, "images": 400, "split": "test", "data": "x.npz"}
    intervals = {"intervals": {"figures": {"foreground_mean_iou": interval}}}
    return {**facts, "classes": CLASSES_OF_TRUTH, **intervals, **changes}


def model_facts(**changes: Any) -> dict[str, Any]:
    """What a verdict looks at, of an INT8 file that nothing speaks against."""
    parity = {"max_difference": 1e-6, "label_agreement": 1.0, "images": 8}
    facts = {
        "id": 0,
        "kind": "onnx",
        "size_bytes": 10,
        "own_data": True,
        "trained_on": 0,
        "golden": {"passed": True, "agreement": 1.0, "pixels": 9, "required_agreement": 0.999},
        "contract": {
            "precision": "int8",
            "gates": {"parity": parity, "accuracy": {"max_drop": 0.5}},
            "metrics": {"int8": {"foreground_mean_iou": 0.9, "split": "test", "images": 400}},
            "data_fingerprint": "abc",
        },
        "evaluation": scored(),
        "benchmark": {"n": 10, "threads": 1, "latency_ms": {"p50": 1.0, "p90": 1.1, "p99": 1.2}, "noise": QUIET},
    }
    return {**facts, **changes}


PAIR = {
    "drop_points": {"foreground_mean_iou": 0.1},
    "agreement": 0.9999,
    "speed": {"low": 1.5, "median": 1.6, "high": 1.7},
}


@pytest.mark.parametrize(
    ("model", "pair", "answer", "failed"),
    [
        ({}, {}, "yes", None),
        (
            {"golden": {"passed": False, "agreement": 0.5, "pixels": 9, "required_agreement": 0.999}},
            {},
            "no",
            "Reproduces",
        ),
        ({"kind": "keras", "golden": None}, {}, "no", "Model file"),
        ({}, {"drop_points": {"foreground_mean_iou": 0.6}}, "no", "INT8 keeps"),
        ({}, {"speed": {"low": 0.5, "median": 0.6, "high": 0.9}}, "no", "INT8 is faster"),
        ({}, {"speed": {"low": 0.9, "median": 1.0, "high": 1.1}}, "care", None),
        ({}, {"speed": None}, "care", None),
        ({"benchmark": None}, {}, "care", None),
        ({"benchmark": {**model_facts()["benchmark"], "noise": {**QUIET, "quiet": False}}}, {}, "care", None),
        ({"evaluation": scored(foreground_mean_iou=0.8)}, {}, "no", "Reproduces"),
        ({"evaluation": scored(split="all", images=500), "trained_on": 400}, {}, "care", None),
        ({"evaluation": scored(images=9)}, {}, "care", None),
        ({"evaluation": scored(pixel_accuracy=0.94)}, {}, "no", "Better than a constant prediction"),
        ({"own_data": False, "trained_on": None}, {}, "yes", None),
    ],
)
def test_one_reason_against_is_enough(
    model: dict[str, Any], pair: dict[str, Any], answer: str, failed: str | None
) -> None:
    verdict = judge(model_facts(**model), {**PAIR, **pair})
    assert verdict["answer"] == answer
    names = [check["name"] for check in verdict["checks"] if check["status"] == "fail"]
    assert [name.startswith(failed or "?") for name in names] == [True] * (failed is not None)


def check_of(model: dict[str, Any], name: str) -> dict[str, Any]:
    [check] = [check for check in judge(model_facts(**model), PAIR)["checks"] if check["name"].startswith(name)]
    return check  # type: ignore[no-any-return]


def test_a_model_is_held_against_the_most_frequent_class() -> None:
    poor = check_of({"evaluation": scored(pixel_accuracy=0.569)}, "Better than a constant")
    assert poor["status"] == "fail"
    assert "56.90 %" in poor["text"]
    assert "sky everywhere would have 94.00 %" in poor["text"]
    assert check_of({}, "Better than a constant")["status"] == "pass"
    alone = scored(classes=CLASSES_OF_TRUTH[:1], pixel_accuracy=1.0)
    assert check_of({"evaluation": alone}, "Better than a constant")["status"] == "unknown"


def test_other_data_prove_nothing_of_what_was_trained_on() -> None:
    """A part of the training's own file is another set by its fingerprint, and all of it was trained on."""
    foreign = {"own_data": False, "trained_on": None}
    check = check_of(foreign, "Trained on these images")
    assert check["status"] == "note"  # a test set of one's own may earn a plain yes
    assert "another fingerprint" in check["text"]
    assert "is not known" in check["note"]
    assert check_of({}, "Scored on images it was not trained on")["status"] == "pass"


@pytest.mark.parametrize(
    ("images", "interval", "status", "said"),
    [
        (10, (0.62, 0.95), "unknown", "Too few images (10 images)"),
        (1, None, "unknown", "Too few images (1 image)"),
        (400, (0.62, 0.95), "pass", ""),
        (400, (0.75, 0.82), "care", "harder, or of another kind"),
        (10, (0.75, 0.82), "care", "harder, or of another kind"),
    ],
)
def test_a_lower_score_is_held_against_its_interval(
    images: int, interval: tuple[float, float] | None, status: str, said: str
) -> None:
    evaluation = scored(foreground_mean_iou=0.79, images=images, interval=interval)
    check = check_of({"own_data": False, "trained_on": None, "evaluation": evaluation}, "Scores on")
    assert check["status"] == status
    assert said in check["note"]


def test_the_choice_is_the_fastest_of_the_most_accurate() -> None:
    def entry(number: int, iou: float, p50: float, answer: str = "yes") -> dict[str, Any]:
        evaluation = {"foreground_mean_iou": iou}
        return {
            "id": number, "evaluation": evaluation, "benchmark": {"latency_ms": {"p50": p50}},
            "verdict": {"answer": answer}, "size_bytes": 1,
        }  # fmt: skip

    assert choose([entry(0, 0.900, 9.0), entry(1, 0.896, 2.0), entry(2, 0.890, 1.0)]) == 1
    assert choose([entry(0, 0.900, 9.0), entry(1, 0.896, 2.0, "no")]) == 0
    assert choose([entry(0, 0.900, 9.0, "no")]) is None


def test_the_classes_of_the_data_are_on_the_page(page: str) -> None:
    assert CLASSES[3] in page
    assert '<p class="answer' in page
