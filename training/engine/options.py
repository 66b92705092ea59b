"""What a config is made of: fields that know their help, unit and range, and the check of values against them.

Standard library only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints


def option(
    default: float | bool | str,
    *,
    help: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    source: str = "",
    group: str = "Optimisation",
) -> Any:
    """A dataclass field that knows its one-line help, unit, inclusive range and where its default comes from."""
    metadata = {
        "help": help,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
        "source": source,
        "group": group,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """One field of a method's config, as a form needs it. ``type`` is int, float, bool, str or choice."""

    name: str
    type: str
    default: Any
    help: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...] | None
    source: str
    group: str


class ConfigError(ValueError):
    """Values that do not make a config. ``errors`` maps each bad field's name to one readable sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in sorted(errors.items())))


def options_of(config_class: type) -> list[Option]:
    """Every option of a config's dataclass, in the order a form shows them."""
    types = get_type_hints(config_class)
    options = []
    for item in dataclasses.fields(config_class):
        kind = "choice" if item.metadata["choices"] else types[item.name].__name__
        options.append(Option(name=item.name, type=kind, default=item.default, **item.metadata))
    return options


def checked(config_class: type, values: Mapping[str, object], owner: str) -> dict[str, Any]:
    """The values in their fields' types. ConfigError names every unknown, mistyped or out-of-range one at once.

    Numbers may come as int where float is meant; text is never turned into a number here. ``owner`` is whose options
    these are, for the message.
    """
    options = {item.name: item for item in options_of(config_class)}
    errors: dict[str, str] = {}
    clean: dict[str, Any] = {}
    for name, value in values.items():
        if name not in options:
            errors[name] = f"unknown option of {owner}"
            continue
        clean[name], reason = _check(options[name], value)
        if reason:
            errors[name] = reason
    if errors:
        raise ConfigError(errors)
    return clean


def _check(item: Option, value: object) -> tuple[object, str]:
    """The value in its field's type, and a reason when it is not acceptable."""
    if item.type == "bool":
        return value, "" if isinstance(value, bool) else "must be true or false"
    if item.type == "str":
        return value, "" if isinstance(value, str) else "must be text"
    if item.type == "choice":
        choices = item.choices or ()
        return value, "" if value in choices else f"must be one of {', '.join(choices)}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value, "must be a number"
    if not math.isfinite(value):
        return value, "must be finite"
    if item.type == "int":
        if int(value) != value:
            return value, "must be a whole number"
        value = int(value)
    else:
        value = float(value)
    if item.low is not None and value < item.low:
        return value, f"must be at least {item.low:g}"
    if item.high is not None and value > item.high:
        return value, f"must be at most {item.high:g}"
    return value, ""
