"""The command line's own promises: exit codes, where words go, and no option that is silently ignored."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rich.console import Console
from tiny_models import tiny_contract, write_model

from segtool.cli import main, progress
from segtool.contract import GoldenPair
from segtool.images.decoding import MAX_PIXELS
from segtool.train.augmentation import AUGMENTATIONS
from segtool.train.optimizers import OPTIMIZERS
from segtool.train.recipes import LOSSES


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model() -> str:
    write_model(Path("model.onnx"))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("good.png")
    Path("bad.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    return "model.onnx"


@pytest.mark.parametrize("extra", [[], ["--debug"]])
def test_debug_shows_more_and_changes_no_exit_code(extra: list[str]) -> None:
    result = run("verify", "missing.onnx", *extra)
    assert result.exit_code == 1
    assert "no model at missing.onnx" in result.stderr
    assert ("Traceback" in result.stderr) == bool(extra)


def test_quiet_still_says_what_failed(model: str) -> None:
    result = run("predict", "good.png", "bad.png", "--model", model, "-q")
    assert result.exit_code == 3
    assert "bad.png" in result.stderr


def test_json_is_one_object_on_stdout(model: str) -> None:
    result = run("predict", "good.png", "--model", model, "--json")
    assert json.loads(result.stdout)["schema_version"] == 1


def test_an_image_beyond_max_pixels_is_reported_and_the_others_go_on(model: str) -> None:
    Image.fromarray(np.zeros((8, 9), np.uint8)).save("large.png")
    result = run("predict", "good.png", "large.png", "--model", model, "--max-pixels", "64", "--json")
    assert result.exit_code == 3
    good, large = json.loads(result.stdout)["entries"]
    assert good["status"] == "done"
    assert "9 x 8 pixels, but the limit is 64" in large["error"]
    assert run("predict", "large.png", "--model", model, "--max-pixels", "72", "--overwrite").exit_code == 0


def test_the_help_shows_defaults() -> None:
    assert "[default: predictions]" in " ".join(run("predict", "--help").output.split())
    assert "[default: 5000;" in " ".join(run("data", "make", "--help").output.split())


def test_the_default_of_max_pixels_is_what_the_help_says() -> None:
    assert f"[default: {MAX_PIXELS}]" in " ".join(run("predict", "--help").output.split())


def test_a_folder_without_images_is_not_forgotten(model: str) -> None:
    Path("empty").mkdir()
    result = run("predict", "good.png", "empty", "--model", model)
    assert result.exit_code == 3
    assert "empty" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "--samples", "3"], "--pictures"),
        (["evaluate", "--overwrite"], "--per-image"),
        (["report", "--out", "x.txt"], "use a name such as x.html"),
        (["benchmark", "--mode", "throughput", "--warmup", "3"], "--warmup"),
        (["export", "--max-drop", "1"], "--max-drop"),
        (["export", "--preset", "arm"], "--preset"),
        (["export", "--calibration", "mse"], "--calibration "),
        (["export", "--quantize", "--calibration", "entropy"], "'auto', 'min-max', 'mse'"),
        (["export", "--calibration-images", "100"], "--calibration-images"),
        (["export", "--waive", "parity", "--waive", "speed"], "--waive speed"),
        (["export", "--quantize", "--calibration-images", "7"], "x>=8"),
        (["export", "--quantize", "--preset", "tpu"], "'auto', 'amx', 'vnni', 'x86', 'arm'"),
        (["export", "--quantize", "--waive", "golden"], "'parity', 'trained', 'accuracy', 'speed'"),
        (["export", "--larger-images", "crop"], "'crop' is not one of 'resize', 'tile'"),
        (["predict", "x.png", "--max-pixels", "0"], "--max-pixels"),
        (["train", "--seed", "-1"], "--seed"),
        (["train", "--size", "64"], "height x width"),
        (
            ["train", "--augment", "shift,blur"],
            "no augmentation 'blur'; write none, or a comma-separated list of flip-horizontal",
        ),
        (["train", "--augment", "shift:0"], "--augment"),
        (["train", "--loss", "hinge"], "'cross-entropy', 'dice', 'focal', 'combined'"),
        (["train", "--class-weights", "rare"], "none, balanced, softened, or a comma-separated list"),
        (["train", "--optimizer", "lion"], "'adam', 'adamw', 'sgd'"),
        (["train", "--schedule", "step"], "'constant', 'cosine'"),
        (["train", "--learning-rate", "0"], "--learning-rate"),
        (["train", "--width", "0"], "--width"),
        (["train", "--arch", "fcn8", "--encoder", "lite0"], "has no encoder to choose"),
        (["train", "--val-split", "0.5", "--test-split", "0.5"], "their sum below 1"),
        (["train", "--qat", "run", "--arch", "fcn8"], "--qat trains the network of a run as it is, and --arch"),
        (["train", "--qat", "run", "--auxiliary", "0.4"], "and --auxiliary was given; remove it"),
        (["train", "--qat", "run", "--precision", "bfloat16"], "--qat rounds to 256 levels"),
        (["train", "--preset", "x86"], "--preset is for a new training with --qat"),
        (["data", "make", "x", "--seed", "4294967296"], "--seed"),
        (["predict", "x.png", "-v", "-q"], "exclude each other"),
    ],
)
def test_wrong_usage_exits_2(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_data_make_info_and_check() -> None:
    assert run("data", "make", "made", "--count", "12").exit_code == 0
    facts = json.loads(run("data", "info", "made", "--json").stdout)
    assert (facts["images"], facts["channels"]) == (12, 1)
    assert "nothing wrong" in run("data", "check", "m2nist-synthetic:200").stdout
    again = run("data", "make", "made", "--count", "12")
    assert again.exit_code == 1
    assert "already exists" in again.stderr


def test_data_check_names_what_is_wrong_and_exits_1() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 9, 9), dtype=np.uint8)
    images[4] = images[2]
    np.savez("data.npz", images=images, labels=(images > 90).astype(np.uint8))
    result = run("data", "check", "data.npz", "--json")
    assert result.exit_code == 1
    assert [problem["kind"] for problem in json.loads(result.stdout)["problems"]] == ["duplicate"]


def test_train_explains_what_its_registries_hold() -> None:
    text = "".join(run("train", "--help").output.split())  # lines break behind hyphens, too
    said = [f"{name} ({item.summary}" for name, item in AUGMENTATIONS.items()]
    said += [f"{name}: {summary}" for name, summary in LOSSES.items()]
    said += [f"{name}: {kind.summary}" for name, kind in OPTIMIZERS.items()]
    for words in said:
        assert "".join(words.split()) in text


@pytest.mark.parametrize("command", ["train", "export", "predict", "evaluate", "benchmark", "info", "verify", "doctor"])
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert "--debug" in result.stdout


def _parameters(kind: type) -> list[tuple[str, click.Parameter]]:
    """Every option and argument of every command that takes values of a kind."""
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in main.list_commands(context)}
    commands |= {f"data {name}": each for name, each in commands.pop("data").commands.items()}
    return [
        (name, each) for name, command in commands.items() for each in command.params if isinstance(each.type, kind)
    ]


def _float_options() -> list[tuple[str, str]]:
    return [(name, option.opts[0]) for name, option in _parameters(click.types.FloatParamType)]


@pytest.mark.parametrize(("command", "path"), _parameters(click.Path))
def test_an_empty_path_is_wrong_usage(command: str, path: click.Parameter) -> None:
    """An unset variable of a shell gives one; it would mean the current folder."""
    option = path.opts[:1] if isinstance(path, click.Option) else []
    result = run(*command.split(), *option, *[""] * 2)
    assert result.exit_code == 2
    assert "The path is empty" in result.stderr


@pytest.mark.parametrize(("command", "option"), _float_options())
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_number_that_is_not_finite_is_wrong_usage(command: str, option: str, value: str) -> None:
    result = run(*command.split(), option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr


@pytest.mark.parametrize(("unit", "words"), [("images", "3/7 images"), ("", None)])
def test_the_bar_counts_from_when_there_is_something_to_count(
    unit: str, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(progress, "error_console", lambda: Console(file=stream, force_terminal=True, width=80))
    with progress.progress_bar(unit) as bar:
        deadline = time.monotonic() + 300
        while "━" not in stream.getvalue():  # the bar is drawn, and was not moved yet
            assert time.monotonic() < deadline
            time.sleep(0.01)
        bar(3, 7)
    text = stream.getvalue()
    assert "43%" in text
    assert "None" not in text
    assert (words in text) if words else ("3/7" not in text)


def test_the_bar_has_the_name_of_the_stage_and_begins_again_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(progress, "error_console", lambda: Console(file=stream, force_terminal=True, width=80))
    with progress.stages_bar() as bar:
        bar("accuracy", 7, 7)
        bar("calibration", 0, 0)
        deadline = time.monotonic() + 300
        while "calibration" not in stream.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "%" not in stream.getvalue().split("calibration")[1]  # how many there are is not known yet
        bar("calibration", 3, 12)
    assert "25%" in stream.getvalue().split("calibration")[-1]


def _exported_run(folder: Path, *files: str) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"data": {"spec": "x", "fingerprint": "y", "class_names": []}}')
    for name in files:
        write_model(folder / name)


def test_info_says_which_file_it_shows_by_one_rule() -> None:
    _exported_run(Path("runs", "first"), "model.onnx")
    Path("runs", "latest").symlink_to("first")
    named, default = (json.loads(run("info", *path, "--json").stdout) for path in (["runs/latest"], []))
    assert named == default
    assert (named["path"], named["run"]) == ("runs/latest/model.onnx", "runs/first")
    text = run("info").stdout
    assert "runs/latest/model.onnx" in text
    assert "runs/first" in text
    write_model(Path("runs", "first", "model.int8.onnx"))  # not made from that FP32 file, so that predict leaves it
    assert json.loads(run("info", "runs/first", "--json").stdout)["path"] == "runs/first/model.onnx"
    Path("runs", "first", "model.onnx").unlink()
    assert json.loads(run("info", "--json").stdout)["path"] == "runs/latest/model.int8.onnx"


def test_info_of_a_file_without_a_run(model: str) -> None:
    facts = json.loads(run("info", model, "--json").stdout)
    assert (facts["path"], facts["run"]) == (model, None)


def test_info_shows_words_and_no_keys(model: str) -> None:
    write_model(Path("gated.onnx"), tiny_contract(gates={"speed": {"on_target": False, "target": None}}))
    text = run("info", "gated.onnx").stdout
    assert "on target no" in text
    assert "None" not in text
    assert "_" not in text.replace("gated.onnx", "")


def test_a_file_that_fails_its_golden_test_comes_with_advice() -> None:
    images = np.zeros((1, 64, 84, 1), np.uint8)
    write_model(Path("model.onnx"), golden=GoldenPair(images, np.ones((1, 64, 84), np.uint8)))
    for options in ([], ["--json"], ["-q"]):
        result = run("verify", "model.onnx", "--provider", "cpu", *options)
        assert result.exit_code == 4
        assert "Do not deploy this file" in result.stderr
        assert "copy the file again, or export it again" in result.stderr


WARNS = """
import sys, warnings
import click
from segtool.cli.common import Command

@click.command(cls=Command)
def work():
    warnings.warn("a library's own matter" + ", at length" * 20, RuntimeWarning)

work()
"""


MATTER = "Info: RuntimeWarning: a library's own matter" + ", at length" * 20


@pytest.mark.parametrize(("arguments", "said"), [([], ""), (["-v"], MATTER)])
def test_warnings_of_libraries_have_no_path_and_are_shown_with_v(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "program.py").write_text(WARNS)
    call = [sys.executable, str(tmp_path / "program.py"), *arguments]
    result = subprocess.run(call, capture_output=True, text=True, check=True)
    assert result.stderr.strip() == said
