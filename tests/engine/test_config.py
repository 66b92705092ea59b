"""A method's options: described for forms, checked strictly, stored whole."""

import dataclasses

import pytest

from training.engine.config import METHODS, ConfigError, DPOConfig, describe, load_config, to_dict


@pytest.mark.parametrize("method", METHODS)
def test_every_default_is_inside_its_own_range(method: str) -> None:
    defaults = {item.name: item.default for item in describe(method)}
    assert defaults
    assert to_dict(load_config(method, defaults)) == defaults


@pytest.mark.parametrize("method", METHODS)
def test_every_option_has_one_line_of_help(method: str) -> None:
    helps = {item.name: item.help for item in describe(method)}
    assert helps
    assert {name: line for name, line in helps.items() if not line or "\n" in line} == {}


def test_every_bad_field_is_named_at_once() -> None:
    values = {"beta": 0, "bata": 1, "epochs": "two", "batch_size": 1.5, "lora": 1, "schedule": "steep"}
    with pytest.raises(ConfigError) as caught:
        load_config("dpo", values)
    assert set(caught.value.errors) == set(values)
    assert caught.value.errors["beta"] == "must be at least 1e-06"
    assert "unknown" in caught.value.errors["bata"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, None, "1e-4", -1e-4])
def test_a_learning_rate_must_be_a_finite_number_above_zero(value: object) -> None:
    with pytest.raises(ConfigError, match="learning_rate"):
        load_config("dpo", {"learning_rate": value})


def test_a_whole_number_serves_as_a_float_and_a_round_float_as_an_int() -> None:
    config = load_config("dpo", {"epochs": 2, "batch_size": 4.0})
    assert isinstance(config, DPOConfig)
    assert (config.epochs, config.batch_size) == (2.0, 4)
    assert (type(config.epochs), type(config.batch_size)) == (float, int)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match="method"):
        load_config("grpo", {})


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_config("dpo", {}).beta = 1.0  # type: ignore[union-attr,misc]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"label_smoothing": 0.5}, "label_smoothing"),
        ({"loss": "robust", "label_smoothing": 0.5}, "label_smoothing"),
        ({"loss": "robust"}, "label_smoothing"),
        ({"loss": "ipo", "label_smoothing": 0.1}, "label_smoothing"),
        ({"loss": "ipo", "margin_scale": 1.0}, "margin_scale"),
        ({"loss": "robust", "label_smoothing": 0.1, "margin_scale": 1.0}, "margin_scale"),
    ],
)
def test_dpo_options_that_do_not_go_together_are_named(values: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("dpo", values)
    assert set(caught.value.errors) == {field}


@pytest.mark.parametrize(
    "values",
    [
        {"label_smoothing": 0.1, "margin_scale": 1.0},
        {"loss": "robust", "label_smoothing": 0.49, "average_logprobs": True},
        {"loss": "ipo", "average_logprobs": True},
    ],
)
def test_dpo_options_that_go_together_are_taken(values: dict[str, object]) -> None:
    assert values.items() <= to_dict(load_config("dpo", values)).items()


def test_patience_without_evaluations_to_count_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("reward", {"patience": 2, "eval_every": 0})
    assert set(caught.value.errors) == {"patience"}
    assert to_dict(load_config("reward", {"patience": 2}))["patience"] == 2
