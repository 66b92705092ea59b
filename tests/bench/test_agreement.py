"""The proof before the clock starts."""

import pytest
import torch

from bench import agreement
from bench.errors import DisagreementError

GRADIENTS = {"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([[1.0], [2.0]])}


def test_equal_arms_are_no_way_apart() -> None:
    found = agreement.check((0.5, GRADIENTS), (0.5, GRADIENTS), "peer")
    assert found == {"loss": 0.0, "gradients": 0.0, "worst_tensor": 0.0}


def test_rounding_is_told_and_allowed() -> None:
    theirs = {**GRADIENTS, "a": GRADIENTS["a"] * (1 + 1e-5)}
    found = agreement.check((0.5, GRADIENTS), (0.5, theirs), "peer")
    # |a|·1e-5 over the norm of both: 5e-5 / sqrt(25 + 5)
    assert found["gradients"] == pytest.approx(5e-5 / 30**0.5, rel=0.02)
    assert found["worst_tensor"] == pytest.approx(1e-5, rel=0.02)


@pytest.mark.parametrize(
    ("loss", "gradients", "reason"),
    [
        (0.5001, GRADIENTS, "loss"),
        (0.5, {**GRADIENTS, "a": -GRADIENTS["a"]}, "gradients"),
        (0.5, {**GRADIENTS, "b": GRADIENTS["b"] * 1.01}, "the worst"),
        (0.5, {"a": GRADIENTS["a"]}, "other weights"),
        (0.5, {**GRADIENTS, "b": torch.zeros(3)}, "another shape"),
        (float("nan"), GRADIENTS, "does not agree"),
        (0.5, {**GRADIENTS, "a": torch.tensor([float("nan"), 4.0])}, "does not agree"),
    ],
)
def test_a_difference_stops_the_bench(loss: float, gradients: dict[str, torch.Tensor], reason: str) -> None:
    with pytest.raises(DisagreementError, match=f"peer.*{reason}"):
        agreement.check((0.5, GRADIENTS), (loss, gradients), "peer")


def test_a_small_tensor_may_be_further_apart_than_the_whole() -> None:
    ours = {"large": torch.full((1000,), 1.0), "small": torch.tensor([1e-3])}
    theirs = {**ours, "small": torch.tensor([1e-3 * (1 + 5e-4)])}
    assert agreement.check((1.0, ours), (1.0, theirs), "peer")["gradients"] < 1e-6
