"""How the bench and its arms talk: one JSON object a line over pipes, so that arms take turns on one machine.

The bench writes an ArmSpec, then "turn" or "quit"; the arm answers "ready" once and "done" after each turn. An arm
times its own turns, from hearing the word to having done the work, and knows its own peak of memory.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.memory import peak_mib, reset_peak


@dataclass(frozen=True)
class ArmSpec:
    """What one arm does. Paths are absolute; every arm of a row reads the same ids and starts from the same adapter."""

    name: str
    side: str  # whose code: a key of arm.PROGRAMS together with ``work``
    work: str  # dpo, reward, sft, ppo or sampling
    model: str  # folder of the base
    data: str  # rows of ids, as data.write_rows left them
    adapter: str  # safetensors of the trainable weights by name
    folder: str  # of this arm alone, empty
    precision: str = "fp32"
    device: str = "cpu"
    batch: int = 8
    reward: str = ""  # folder of the reward model's adapter, for PPO
    proof: str = ""  # where loss and gradients of the first batch are to be left; empty for none
    without: str = ""  # the lever that is off: a key of levers.LEVERS
    options: dict[str, Any] = field(default_factory=dict)

    def to_line(self) -> str:
        return json.dumps(asdict(self))


class Finished(Exception):  # noqa: N818 - no error
    """The bench said quit."""


class Turns:
    """An arm's side of the talk."""

    def __init__(self, spec: ArmSpec, commands: TextIO, answers: TextIO) -> None:
        self.spec, self._commands, self._answers = spec, commands, answers
        self._began = 0.0

    def prove(self, loss: float, tensors: dict[str, Tensor]) -> None:
        """Leave what must agree between arms: a loss, and tensors (gradients, log-probs) by name."""
        found = {name: item.detach().cpu().contiguous().float() for name, item in tensors.items()}
        save_file(found, self.spec.proof, metadata={"loss": repr(loss)})

    def ready(self, **facts: float) -> None:
        """Everything is loaded; from here on the peak of memory counts."""
        reset_peak(self.spec.device)
        self._tell(ready=True, **facts)

    def wait(self) -> None:
        """Until it is this arm's turn. Finished when there are no more."""
        if self._commands.readline().strip() != "turn":
            self._tell(peak_mib=peak_mib(self.spec.device))
            raise Finished
        self._began = time.perf_counter()

    def done(self, tokens: int, **facts: float) -> None:
        """The turn is over and got through so many real tokens."""
        if self.spec.device == "cuda":
            torch.cuda.synchronize()
        self._tell(seconds=time.perf_counter() - self._began, tokens=tokens, **facts)

    def _tell(self, **content: Any) -> None:
        self._answers.write(json.dumps(content) + "\n")
        self._answers.flush()


def new_folder(spec: ArmSpec, name: str) -> Path:
    """A folder of the arm's own that is not there yet."""
    path = Path(spec.folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
