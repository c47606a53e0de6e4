"""dataset.json, and how it encodes masks."""

import json

import numpy as np
import pytest

from segtool.data.classes import Encoding, background_of
from segtool.data.inferred_classes import infer_metadata
from segtool.data.metadata import find_metadata, read_metadata
from segtool.errors import DataError


def read(tmp_path, value):
    (tmp_path / "dataset.json").write_text(value if isinstance(value, str) else json.dumps(value))
    return read_metadata(tmp_path / "dataset.json")


def test_values_default_to_the_position(tmp_path):
    found = read(tmp_path, {"classes": ["sky", {"name": "road"}]})
    assert (found.classes.names, found.classes.background_id, found.classes.ignore_id) == (("sky", "road"), None, None)
    assert found.encoding.encode(np.array([[0, 1]]), source="m").tolist() == [[0, 1]]


def test_a_class_of_several_values(tmp_path):
    metadata = read(tmp_path, {"classes": ["a", {"name": "b", "value": [1, 255]}, {"name": "c", "value": -3}]})
    assert metadata.encoding.encode(np.array([[0, 1, 255, -3]]), source="m").tolist() == [[0, 1, 1, 2]]


def test_a_class_named_background_is_the_background(tmp_path):
    assert read(tmp_path, {"classes": ["sky", "Background"]}).classes.background_id == 1
    assert read(tmp_path, {"classes": ["sky", "Background"], "background": None}).classes.background_id is None


@pytest.mark.parametrize(("background", "expected"), [("road", 1), (1, 1), (None, None), (0, 0)])
def test_the_background_by_name_id_or_none(tmp_path, background, expected):
    assert read(tmp_path, {"classes": ["sky", "road"], "background": background}).classes.background_id == expected


@pytest.mark.parametrize(("ignored", "label"), [(255, 255), (7, 7), (-100, 255), (100000, 255)])
def test_what_is_ignored_gets_a_label_of_its_own(tmp_path, ignored, label):
    found = read(tmp_path, {"classes": ["a", "b"], "ignore_id": ignored})
    assert found.classes.ignore_id == label
    assert found.encoding.encode(np.array([[0, ignored, 1]]), source="m").tolist() == [[0, label, 1]]


def test_an_ignored_value_that_is_an_id_moves_away(tmp_path):
    classes = [{"name": "a", "value": 1}, {"name": "b", "value": 2}]
    found = read(tmp_path, {"classes": classes, "ignore_id": 0})
    assert found.encoding.encode(np.array([[0, 1, 2]]), source="m").tolist() == [[255, 0, 1]]


def test_colours(tmp_path):
    classes = [{"name": "a", "color": [0, 0, 0]}, {"name": "b", "color": [128, 64, 0]}]
    found = read(tmp_path, {"classes": classes, "ignore_color": [255, 255, 255]})
    mask = np.array([[[128, 64, 0], [255, 255, 255], [0, 0, 0]]], np.uint8)
    assert found.encoding.encode(mask, source="m").tolist() == [[1, 255, 0]]
    with pytest.raises(DataError, match=r"holds the colour \[128, 64, 1\], expected only the colours \[0, 0, 0\]"):
        found.encoding.encode(mask[:, :1] + np.array([0, 0, 1], np.uint8), source="m")


@pytest.mark.parametrize(
    "wrong",
    [
        "{", "[]", "3", '{"names": ["a", "b"]}', '{"classes": 3}', '{"classes": [{"value": 1}, {"value": 2}]}',
        {"classes": ["a"]}, {"classes": ["a", "a"]}, {"classes": ["a", "b"], "background": "c"},
        {"classes": ["a", "b"], "background": 2}, {"classes": ["a", "b"], "ignore_id": 1},
        {"classes": ["a", "b"], "ignore_id": "255"}, {"classes": ["a", "b"], "ignore_color": [0, 0, 0]},
        {"classes": ["a", "b"], "channels": 4}, {"classes": ["a", {"name": "b", "value": 0}]},
        {"classes": ["a", {"name": "b", "color": [0, 0, 0]}]}, {"classes": ["a", {"name": "b", "value": 1.5}]},
        {"classes": [{"name": "a", "color": [0, 0]}, {"name": "b", "color": [0, 0, 256]}]},
        {"classes": ["a", "b"], "splits": {"train": [0]}}, {"classes": ["a", "b"], "splits": 3},
        {"classes": [{"name": "a", "color": [0, 0, 0]}, {"name": "b", "color": [1, 1, 1]}], "ignore_id": 255},
    ],
)  # fmt: skip
def test_descriptions_that_are_refused_name_the_file(tmp_path, wrong):
    with pytest.raises(DataError, match=r"dataset\.json") as caught:
        read(tmp_path, wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"classes": "Sky"}, '"classes" is "Sky", expected a list'),
        ({"clases": ["a", "b"]}, "There is no key \"clases\" (did you mean 'classes'?), the keys are classes, backgr"),
        ({"classes": ["a", "b"], "backgroud": "a"}, "no key \"backgroud\" (did you mean 'background'?)"),
        ({"classes": ["a", {"name": "b", "valeu": 3}]}, 'no key "valeu" of a class (found in class 1) (did you mean'),
        ({"classes": ["a", ""]}, 'The name of class 1 is "", expected a text'),
        ({"classes": ["a", ["x"]]}, 'Class 1 is ["x"], expected a name'),
        ({"classes": ["a", {"name": ["x"]}]}, 'The name of class 1 is ["x"], expected a text'),
        ({"classes": ["a", {}]}, "The name of class 1 is null, expected a text"),
        (
            {"classes": ["a", {"name": "b", "value": 1.5}]},
            'The value of class 1 ("b") is 1.5, expected the whole number',
        ),
        ({"classes": ["a", {"name": "b", "value": []}]}, 'The value of class 1 ("b") is [], expected the whole number'),
        ({"classes": ["a", {"name": "b", "value": [1, 1]}]}, "The value 1 stands for class 'b' and for class 'b'"),
        ({"classes": ["a", {"name": "b", "value": True}]}, "is true, expected the whole number"),
        ({"classes": ["a", "b", "a"]}, 'The name "a" is given to 2 classes'),
        (
            {"classes": ["a", "b"], "background": "bb"},
            '"background" is "bb", expected one of ["a", "b"] (did you mean',
        ),
        ({"classes": ["a", "b"], "ignore_id": 1}, "The value 1 stands for class 'b' and for what is ignored"),
        (
            {"classes": ["a", "b"], "splits": [0, 3]},
            '"splits" is [0, 3], expected ranges [from, up to] such as {"train"',
        ),
        ({"classes": ["a", "b"], "splits": {"train": 3}}, "The part 'train' of \"splits\" is 3, expected"),
        ({"classes": ["a", "b"], "provenance": "me"}, '"provenance" is "me", expected an object'),
        ({"classes": ["a", "b"], "channels": True}, '"channels" is true'),
        ('{"classes": ["a", "b"], "classes": ["c", "d"]}', "the key 'classes' is there twice"),
        ('{"classes": [}', "is no JSON that can be read (line 1, column 14"),
        ([1], "It is [1], expected an object"),
    ],
)
def test_what_is_wrong_with_a_description_is_one_sentence_of_our_own(tmp_path, wrong, says):
    with pytest.raises(DataError) as caught:
        read(tmp_path, wrong)
    assert str(caught.value).startswith(str(tmp_path / "dataset.json"))
    assert says in str(caught.value)
    for leaked in ("object is not", "indices must", "NoneType", "dict"):
        assert leaked not in str(caught.value)


def test_the_first_candidate_is_read(tmp_path):
    (tmp_path / "b.json").write_text('{"classes": ["x", "y"]}')
    found = find_metadata(tmp_path / "a.json", tmp_path / "b.json")
    assert found is not None
    assert found.classes.names == ("x", "y")
    assert find_metadata(tmp_path / "a.json") is None


@pytest.mark.parametrize(
    ("values", "names", "pairs"),
    [
        ([0, 255], ("background", "foreground"), {0: 0, 255: 1}),
        ([0, 1], ("class 0", "class 1"), {0: 0, 1: 1}),
        (list(range(256)), tuple(f"class {i}" for i in range(256)), {255: 255}),
        (list(range(300)), tuple(f"class {i}" for i in range(300)), {299: 299}),
    ],
)
def test_values_that_speak_for_themselves(values, names, pairs):
    found = infer_metadata(np.array(values), source="m")
    assert found.classes.names == names
    assert found.encoding.encode(np.array([list(pairs)]), source="m").tolist() == [list(pairs.values())]


def test_a_255_beside_ids_is_ignored_with_a_warning(caplog):
    found = infer_metadata(np.array([0, 1, 2, 255]), source="m")
    assert (found.classes.names, found.classes.background_id) == (("class 0", "class 1", "class 2"), 0)
    assert found.classes.ignore_id == 255
    assert found.encoding.encode(np.array([[255, 2]]), source="m").tolist() == [[255, 2]]
    assert "255 is taken as what to ignore" in caplog.text


@pytest.mark.parametrize(
    ("values", "ignored"),
    [([0], "null"), ([255], "null"), ([1, 2], "null"), ([0, 127, 255], "null"), ([-1, 0, 1], "-1"),
     ([-1, 1], "null"), ([-1, 0], "null"), ([-2, -1, 0, 1], "-2"), ([-100, 0, 1, 255], "-100"),
     ([0, 1, 3, 255], "255"), ([0, 2, 15, 20, 255], "255"), ([0, 50, 60, 255], "255"), ([0, 85, 170, 255], "null"),
     ([*range(0, 40, 2), 255], "255")],
)  # fmt: skip
def test_values_that_do_not(values, ignored, tmp_path):
    with pytest.raises(DataError, match=r'write a dataset.json beside them: \{"classes"') as caught:
        infer_metadata(np.array(values), source="m")
    assert str(values[-1]) in str(caught.value)
    described = json.loads(str(caught.value).split("beside them: ")[1][:-1])
    assert json.dumps(described["ignore_id"]) == ignored
    wanted = [v for v in values if str(v) != ignored]
    assert [entry["value"] for entry in described["classes"]][-len(wanted) :] == wanted or values == [0]
    assert [entry["name"] == "background" for entry in described["classes"]] == [
        entry["value"] == 0 for entry in described["classes"]
    ]
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    pasted = find_metadata(tmp_path / "dataset.json")
    assert pasted is not None
    assert pasted.encoding.unknown(np.array([values])).size == 0


def test_unknown_values_are_listed():
    encoding = Encoding.of({0: 0, 255: 1})
    with pytest.raises(DataError, match=r"m\.png holds the values 1, 254, expected only the values 0, 255"):
        encoding.encode(np.array([[0, 1, 254, 255]], np.uint8), source="m.png")


def test_keys_of_other_tools_are_left_out_and_named(tmp_path, caplog):
    classes = [{"id": 0, "name": "a", "supercategory": "x"}, {"id": 1, "name": "b"}]
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"classes": classes, "licence": "CC0", "year": 2020}))
    assert read_metadata(path).classes.names == ("a", "b")
    assert "are left out: licence, year, supercategory." in caplog.text


def test_an_id_that_is_not_the_place_is_refused(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"classes": [{"id": 1, "name": "a"}, {"id": 0, "name": "b"}]}))
    with pytest.raises(DataError, match="has the id 1, and a class's id is its place in the list"):
        read_metadata(path)


@pytest.mark.parametrize("name", ["background", "Background", "bg", "_background_", "__background__"])
def test_a_background_by_any_of_its_usual_names(name):
    assert background_of(("cat", name)) == 1
