"""The dataset.json that `data describe` writes, and the lists of other tools that name classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segtool.cli import main
from segtool.data.check import check_dataset
from segtool.data.describe import propose, write_proposal
from segtool.data.loading import load_dataset
from segtool.errors import DataError, OutputExistsError

VOC_COLORS = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]


def write(folder: Path, masks: list[np.ndarray], *, images: str = "images", to: str = "masks", palette=None) -> Path:
    for index, mask in enumerate(masks):
        for kind, array in ((images, np.full(mask.shape[:2], 10 * index, np.uint8)), (to, mask)):
            path = folder / kind / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(np.asarray(array, np.uint8))
            if kind == to and palette is not None:
                image = Image.fromarray(np.asarray(array, np.uint8), "L")
                image.putpalette(palette if isinstance(palette[0], int) else palette[index])
            image.save(path)
    return folder


def squares(values, size=12):
    """Return a mask of flat squares, one for each value, the first at twice the area."""
    return np.concatenate(
        [np.full((size, size * (2 if not place else 1)), value) for place, value in enumerate(values)], 1
    )


def described(folder: Path) -> dict:
    write_proposal(folder)
    found = json.loads((folder / "dataset.json").read_text())
    assert check_dataset(str(folder)).ok, "what is written fits the masks"
    assert len(load_dataset(str(folder))) == 4
    return found


@pytest.mark.parametrize(
    ("values", "names", "ignored"),
    [
        ([0, 2, 15, 20, 255], ["background", "class 2", "class 15", "class 20"], 255),
        ([0, 7, 26], ["background", "class 7", "class 26"], None),
        ([0, 255], ["background", "foreground"], None),
        ([0, 127, 255], ["background", "class 127", "class 255"], None),
        ([0, 85, 170, 255], ["background", "class 85", "class 170", "class 255"], None),
        ([0, 1, 2, 255], ["background", "class 1", "class 2"], 255),
        ([1, 2, 3], ["class 1", "class 2", "class 3"], None),
        (range(256), ["background", *(f"class {value}" for value in range(1, 256))], None),
    ],
)
def test_values(tmp_path, values, names, ignored):
    found = described(write(tmp_path, [squares(values)] * 4))
    assert [entry["name"] for entry in found["classes"]] == names
    assert [entry["value"] for entry in found["classes"]] == [value for value in values if value != ignored]
    assert found["ignore_id"] == ignored
    assert found["background"] == (names[0] if values[0] == 0 else None)
    assert found["classes"][0]["share"] == pytest.approx(2 / (len(values) + 1), rel=1e-3)


def test_colours(tmp_path):
    masks = [np.asarray(VOC_COLORS)[squares([0, 1, 2])]] * 4
    found = described(write(tmp_path, masks))
    assert [entry["name"] for entry in found["classes"]] == ["background", "class 1", "class 2"]
    assert sorted(entry["color"] for entry in found["classes"]) == sorted(VOC_COLORS)
    assert (found["background"], found["ignore_color"]) == ("background", None)


def test_the_border_of_pascal_voc_is_ignored(tmp_path):
    masks = [np.asarray([*VOC_COLORS, [224, 224, 192]])[squares([0, 1, 2, 3])]] * 4
    write(tmp_path, masks)
    (tmp_path / "labelmap.txt").write_text(LISTS["labelmap.txt"])
    (problem,) = check_dataset(str(tmp_path)).problems
    assert f"describe what it holds in {tmp_path / 'dataset.json'} (classes, ignore_color)" in problem.message
    found = described(tmp_path)
    assert found["ignore_color"] == [224, 224, 192]
    assert [entry["name"] for entry in found["classes"]] == ["cat", "background", "dog"]


def test_palettes_that_differ_are_colours_and_others_are_values(tmp_path):
    flat = np.ravel(VOC_COLORS).tolist()
    swapped = np.ravel([VOC_COLORS[place] for place in (0, 2, 1)]).tolist()
    masks = [squares([0, 1, 2]), squares([0, 1, 2]), squares([0, 2, 1]), squares([0, 2, 1])]
    write(tmp_path / "differ", masks, palette=[flat, flat, swapped, swapped])
    assert "color" in described(tmp_path / "differ")["classes"][0]
    data = load_dataset(str(tmp_path / "differ"))
    assert (data.label(0) == data.label(2)).all()
    write(tmp_path / "same", masks, palette=flat)
    assert "value" in described(tmp_path / "same")["classes"][0]


def test_what_is_there_is_kept(tmp_path):
    write(tmp_path, [squares([0, 7, 26, 255])] * 4)
    description = {
        "classes": [{"name": "sky", "value": 7}, {"name": "road", "value": 0}],
        "background": None,
        "ignore_id": 255,
        "channels": 1,
        "provenance": {"licence": "own"},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(OutputExistsError, match="pass --overwrite"):
        write_proposal(tmp_path)
    found = json.loads(write_proposal(tmp_path, overwrite=True).text())
    names = [(entry["name"], entry["value"]) for entry in found["classes"]]
    assert names == [("sky", 7), ("road", 0), ("class 26", 26)]
    assert {key: found[key] for key in ("background", "ignore_id", "channels", "provenance")} == {
        key: description[key] for key in ("background", "ignore_id", "channels", "provenance")
    }
    (tmp_path / "dataset.json").write_text("{")
    assert len(write_proposal(tmp_path, overwrite=True).description["classes"]) == 3


def test_masks_that_have_no_classes_are_refused(tmp_path):
    write(tmp_path / "one", [squares([3])] * 4)
    assert not any(problem.command for problem in check_dataset(str(tmp_path / "one")).problems)
    with pytest.raises(DataError, match="hold one value in all pixels"):
        propose(tmp_path / "one")
    write(tmp_path / "many", [np.random.default_rng(0).integers(0, 255, (64, 64, 3))] * 4)
    with pytest.raises(DataError, match=r"hold 4,\d+ colours, expected one for each class, 256 at most"):
        propose(tmp_path / "many")
    with pytest.raises(DataError, match="is no folder of images and masks"):
        propose(tmp_path / "nowhere")


def test_the_command_and_what_leads_to_it(tmp_path, monkeypatch):
    write(tmp_path / "my data", [squares([0, 7, 26, 255])] * 4)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    checked = runner.invoke(main, ["data", "check", "my data"])
    assert checked.output.rstrip().endswith("Try `segtool data describe 'my data'`.")
    refused = runner.invoke(main, ["train", "--data", "my data"])
    assert refused.exit_code == 1
    assert "`segtool data describe 'my data'` writes it" in refused.output
    shown = runner.invoke(main, ["data", "describe", "my data"])
    assert shown.exit_code == 0
    assert "class 26" in shown.output
    again = runner.invoke(main, ["data", "describe", "my data"])
    assert again.exit_code == 1
    result = json.loads(runner.invoke(main, ["data", "describe", "my data", "--overwrite", "--json"]).stdout)
    assert [entry["value"] for entry in result["classes"]] == [0, 7, 26]
    assert "Try" not in runner.invoke(main, ["data", "check", "my data"]).output


LISTS = {
    "labelmap.txt": "# label:color_rgb:parts:actions\ncat:128,0,0::\nbackground:0,0,0::\ndog:0,128,0::\n",
    "class_dict.csv": "name,r,g,b\ncat,128,0,0\nbackground,0,0,0\ndog,0,128,0\n",
    "label_colors.txt": "128 0 0\tcat\n0 0 0\tbackground\n0 128 0\tdog\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_with_colours(tmp_path, name):
    write(tmp_path, [np.asarray(VOC_COLORS)[squares([0, 1, 2])]] * 4, images="JPEGImages", to="SegmentationClass")
    (tmp_path / name).write_text(LISTS[name])
    data = load_dataset(str(tmp_path))
    assert (data.class_names, data.background_id) == (("cat", "background", "dog"), 1)
    assert np.unique(data.label(0)).tolist() == [0, 1, 2]
    assert check_dataset(str(tmp_path)).ok
    assert [entry["name"] for entry in described(tmp_path)["classes"]] == ["cat", "background", "dog"]


def test_a_list_with_colours_beside_grey_masks_gives_their_names(tmp_path):
    write(tmp_path, [squares([0, 1, 2])] * 4)
    (tmp_path / "class_dict.csv").write_text(LISTS["class_dict.csv"])
    data = load_dataset(str(tmp_path))
    assert (data.class_names, data.label(0)[0, 0]) == (("cat", "background", "dog"), 0)


def test_void_is_ignored_with_a_warning(tmp_path, caplog):
    write(tmp_path, [np.asarray(VOC_COLORS)[squares([0, 1, 2])]] * 4)
    (tmp_path / "class_dict.csv").write_text("Name, R, G, B\nsky,128,0,0\nVoid,0,0,0\nroad,0,128,0\n")
    data = load_dataset(str(tmp_path))
    assert (data.class_names, data.ignore_id) == (("sky", "road"), 255)
    assert "'Void' is taken as what to ignore" in caplog.text


def test_masks_beside_images_with_roboflows_table(tmp_path):
    for part in ("train", "valid"):
        for index in range(2):
            stem = tmp_path / part / f"{part}{index}_jpg.rf.ab12"
            stem.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((12, 24), index + 9 * (part == "train"), np.uint8)).save(f"{stem}.jpg")
            Image.fromarray(squares([0, 2]).astype(np.uint8)[:, :24]).save(f"{stem}_mask.png")
        (tmp_path / part / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    data = load_dataset(str(tmp_path))
    assert data.class_names == ("background", "cat", "dog")
    assert {part: len(found) for part, found in (data.splits or {}).items()} == {"train": 2, "val": 2}
    (tmp_path / "valid" / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, dog\n2, cat\n")
    with pytest.raises(DataError, match="list other classes, expected the same"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize(
    ("values", "lines", "names", "ignored"),
    [
        ([0, 1, 2], ["sky", "road", "car"], ("sky", "road", "car"), None),
        ([0, 2], ["sky", "road", "car"], ("sky", "road", "car"), None),
        ([0, 1, 255], ["sky", "road"], ("sky", "road"), 255),
        ([0, 255], ["no", "yes"], ("no", "yes"), None),
        ([0, 1, 2], ["cat", "dog"], ("background", "cat", "dog"), None),
        ([0, 1, 255], ["__ignore__", "_background_", "cat"], ("_background_", "cat"), 255),
        ([0, 1, 2, 3], ["a", "b"], ("class 0", "class 1", "class 2", "class 3"), None),
    ],
)
@pytest.mark.parametrize("name", ["classes.txt", "codes.txt"])
def test_lists_of_names(tmp_path, values, lines, names, ignored, name):
    write(tmp_path, [squares(values)] * 4)
    (tmp_path / name).write_text("\n".join(lines))
    data = load_dataset(str(tmp_path))
    assert (data.class_names, data.ignore_id) == (names, ignored)
    assert check_dataset(str(tmp_path)).classes.names == names


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("class_dict.csv", "", "it lists 0 names"),
        ("class_dict.csv", "\x00\n", "it lists 0 names"),
        ("class_dict.csv", "name,r,g,b\n\ncat,x,y,z\ndog,1,2,3", "line 3 ('cat,x,y,z') is no class"),
        ("class_dict.csv", "name,hex\ncat,#00ff00\ndog,#00ff0", "line 3 ('dog,#00ff0') is no class"),
        (
            "class_dict.csv",
            "1,cat,0,9,0\n2,dog,0,9,9",
            "line 1 ('1,cat,0,9,0') is no class, expected a row such as road,",
        ),
        (
            "label_colors.txt",
            "0 0 0 cat\n0 9 0",
            "line 2 ('0 9 0') is no class, expected a line such as 128 64 128 road",
        ),
        ("labelmap.txt", "cat:0,0,0::\ndog:0,9::", "line 2 ('dog:0,9::') is no class"),
        ("classes.txt", "one", "it lists 1 name, expected two classes or more"),
    ],
)
def test_a_list_that_cannot_be_read_is_left_out_with_a_warning(tmp_path, caplog, name, text, why):
    write(tmp_path, [squares([0, 1])] * 4)
    (tmp_path / name).write_text(text)
    assert load_dataset(str(tmp_path)).class_names == ("class 0", "class 1")
    assert caplog.text.count(f"{tmp_path / name} is left out: {why}") == 1


@pytest.mark.parametrize(
    "text",
    [
        "name;r;g;b\nKüche;128;0;0\nbackground;0;0;0\ndog;0;128;0\n",
        "Küche,128,0,0\nbackground,0,0,0\ndog,0,128,0\n",
        "#800000,Küche\n#000000,background\n#008000,dog\n",
        "r\tg\tb\tclass\n128\t0\t0\tKüche\n0\t0\t0\tbackground\n0\t128\t0\tdog\n",
        "name,color\nKüche,#800000\nbackground,#000000\ndog,#008000\n",
        'label;rgb;id\nKüche;"(128, 0, 0)";1\nbackground;"(0, 0, 0)";0\ndog;"(0, 128, 0)";2\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_tables_as_spreadsheets_write_them(tmp_path, text, encoding):
    write(tmp_path, [np.asarray(VOC_COLORS)[squares([0, 1, 2])]] * 4)
    (tmp_path / "class_dict.csv").write_text(text, encoding=encoding)
    data = load_dataset(str(tmp_path))
    assert (data.class_names, data.background_id) == (("Küche", "background", "dog"), 1)
    assert data.label(0)[0, [0, 30, 40]].tolist() == [1, 0, 2]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_names_as_the_notepad_and_the_shell_of_windows_write_them(tmp_path, encoding):
    write(tmp_path, [squares([0, 1])] * 4)
    (tmp_path / "classes.txt").write_bytes("sky\r\nÖl\r\n".encode(encoding))
    assert load_dataset(str(tmp_path)).class_names == ("sky", "Öl")
    (tmp_path / "dataset.json").write_bytes('{"classes": ["a", "Öl"]}'.encode(encoding))
    assert load_dataset(str(tmp_path)).class_names == ("a", "Öl")


def test_several_masks_of_an_image_are_a_warning(tmp_path, caplog):
    write(tmp_path, [squares([0, 1])] * 4)
    (tmp_path / "masks" / "3_2.png").write_bytes((tmp_path / "masks" / "3.png").read_bytes())
    assert propose(tmp_path).masks == 4
    assert "3_2.png is a further mask of 3.png" in caplog.text


def test_names_in_the_code_page_of_western_europe(tmp_path):
    write(tmp_path, [squares([0, 1])] * 4)
    (tmp_path / "classes.txt").write_bytes("Straße\nÖl".encode("latin-1"))
    assert load_dataset(str(tmp_path)).class_names == ("Straße", "Öl")


def test_a_dataset_json_goes_before_a_list(tmp_path):
    write(tmp_path, [squares([0, 1])] * 4)
    (tmp_path / "classes.txt").write_text("a\nb")
    (tmp_path / "dataset.json").write_text('{"classes": ["c", "d"]}')
    assert load_dataset(str(tmp_path)).class_names == ("c", "d")


def test_the_trimaps_of_the_oxford_pets(tmp_path):
    write(tmp_path, [squares([1, 2, 3])] * 4, to="annotations/trimaps")
    (tmp_path / "annotations" / "trimaps" / "._0.png").write_bytes(b"of a Mac")
    data = load_dataset(str(tmp_path))
    assert (data.class_names, data.background_id) == (("pet", "background", "border"), 1)
    assert check_dataset(str(tmp_path)).ok
