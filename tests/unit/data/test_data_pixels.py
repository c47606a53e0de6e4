"""How the values of images and masks are read: each fault is found by check, info, train and evaluate alike."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFilter
from tiny_models import tiny_contract, write_model

from segtool.cli import main
from segtool.data.check import check_dataset
from segtool.data.describe import propose, write_proposal
from segtool.data.headers import read_header
from segtool.data.loading import load_dataset
from segtool.errors import DataError, SegtoolError

SIZE = (48, 64)
TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: np.swapaxes(upright, 0, 1),
    6: np.rot90,
    7: lambda upright: np.swapaxes(np.rot90(upright, 2), 0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
"""What is stored of an upright picture, by the orientation (EXIF 2.32, tag 274) that turns it upright again."""


def shape(index: int) -> np.ndarray:
    """An ellipse that is another in each image: bool (48, 64)."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return ((y - 20 - index) / 12) ** 2 + ((x - 24 - 2 * index) / 16) ** 2 < 1


def photo(index: int) -> np.ndarray:
    """A grey image of its own, uint8 (48, 64)."""
    noise = np.random.default_rng(index).integers(0, 60, SIZE, dtype=np.uint8)
    return noise + np.uint8(150) * shape(index)


def ids(index: int) -> np.ndarray:
    """The mask of three classes, uint8 (48, 64): the ellipse is 1, and a square in a corner 2."""
    mask = shape(index).astype(np.uint8)
    mask[:10, :10] = 2
    return mask


def soft(mask: np.ndarray, radius: float = 1.2) -> Image.Image:
    return Image.fromarray(mask).filter(ImageFilter.GaussianBlur(radius))


def palette_mask(mask: np.ndarray, colors: list[int]) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette(colors)
    return image


def save(path: Path, image: np.ndarray | Image.Image, *, orientation: int = 1, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(image))
    picture.save(path, **options)


def write(
    folder: Path,
    mask: Callable[[int], np.ndarray | Image.Image],
    image: Callable[[int], np.ndarray | Image.Image] = photo,
    *,
    count: int = 6,
    suffix: str = ".png",
) -> Path:
    for index in range(count):
        save(folder / "images" / f"{index}{suffix}", image(index))
        save(folder / "masks" / f"{index}{suffix}", mask(index))
    return folder


@dataclass
class Verdicts:
    """What each command says of a folder: exit codes, and texts on one line."""

    codes: dict[str, int]
    texts: dict[str, str]
    problems: list[dict[str, object]]

    def agree(self, word: str, *, refused: bool) -> None:
        """All name `word`; check ends with 1, and the others where the data are refused."""
        for command, text in self.texts.items():
            assert word in text, (command, text)
        wanted = {"check": 1, "info": int(refused), "train": int(refused), "evaluate": int(refused)}
        assert self.codes == wanted, self.texts
        assert sum(word in str(problem["message"]) for problem in self.problems) == 1


class Warnings(logging.Handler):
    """Keep what is logged, whether or not the command line has set up its own handlers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def loading(folder: Path) -> tuple[int, str]:
    """Load as a training does; return the exit code that it would end with, and what it says."""
    warnings = Warnings()
    logging.getLogger("segtool").addHandler(warnings)
    try:
        load_dataset(str(folder))
    except SegtoolError as error:
        return 1, str(error)
    finally:
        logging.getLogger("segtool").removeHandler(warnings)
    return 0, " ".join(warnings.messages)


@pytest.fixture
def verdicts(tmp_path: Path) -> Callable[..., Verdicts]:
    """Run all commands on a folder; `train` stands for the loading that it begins with."""

    def of(folder: Path, *, classes: int = 2) -> Verdicts:
        names = tuple(f"class {index}" for index in range(classes))
        model = write_model(
            tmp_path / "model.onnx", tiny_contract(height=48, width=64, class_names=names, background_id=0)
        )
        calls = {
            "check": ["data", "check", str(folder), "--json"],
            "info": ["data", "info", str(folder)],
            "evaluate": ["evaluate", str(model), "--data", str(folder)],
        }
        results = {command: CliRunner().invoke(main, arguments) for command, arguments in calls.items()}
        codes = {command: result.exit_code for command, result in results.items()}
        texts = {command: " ".join(result.output.split()) for command, result in results.items()}
        problems = json.loads(results["check"].stdout)["problems"]
        codes["train"], texts["train"] = loading(folder)
        return Verdicts(codes, texts, problems)

    return of


class TestSoftEdges:
    @pytest.mark.parametrize("radius", [0.6, 1.2, 3])
    def test_binary_masks_that_were_interpolated(
        self, tmp_path: Path, verdicts: Callable[..., Verdicts], radius: float
    ) -> None:
        folder = write(tmp_path / "d", lambda index: soft(shape(index) * np.uint8(255), radius))
        found = verdicts(folder)
        found.agree("binary masks with soft edges", refused=True)

    def test_all_256_values(self, tmp_path: Path, verdicts: Callable[..., Verdicts]) -> None:
        def mask(index: int) -> np.ndarray:
            image = np.array(soft(shape(index) * np.uint8(255), 2))
            image[20, :43] = np.arange(43) + 43 * index  # whatever a blur leaves out
            return image

        folder = write(tmp_path / "d", mask)
        assert len(np.unique([mask(index) for index in range(6)])) == 256
        verdicts(folder).agree("binary masks with soft edges", refused=True)

    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    def test_binary_masks_that_were_jpeg(self, tmp_path: Path, verdicts: Callable[..., Verdicts], suffix: str) -> None:
        write(tmp_path / "d", lambda index: shape(index) * np.uint8(255), suffix=".jpg")
        if suffix == ".png":
            for path in sorted((tmp_path / "d" / "masks").iterdir()):
                Image.open(path).save(path.with_suffix(".png"))
                path.unlink()
        verdicts(tmp_path / "d").agree("binary masks with soft edges", refused=True)
        assert len(check_dataset(str(tmp_path / "d")).problems) == 1

    def test_values_near_the_two_ends_alone(self, tmp_path: Path, verdicts: Callable[..., Verdicts]) -> None:
        def mask(index: int) -> np.ndarray:
            noise = np.random.default_rng(index).integers(0, 5, SIZE, dtype=np.uint8)
            return np.where(shape(index), 255 - noise, noise).astype(np.uint8)

        verdicts(write(tmp_path / "d", mask)).agree("binary masks with soft edges", refused=True)

    def test_three_classes(self, tmp_path: Path, verdicts: Callable[..., Verdicts]) -> None:
        folder = write(tmp_path / "d", lambda index: soft(ids(index) * np.uint8(127)))
        verdicts(folder, classes=3).agree("masks with soft edges", refused=True)

    def test_arrays(self, tmp_path: Path) -> None:
        labels = np.stack([np.array(soft(shape(index) * np.uint8(255))) for index in range(6)])
        np.savez(tmp_path / "a.npz", images=np.stack([photo(index) for index in range(6)]), labels=labels)
        with pytest.raises(DataError, match="binary masks with soft edges"):
            load_dataset(str(tmp_path / "a.npz"))
        result = CliRunner().invoke(main, ["data", "check", str(tmp_path / "a.npz"), "--json"])
        assert [problem["kind"] for problem in json.loads(result.stdout)["problems"]] == ["values"]

    def test_the_line_to_paste_makes_binary_masks(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", lambda index: soft(shape(index) * np.uint8(255)))
        run_line_of(folder)
        data = load_dataset(str(folder))
        assert data.class_names == ("background", "foreground")
        assert (data.label(0) == shape(0)).mean() > 0.98

    @pytest.mark.parametrize("count", [24, 150, 256])
    def test_ids_of_many_classes_are_none(self, tmp_path: Path, count: int) -> None:
        def mask(index: int) -> np.ndarray:
            blocks = np.random.default_rng(index).permutation((np.arange(192) + 192 * index) % count).reshape(12, 16)
            return np.kron(blocks, np.ones((4, 4))).astype(np.uint8)

        data = load_dataset(str(write(tmp_path / "d", mask, count=12)))
        assert data.num_classes == count

    def test_pictures_and_noise_are_no_masks(self, tmp_path: Path, verdicts: Callable[..., Verdicts]) -> None:
        def noise(index: int) -> np.ndarray:
            return np.random.default_rng(index).integers(0, 256, SIZE, dtype=np.uint8)

        for mask in (noise, photo):
            found = verdicts(write(tmp_path / mask.__name__, mask))
            found.agree("look like photographs or noise", refused=True)

    def test_a_few_thin_lines_are_none(self, tmp_path: Path) -> None:
        def mask(index: int) -> np.ndarray:
            lines = shape(index) * np.uint8(3)
            lines[30], lines[32] = 1, 2
            return lines

        assert load_dataset(str(write(tmp_path / "d", mask))).num_classes == 4

    def test_a_description_says_why_its_masks_do_not_fit(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", lambda index: soft(shape(index) * np.uint8(255)))
        (folder / "dataset.json").write_text(
            json.dumps({"classes": [{"name": "a", "value": 0}, {"name": "b", "value": 255}]})
        )
        with pytest.raises(DataError, match="soft edges"):
            load_dataset(str(folder)).label(0)


class TestMixedBinary:
    def modes(self, index: int) -> Image.Image:
        mask = shape(index)
        return Image.fromarray(mask) if index % 3 == 0 else Image.fromarray(mask * np.uint8(255))

    def test_one_bit_beside_eight(self, tmp_path: Path, verdicts: Callable[..., Verdicts]) -> None:
        folder = write(tmp_path / "d", self.modes)
        found = verdicts(folder)
        assert set(found.codes.values()) == {0}
        assert all("2 masks with 1, 4 masks with 255" in text for text in found.texts.values())
        assert [entry["value"] for entry in propose(folder).description["classes"]] == [0, [1, 255]]
        write_proposal(folder)
        found = verdicts(folder)
        assert set(found.codes.values()) == {0}
        assert not found.problems
        data = load_dataset(str(folder))
        assert (data.class_names, data.ignore_id) == (("background", "foreground"), None)
        for index in range(6):
            np.testing.assert_array_equal(data.label(index), shape(index))

    @pytest.mark.parametrize("names", [("no", "yes"), ("no", "yes", "never")])
    def test_a_list_names_them(self, tmp_path: Path, names: tuple[str, ...]) -> None:
        folder = write(tmp_path / "d", self.modes)
        (folder / "classes.txt").write_text("\n".join(names))
        data = load_dataset(str(folder))
        assert (data.class_names, data.ignore_id) == (names, None if len(names) == 2 else 255)
        kept = propose(folder).description
        assert [entry["name"] for entry in kept["classes"]] == list(names)
        assert (kept["ignore_id"], kept["classes"][1]["value"]) == ((None, [1, 255]) if len(names) == 2 else (255, 1))

    def test_each_part_has_its_own(self, tmp_path: Path) -> None:
        write(tmp_path / "train", lambda index: shape(index).astype(np.uint8))
        write(tmp_path / "val", lambda index: shape(index) * np.uint8(255), lambda index: photo(index + 9))
        data = load_dataset(str(tmp_path))
        assert data.ignore_id is None
        assert all(data.label(index).sum() == shape(index % 6).sum() for index in range(12))

    def test_sixteen_bits(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", lambda index: shape(index) * np.uint16(65535), suffix=".tif")
        np.testing.assert_array_equal(load_dataset(str(folder)).label(3), shape(3))
        save(folder / "masks" / "3.tif", shape(3) * np.uint8(255))
        np.testing.assert_array_equal(load_dataset(str(folder)).label(3), shape(3))

    def test_arrays(self, tmp_path: Path) -> None:
        labels = np.stack([shape(index) * np.uint8(255 if index % 2 else 1) for index in range(6)])
        np.savez(tmp_path / "a.npz", images=np.stack([photo(index) for index in range(6)]), labels=labels)
        data = load_dataset(str(tmp_path / "a.npz"))
        assert (data.num_classes, data.ignore_id) == (2, None)
        np.testing.assert_array_equal(data.label(1), shape(1))

    def test_a_mask_with_both_is_one_of_ids_with_an_ignored_border(self, tmp_path: Path) -> None:
        def mask(index: int) -> np.ndarray:
            bordered = shape(index).astype(np.uint8)
            bordered[:3] = 255
            return bordered

        data = load_dataset(str(write(tmp_path / "d", mask)))
        assert (data.num_classes, data.ignore_id) == (2, 255)


class TestPalettes:
    COLORS = ((0, 0, 0), (200, 0, 0), (0, 200, 0))

    def shuffled(self, index: int, *, unused: bool = False) -> Image.Image:
        order = np.roll([0, 1, 2], 0 if unused else index % 3)  # the class of each palette entry
        colors = [channel for entry in order for channel in self.COLORS[entry]]
        colors += [index * 9, 7, 7] if unused else []
        return palette_mask(np.argsort(order).astype(np.uint8)[ids(index)], colors)

    def test_one_value_with_two_colours(self, tmp_path: Path, verdicts: Callable[..., Verdicts]) -> None:
        verdicts(write(tmp_path / "d", self.shuffled), classes=3).agree("palettes", refused=True)

    def test_the_description_to_paste_reads_them_by_colour(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", self.shuffled)
        with pytest.raises(DataError) as caught:
            load_dataset(str(folder))
        described = str(caught.value).split("dataset.json: ")[1].split(", or by value")[0]
        (folder / "dataset.json").write_text(described)
        data = load_dataset(str(folder))
        assert data.background_id == 0
        for index in range(6):
            label = data.label(index)
            assert (label == 0).tolist() == (ids(index) == 0).tolist()
            assert len(np.unique(label[ids(index) == 2])) == 1

    def test_entries_that_no_pixel_uses_may_differ(self, tmp_path: Path) -> None:
        data = load_dataset(str(write(tmp_path / "d", lambda index: self.shuffled(index, unused=True))))
        np.testing.assert_array_equal(data.label(4), ids(4))


class TestAlpha:
    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    @pytest.mark.parametrize("described", [False, True])
    def test_masks_that_differ_in_alpha_alone(
        self, tmp_path: Path, verdicts: Callable[..., Verdicts], mode: str, described: bool
    ) -> None:
        def mask(index: int) -> Image.Image:
            image = Image.new(mode, SIZE[::-1], 0)
            image.putalpha(Image.fromarray(shape(index) * np.uint8(255)))
            return image

        folder = write(tmp_path / "d", mask)
        if described:
            (folder / "dataset.json").write_text('{"classes": ["a", "b"]}')
        found = verdicts(folder)
        assert all("alpha" in text for text in found.texts.values())
        assert set(found.codes.values()) == {1}
        assert [problem["kind"] for problem in found.problems if problem["kind"] != "class"] == ["alpha"]

    def test_the_line_to_paste_makes_masks(self, tmp_path: Path) -> None:
        def mask(index: int) -> Image.Image:
            image = Image.new("RGBA", SIZE[::-1], (255, 255, 255, 0))
            image.putalpha(Image.fromarray(shape(index) * np.uint8(255)))
            return image

        folder = write(tmp_path / "d", mask)
        with pytest.raises(DataError, match="alpha channel, which is not read"):
            propose(folder)
        run_line_of(folder)
        np.testing.assert_array_equal(load_dataset(str(folder)).label(2), shape(2))

    @pytest.mark.parametrize("mode", ["RGBA", "P"])
    def test_colours_are_read_whatever_the_alpha(
        self, tmp_path: Path, verdicts: Callable[..., Verdicts], mode: str
    ) -> None:
        colors = np.array([[250, 250, 250], [200, 0, 0], [0, 200, 0]], np.uint8)

        def mask(index: int) -> Image.Image:
            if mode == "RGBA":
                return Image.fromarray(np.dstack([colors[ids(index)], shape(index) * np.uint8(255)]))
            order = np.roll([0, 1, 2], index)
            return palette_mask(np.argsort(order).astype(np.uint8)[ids(index)], colors[order].ravel().tolist())

        folder = write(tmp_path / "d", mask)
        if mode == "P":
            for path in (folder / "masks").iterdir():
                save(path, Image.open(path), transparency=0)
        (problem,) = check_dataset(str(folder)).problems
        assert problem.command.startswith("segtool data describe")
        write_proposal(folder)
        classes = json.loads((folder / "dataset.json").read_text())["classes"]
        assert sorted(entry["color"] for entry in classes) == [[0, 200, 0], [200, 0, 0], [250, 250, 250]]
        found = verdicts(folder, classes=3)
        assert not found.problems
        assert set(found.codes.values()) == {0}

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_classes_in_the_colour_are_read_whatever_the_alpha(self, tmp_path: Path, mode: str) -> None:
        def mask(index: int) -> Image.Image:
            image = Image.fromarray(ids(index)).convert(mode)
            image.putalpha(Image.fromarray(np.where(shape(index), np.uint8(9), np.uint8(255))))
            return image

        np.testing.assert_array_equal(load_dataset(str(write(tmp_path / "d", mask))).label(1), ids(1))


class TestImagesWithAlpha:
    def banded(self, index: int, low: int) -> Image.Image:
        image = Image.fromarray(photo(index)).convert("RGBA")
        noise = np.random.default_rng(index).integers(low, 255, SIZE, dtype=np.uint8)
        image.putalpha(Image.fromarray(noise))
        return image

    @pytest.mark.parametrize("low", [0, 200])
    def test_a_fourth_band_is_named(self, tmp_path: Path, verdicts: Callable[..., Verdicts], low: int) -> None:
        folder = write(tmp_path / "d", ids, lambda index: self.banded(index, low))
        found = verdicts(folder, classes=3)
        assert "alpha channel that looks like a band" in str(found.problems[0]["message"])
        assert all("looks like a band" in found.texts[command] for command in ("check", "info", "train"))
        assert (found.codes["check"], found.codes["info"], found.codes["train"]) == (1, 0, 0)
        run_line_of(folder)
        np.testing.assert_array_equal(load_dataset(str(folder)).image(2)[..., 0], photo(2))

    def test_a_cut_out_is_not(self, tmp_path: Path) -> None:
        def image(index: int) -> Image.Image:
            cut_out = Image.fromarray(photo(index)).convert("RGBA")
            cut_out.putalpha(soft(shape(index) * np.uint8(255)))
            return cut_out

        assert check_dataset(str(write(tmp_path / "d", ids, image))).ok


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize(
        ("suffix", "mode"), [(".png", "L"), (".tif", "L"), (".tif", "P"), (".webp", "RGB"), (".jpg", "P")]
    )
    def test_both_carry_it(self, tmp_path: Path, orientation: int, suffix: str, mode: str) -> None:
        turn = TURNED[orientation]
        for index in range(2):
            image = Image.fromarray(np.ascontiguousarray(turn(photo(index)))).convert("RGB" if mode == "RGB" else "L")
            mask = Image.fromarray(np.ascontiguousarray(turn(ids(index)))).convert(mode)
            options = {"quality": 100, "lossless": True} if suffix in (".jpg", ".webp") else {}
            save(tmp_path / f"images/{index}{suffix}", image, orientation=orientation, **options)
            mask_suffix = suffix if suffix == ".tif" else ".png"
            if mode == "P":
                mask = palette_mask(np.ascontiguousarray(turn(ids(index))), [0, 0, 0, 9, 9, 9, 8, 0, 0])
            save(tmp_path / f"masks/{index}{mask_suffix}", mask, orientation=orientation)
        data = load_dataset(str(tmp_path))
        assert data.image_size == SIZE
        for index in range(2):
            np.testing.assert_array_equal(data.label(index), ids(index))
            np.testing.assert_allclose(data.image(index)[..., 0].astype(int), photo(index), atol=8)
        assert check_dataset(str(tmp_path)).ok

    @pytest.mark.parametrize("orientation", [2, 3, 4])
    @pytest.mark.parametrize("tagged", ["images", "masks"])
    def test_one_of_the_two_carries_it(
        self, tmp_path: Path, verdicts: Callable[..., Verdicts], orientation: int, tagged: str
    ) -> None:
        folder = write(tmp_path / "d", ids)
        for path in sorted((folder / tagged).iterdir())[:4]:
            save(path, Image.open(path), orientation=orientation)
        other = "masks" if tagged == "images" else "images"
        found = verdicts(folder, classes=3)
        found.agree(f"carry an orientation (EXIF or TIFF), their {other} do not", refused=False)
        assert str(found.problems[0]["message"]).startswith(f"4 {tagged} of ")
        assert found.problems[0]["warning"] is True

    def test_a_quarter_turn_of_one_is_right_where_only_the_upright_sizes_fit(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", ids)
        for index in range(6):
            save(folder / "images" / f"{index}.png", TURNED[6](photo(index)), orientation=6)
        assert check_dataset(str(folder)).ok
        np.testing.assert_array_equal(load_dataset(str(folder)).image(2)[..., 0], photo(2))

    @pytest.mark.parametrize("tagged", ["images", "masks"])
    def test_a_quarter_turn_that_fits_shows_who_is_right_for_all(self, tmp_path: Path, tagged: str) -> None:
        folder = write(tmp_path / "d", ids)
        made = photo if tagged == "images" else ids
        for index, orientation in enumerate((1, 6, 3, 8, 3, 2)):
            save(folder / tagged / f"{index}.png", TURNED[orientation](made(index)), orientation=orientation)
        assert check_dataset(str(folder)).problems == ()
        data = load_dataset(str(folder))
        np.testing.assert_array_equal(data.image(2)[..., 0], photo(2))
        np.testing.assert_array_equal(data.label(2), ids(2))
        other = "masks" if tagged == "images" else "images"
        made = ids if tagged == "images" else photo
        save(folder / other / "0.png", TURNED[3](made(0)), orientation=3)  # of which no size shows anything
        (problem,) = check_dataset(str(folder)).problems
        assert (problem.kind, problem.sample) == ("orientation", "0.png")

    def test_a_quarter_turn_that_makes_sizes_differ_is_named(
        self, tmp_path: Path, verdicts: Callable[..., Verdicts]
    ) -> None:
        folder = write(tmp_path / "d", ids)
        for path in (folder / "images").iterdir():
            save(path, Image.open(path), orientation=8)
        found = verdicts(folder, classes=3)
        found.agree("once turned as their orientation tags say", refused=True)
        assert len(found.problems[0]["samples"]) == 6  # type: ignore[arg-type]

    def test_sizes_that_differ_for_one_reason_are_one_problem(
        self, tmp_path: Path, verdicts: Callable[..., Verdicts]
    ) -> None:
        folder = write(tmp_path / "d", lambda index: ids(index)[:40])
        verdicts(folder, classes=3).agree("expected the same size", refused=True)

    @pytest.mark.parametrize("late", [False, True])
    def test_a_png_is_not_decoded_for_its_header(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
    ) -> None:
        path = tmp_path / "a.png"
        save(path, photo(0), orientation=6)
        if late:  # as exiftool writes it: behind the pixels
            data = path.read_bytes()
            start = data.index(b"eXIf") - 4
            length = int.from_bytes(data[start : start + 4], "big") + 12
            end = data.index(b"IEND") - 4
            path.write_bytes(data[:start] + data[start + length : end] + data[start : start + length] + data[end:])
        decoded = []
        load = Image.core.zip_decoder
        monkeypatch.setattr(Image.core, "zip_decoder", lambda *args: (decoded.append(1), load(*args))[1])
        header = read_header(path)
        assert (header.orientation, header.size, header.stored_size) == (6, SIZE[::-1], SIZE)
        assert bool(decoded) is late


class TestRange:
    @pytest.mark.parametrize(("bits", "share"), [(8, "0.4 %"), (10, "2 %"), (12, "6 %"), (14, "25 %")])
    def test_images_of_fewer_bits(
        self, tmp_path: Path, verdicts: Callable[..., Verdicts], bits: int, share: str
    ) -> None:
        top = (1 << bits) - 1
        folder = write(tmp_path / "d", ids, lambda index: (photo(index) / 209 * top).astype(np.uint16), suffix=".tif")
        found = verdicts(folder, classes=3)
        found.agree(f"use {share} of their range", refused=False)
        assert f"data of {bits} bits (0..{top})" in str(found.problems[0]["message"])

    def test_colour(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", ids)
        for index in range(6):
            save_rgb16(folder / "images" / f"{index}.png", photo(index).astype(np.uint16) * 19)
        report = json.loads(CliRunner().invoke(main, ["data", "check", str(folder), "--json"]).stdout)
        assert [problem["kind"] for problem in report["problems"]] == ["range"]

    def test_images_that_use_their_range_pass(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", ids, lambda index: photo(index).astype(np.uint16) * 257, suffix=".tif")
        assert check_dataset(str(folder)).ok

    def test_the_line_to_paste_scales_them(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", ids, lambda index: photo(index).astype(np.uint16) * 16, suffix=".tif")
        run_line_of(folder)
        assert check_dataset(str(folder)).ok
        np.testing.assert_allclose(load_dataset(str(folder)).image(0)[..., 0].astype(int), photo(0), atol=1)


class TestPages:
    def stacks(self, folder: Path, *, images: int, masks: int) -> Path:
        for index in range(5):
            for kind, pages, make in (("images", images, photo), ("masks", masks, ids)):
                pictures = [Image.fromarray(make(index + 5 * page)) for page in range(pages)]
                save(folder / kind / f"{index}.tif", pictures[0], save_all=True, append_images=pictures[1:])
        return folder

    def test_pages_that_are_left_out_are_counted(self, tmp_path: Path, verdicts: Callable[..., Verdicts]) -> None:
        folder = self.stacks(tmp_path / "d", images=4, masks=4)
        verdicts(folder, classes=3).agree("15 pages of images and 15 of masks are left out", refused=False)

    @pytest.mark.parametrize(("images", "masks"), [(1, 3), (3, 1)])
    def test_another_number_of_pages_is_refused(
        self, tmp_path: Path, verdicts: Callable[..., Verdicts], images: int, masks: int
    ) -> None:
        folder = self.stacks(tmp_path / "d", images=images, masks=masks)
        verdicts(folder, classes=3).agree("another number of pages", refused=True)

    def test_the_line_to_paste_makes_samples_of_them(self, tmp_path: Path) -> None:
        folder = self.stacks(tmp_path / "d", images=3, masks=3)
        run_line_of(folder)
        for path in folder.rglob("*.tif"):
            path.unlink()
        data = load_dataset(str(folder))
        assert len(data) == 15
        np.testing.assert_array_equal(data.label(1), ids(5))

    def test_smaller_copies_of_a_page_are_none(self, tmp_path: Path) -> None:
        picture = Image.fromarray(photo(0))
        save(tmp_path / "a.tif", picture, save_all=True, append_images=[picture.resize((32, 24))])
        assert read_header(tmp_path / "a.tif").pages == 1


def test_a_border_of_255_is_suggested_as_ignored_and_the_suggestion_works(
    tmp_path: Path, verdicts: Callable[..., Verdicts]
) -> None:
    def mask(index: int) -> np.ndarray:
        voc = np.array([0, 2, 15], np.uint8)[ids(index)]
        voc[20:24] = 20
        voc[24:26] = 255
        return voc

    folder = write(tmp_path / "d", mask)
    found = verdicts(folder)
    assert (found.codes["check"], found.codes["info"], found.codes["train"]) == (1, 1, 1)
    message = str(found.problems[0]["message"])
    pasted = message.partition("beside them: ")[2].partition(". `segtool data describe")[0]
    (folder / "dataset.json").write_text(pasted)
    data = load_dataset(str(folder))
    assert (data.class_names[0], data.background_id, data.num_classes, data.ignore_id) == ("background", 0, 4, 255)
    assert CliRunner().invoke(main, ["data", "check", str(folder)]).exit_code == 0


def run_line_of(folder: Path) -> None:
    """Run the line that the message on a folder has for its user."""
    result = CliRunner().invoke(main, ["data", "check", str(folder), "--json"])
    (message,) = (
        problem["message"] for problem in json.loads(result.stdout)["problems"] if "python -c" in problem["message"]
    )
    line = "python -c" + message.split("python -c")[1]
    code, files = line.split('"')[1], line.split('" ')[1].split(";")[0].split(", and move")[0].rstrip(".")
    names = [str(name) for pattern in files.split() for name in sorted(Path("/").glob(pattern.lstrip("/")))]
    assert names
    subprocess.run([sys.executable, "-c", code, *names], check=True)


def save_rgb16(path: Path, values: np.ndarray) -> None:
    """Write a PNG of 16 bits a channel, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.repeat(values[..., None], 3, axis=-1).astype(">u2")
    packed = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    )
