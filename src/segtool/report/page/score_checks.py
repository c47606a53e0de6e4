"""Checks of the accuracy of a model, from the figures of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from segtool.metrics import most_frequent
from segtool.report.model_charts import interval_of
from segtool.text import count_of, data_name, percent

Status = Literal["pass", "note", "care", "fail", "unknown"]
Facts = Mapping[str, Any]

REPRODUCED = 0.1  # allowed difference in points for the same file and images on another machine
MUCH_WORSE = 5.0  # a score on other data this many points below that of the export needs care
FEW_IMAGES = 50


@dataclass(frozen=True)
class Check:
    """One check of a model: its name, status, the figures in words, and a note on their meaning.

    The status "note" is information that does not change a verdict of yes.
    """

    name: str
    status: Status
    text: str
    note: str = ""


def better_than_constant(model: Facts) -> Check | None:
    """Compare a model with a constant prediction of the most frequent class of the truth."""
    trivial, found = most_frequent(model["evaluation"]["classes"]), model["evaluation"]["pixel_accuracy"]
    if trivial is None or found is None:
        return None
    usual, constant = trivial
    name = "Better than a constant prediction"
    if constant == 1:
        return Check(name, "unknown", f"The truth of these images is only {usual}, which needs no model.")
    text = f"{percent(found)} % of the pixels are correct; {usual} everywhere would have {percent(constant)} %."
    if found > constant:
        return Check(name, "pass", text)
    return Check(name, "fail", text, f"It is no better than a constant prediction of {usual}.")


def as_exported(model: Facts) -> Check | None:
    """Compare the score with that of the export; on the same images they must be equal."""
    contract, evaluation = model["contract"], model["evaluation"]
    recorded = contract["metrics"].get(contract["precision"], {})
    if recorded.get("foreground_mean_iou") is None:
        return None
    here, there = float(evaluation["foreground_mean_iou"]), float(recorded["foreground_mean_iou"])
    text = f"{percent(here)} % foreground mean IoU here; {percent(there)} % recorded at export"
    same = model["own_part"] and recorded.get("split") == evaluation["split"]
    if same and recorded.get("images") == evaluation["images"]:
        status: Status = "pass" if abs(100 * (here - there)) <= REPRODUCED else "fail"
        return Check(
            "Reproduces the score of its export", status, f"{text}, on the same {evaluation['images']} images."
        )
    on = f"on {recorded.get('images', 'its')} images of {recorded.get('data', 'other data')}"
    return _elsewhere(evaluation, 100 * there, lost=100 * (there - here), text=f"{text}, {on}.")


def _elsewhere(evaluation: Facts, there: float, *, lost: float, text: str) -> Check:
    """Compare the score with that on other images, in percent; a part of the difference may be chance."""
    name, interval = "Scores on these images", interval_of(evaluation, "foreground_mean_iou")
    chance = interval is not None and interval[0] <= there <= interval[1]
    if chance and interval is not None:
        text = f"{text} The 95 % interval here, {interval[0]:.2f} to {interval[1]:.2f}, contains this score."
    if evaluation["images"] < FEW_IMAGES and (chance or interval is None):
        note = (
            f"Too few images ({count_of(evaluation['images'])}) to decide whether it scores lower than at its export."
        )
        return Check(name, "unknown", text, note)
    if lost > MUCH_WORSE and not chance:
        harder = "It scores much lower here than at its export: these images are harder, or of another kind."
        return Check(name, "care", text, harder)
    return Check(name, "pass", text)


def unseen(model: Facts) -> Check:
    """Check whether the model was trained on these images; this is known only for its own training data."""
    evaluation, trained_on = model["evaluation"], model["trained_on"]
    count, data = evaluation["images"], data_name(evaluation["data"])
    name = "Scored on images it was not trained on"
    if trained_on:
        return Check(
            name, "care", f"{trained_on} of these {count_of(count)} were in its training, so the score is too high."
        )
    if trained_on == 0:
        note = "They selected the best epoch; --split test is stricter." if evaluation["split"] == "val" else ""
        return Check(name, "pass", f"{count_of(count)}, part {evaluation['split']} of {data}.", note)
    name = "Trained on these images or not"
    if not model["contract"]["data_fingerprint"]:
        return Check(name, "unknown", "The file does not record its training data.")
    if model["own_data"]:
        return Check(
            name, "unknown", f"It was trained on {data}, and the file does not record which images were held out."
        )
    text = f"{data} has another fingerprint than its training data, so it is another data set."
    return Check(name, "note", text, "Whether single images of it were in the training is not known.")


def enough(model: Facts) -> Check | None:
    """Warn if there are too few images to compare models."""
    count = model["evaluation"]["images"]
    if count >= FEW_IMAGES:
        return None
    return Check("Number of images", "care", f"Only {count_of(count)}, which is too few to compare models.")
