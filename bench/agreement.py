"""The proof before the clock starts: every arm of a row computes the same loss and the same gradients in fp32."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from bench.errors import DisagreementError

# Sums of tens of thousands of fp32 terms in another order differ by some 1e-6 of their size. What differs more than
# this differs in what it computes. A single tensor, whose gradient may be nearly 0, is allowed ten times as much.
LOSS_TOLERANCE, TENSOR_TOLERANCE, ONE_TENSOR_TOLERANCE = 1e-5, 1e-4, 1e-3

Proof = tuple[float, dict[str, Tensor]]


def read_proof(path: Path) -> Proof:
    """A loss and tensors by name, as Turns.prove left them."""
    with safe_open(path, framework="pt") as file:
        return float(file.metadata()["loss"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def check(ours: Proof, theirs: Proof, name: str) -> dict[str, float]:
    """How far two arms are apart: loss and all tensors, relative. DisagreementError beyond the tolerance."""
    loss, their_loss = ours[0], theirs[0]
    if set(ours[1]) != set(theirs[1]):
        raise DisagreementError(f"{name} has gradients of other weights: {sorted(set(ours[1]) ^ set(theirs[1]))[:3]}")
    loss_apart = abs(loss - their_loss) / max(abs(their_loss), 1e-12)
    square, total, worst, worst_name = 0.0, 0.0, 0.0, ""
    for key, item in theirs[1].items():
        if ours[1][key].shape != item.shape:
            raise DisagreementError(f"{name}: {key} has another shape")
        difference, size = float((ours[1][key] - item).double().norm()), float(item.double().norm())
        square, total = square + difference**2, total + size**2
        if difference / max(size, 1e-12) > worst:
            worst, worst_name = difference / max(size, 1e-12), key
    apart = (square / max(total, 1e-24)) ** 0.5
    if not (loss_apart <= LOSS_TOLERANCE and apart <= TENSOR_TOLERANCE and worst <= ONE_TENSOR_TOLERANCE):
        raise DisagreementError(
            f"{name} does not agree with ours: loss {their_loss:.7g} and {loss:.7g}, gradients {apart:.1e} apart, "
            f"the worst {worst:.1e} ({worst_name})"
        )
    return {"loss": loss_apart, "gradients": apart, "worst_tensor": worst}
