"""The first call of each of torch's vector functions on a CPU, made by one thread.

torch gives MKL a large tensor's ``exp``, ``log``, ``sqrt``, ``cos`` in pieces, a piece to a thread. MKL chooses a
function's code when it is first called, and where two threads are first at once, one may get the code that is right to
11 bits of 24, or NaN of ``log``; from then on all are right. That is in MKL 2024.2, which torch's wheels carry
(pytorch/pytorch#188792). A tensor of one number is not shared out, so after these calls everything is chosen.
"""

from __future__ import annotations

import torch

# What torch leaves to MKL, of fp32 and fp64 each (aten/src/ATen/cpu/vml.h).
FUNCTIONS = (
    torch.acos,
    torch.asin,
    torch.atan,
    torch.cos,
    torch.erf,
    torch.erfc,
    torch.erfinv,
    torch.exp,
    torch.log,
    torch.log10,
    torch.log2,
    torch.sin,
    torch.sqrt,
    torch.tan,
    torch.tanh,
    torch.trunc,
)


def choose_code() -> None:
    """Call every function on one number. For the beginning of a process, before it computes anything."""
    for dtype in (torch.float32, torch.float64):
        number = torch.full((1,), 0.5, dtype=dtype)
        for function in FUNCTIONS:
            function(number)
