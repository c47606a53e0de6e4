"""Recipes: what an option changes in them, optimizers and schedules by name, what goes together and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import pytest

from segtool.errors import TrainingError
from segtool.train.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer
from segtool.train.options import TrainOptions
from segtool.train.recipes import RECIPES, recipe_values, resolve_recipe


def _options(**given: Any) -> TrainOptions:
    return TrainOptions(**{"recipe": "standard", **given})


def _optimizer(name: str = "adam", **changes: Any) -> keras.optimizers.Optimizer:
    given = {"schedule": "constant", "learning_rate": 0.1, "weight_decay": 0.0, "warmup": 0, "steps": 20}
    return make_optimizer(name, **{**given, **changes})


def _rates(optimizer: keras.optimizers.Optimizer, steps: int) -> list[float]:
    rates = []
    for step in range(steps + 1):
        optimizer.iterations.assign(step)
        rates.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    return rates


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_without_options_is_itself(name: str) -> None:
    assert resolve_recipe(TrainOptions(recipe=name)) == RECIPES[name]


def test_the_recipes_are_what_the_measurements_were_made_with() -> None:
    standard = RECIPES["standard"]
    assert (standard.epochs, standard.batch_size, standard.learning_rate) == (60, 16, 2e-3)
    assert (standard.optimizer, standard.weight_decay, standard.augment) == ("adamw", 1e-4, "shift:12")
    source = RECIPES["source"]
    assert (source.epochs, source.batch_size, source.schedule, source.augment) == (75, 32, "constant", "none")
    assert (source.optimizer, source.learning_rate, source.loss) == ("adam", 1e-3, "cross-entropy")


@pytest.mark.parametrize(
    "given",
    [{"epochs": 3}, {"batch_size": 5}, {"schedule": "constant"}, {"loss": "dice"}, {"class_weights": "1,2"},
     {"patience": 4}, {"augment": "shift:3,noise:2"}, {"augment": "none"}, {"learning_rate": 0.5},
     {"weight_decay": 0.25}],
)  # fmt: skip
def test_an_option_replaces_the_recipes_own_value_and_nothing_else(given: Mapping[str, Any]) -> None:
    assert resolve_recipe(_options(**given)) == replace(RECIPES["standard"], **given)


def test_zero_is_a_value_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "standard", replace(RECIPES["standard"], patience=3))
    resolved = resolve_recipe(_options(weight_decay=0, patience=0))
    assert (resolved.weight_decay, resolved.patience) == (0, 0)


def test_another_optimizer_brings_its_own_decay_and_scale_of_rates() -> None:
    adam = resolve_recipe(_options(optimizer="adam"))
    assert (adam.optimizer, adam.weight_decay, adam.learning_rate) == ("adam", 0, 2e-3)
    adamw = resolve_recipe(TrainOptions(recipe="source", optimizer="adamw"))
    assert (adamw.weight_decay, adamw.learning_rate) == (1e-4, 1e-3)
    sgd = resolve_recipe(_options(optimizer="sgd"))
    assert (sgd.weight_decay, sgd.learning_rate) == (0, pytest.approx(0.05))
    assert resolve_recipe(_options(optimizer="sgd", learning_rate=0.3)).learning_rate == 0.3


@pytest.mark.parametrize(
    ("given", "says"),
    [({"optimizer": "lion"}, "no optimizer 'lion'; choose one of adam, adamw, sgd"),
     ({"schedule": "step"}, "no schedule 'step'; choose one of constant, cosine"),
     ({"loss": "hinge"}, "no loss 'hinge'"),
     ({"class_weights": "many"}, "found 'many'"),
     ({"augment": "blur"}, "no augmentation 'blur'"),
     ({"recipe": "best"}, "no recipe 'best'"),
     ({"optimizer": "adam", "weight_decay": 0.1}, "adam has no weight decay, found 0.1; use the optimizer adamw")],
)  # fmt: skip
def test_what_is_in_no_registry_or_does_not_go_together_is_refused(given: Mapping[str, Any], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        resolve_recipe(_options(**given))


@pytest.mark.parametrize(
    ("given", "says"),
    [({"width": 0}, "width takes a number from 0.05 to 16, found 0"), ({"learning_rate": 0.0}, "learning_rate"),
     ({"learning_rate": float("nan")}, "found nan"), ({"patience": -1}, "patience"),
     ({"weight_decay": -0.1}, "weight_decay"),
     ({"arch": "fcn8", "encoder": "lite0"}, "no encoder to choose, found --encoder lite0; use --arch fcn8-lite")],
)  # fmt: skip
def test_options_out_of_range_are_refused(given: Mapping[str, Any], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        _options(**given)


def test_options_of_an_earlier_version_are_ignored_unless_they_were_used() -> None:
    earlier = {**_options().to_dict(), "teacher": None, "ema": None}
    assert TrainOptions.from_dict(earlier) == _options()
    with pytest.raises(TrainingError, match=r"does not know \(teacher\); use the version of segtool that started"):
        TrainOptions.from_dict({**earlier, "teacher": "runs/large"})


def test_run_json_has_every_value_but_the_summary() -> None:
    values = recipe_values(RECIPES["standard"])
    assert values["augment"] == "shift:12"
    assert "summary" not in values
    assert set(values) == set(vars(RECIPES["standard"])) - {"summary"}


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_an_optimizer_is_what_its_name_says(name: str) -> None:
    optimizer = _optimizer(name, weight_decay=0.25)
    assert type(optimizer).__name__.lower() == name
    assert optimizer.weight_decay == (0.25 if name == "adamw" else None)
    if name == "sgd":
        assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)


def test_scales_and_shifts_do_not_decay() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    optimizer = _optimizer("adamw", weight_decay=0.5, learning_rate=0.1)
    optimizer.build(model.trainable_variables)
    before = {variable.path: variable.numpy().copy() + 1 for variable in model.trainable_variables}
    for variable in model.trainable_variables:
        variable.assign(before[variable.path])
    optimizer.apply([0 * variable for variable in model.trainable_variables])
    decayed = {path for path, value in before.items() if not (dict_of(model)[path] == value).all()}
    assert decayed == {model.layers[0].kernel.path}


def dict_of(model: keras.Model) -> dict[str, Any]:
    return {variable.path: variable.numpy() for variable in model.trainable_variables}


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_a_warm_up_rises_from_a_tenth_to_the_peak(name: str) -> None:
    rates = _rates(_optimizer(schedule=name, warmup=4, steps=20), 20)
    assert rates[:5] == pytest.approx([0.01, 0.0325, 0.055, 0.0775, 0.1])
    assert max(rates) == pytest.approx(0.1)
    assert rates[20] == pytest.approx({"constant": 0.1, "cosine": 0.0}[name], rel=1e-6, abs=1e-9)
    assert rates[12] == pytest.approx({"constant": 0.1, "cosine": 0.05}[name])


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_without_a_warm_up_a_schedule_begins_at_the_peak(name: str) -> None:
    rates = _rates(_optimizer(schedule=name), 20)
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == pytest.approx({"constant": 0.1, "cosine": 0.05}[name])
