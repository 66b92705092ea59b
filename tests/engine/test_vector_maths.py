"""Before a run computes anything, each function that torch leaves to MKL has been called by one thread alone."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from training.engine import import_model, vector_maths
from training.engine.__main__ import DONE, main
from training.engine.run_dir import RunDir, Spec


class Calls(TorchDispatchMode):
    """What is computed inside: the functions' names, and the numbers and precision of the first argument."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, int, torch.dtype]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if args and isinstance(args[0], torch.Tensor):
            self.seen.add((func.overloadpacket.__name__, args[0].numel(), args[0].dtype))
        return func(*args, **(kwargs or {}))


def test_every_function_is_called_with_one_number_in_both_precisions() -> None:
    with Calls() as calls:
        vector_maths.choose_code()
    what_the_engine_asks = {"cos", "sin", "exp", "log", "sqrt", "tanh", "erf"}
    for dtype in (torch.float32, torch.float64):
        names = {name for name, numbers, precision in calls.seen if precision == dtype and numbers == 1}
        assert names >= what_the_engine_asks
        assert len(names) == len(vector_maths.FUNCTIONS)
    assert {numbers for _, numbers, _ in calls.seen} == {1}


def test_it_comes_before_the_run(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = import_model.run
    monkeypatch.setattr(vector_maths, "choose_code", lambda: order.append("chosen"))
    monkeypatch.setattr(import_model, "run", lambda *run: (order.append("run"), real(*run)))
    run_dir = RunDir.create(tmp_path / "run", Spec(method="import", config={"kind": "tiny"}, seed=1))
    assert main([str(run_dir.path)]) == DONE
    assert order == ["chosen", "run"]
