"""The loop that SFT, reward model and DPO share: its optimiser step is the one that the config describes."""

from pathlib import Path
from typing import Any

import torch

from training.engine.config import SFTConfig
from training.engine.events import EventWriter, read_events
from training.engine.loop import Loop
from training.engine.run_dir import RunDir


class OneWeight:
    """Stands in for a trainee."""

    def __init__(self) -> None:
        self.weight = torch.nn.Parameter(torch.tensor([2.0, -1.0]))

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {"w": self.weight}


def test_a_step_is_adamws_with_the_rate_the_decay_and_the_clipping_of_the_config(tmp_path: Path) -> None:
    config = SFTConfig(
        learning_rate=0.1, schedule="linear", warmup_share=0.5, weight_decay=0.5, max_grad_norm=1.0, max_steps=4
    )
    trainee: Any = OneWeight()
    run_dir = RunDir(tmp_path)
    loop = Loop(run_dir, config, EventWriter(run_dir.events_path), trainee, row_ids=["a", "b"], seed=0)
    expected = torch.nn.Parameter(trainee.weight.detach().clone())
    by_hand = torch.optim.AdamW([expected], weight_decay=0.5)
    # Gradients as they come, and scaled down to a norm of 1; the rate rises over two of the four steps, then falls.
    given = [([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4]), ([7.0, 0.0], [1.0, 0.0]), ([0.0, -0.5], [0.0, -0.5])]
    rates = [0.05, 0.1, 0.1, 0.05]
    for (step, _), (gradient, clipped), rate in zip(loop.steps(), given, rates, strict=True):
        trainee.weight.grad, expected.grad = torch.tensor(gradient), torch.tensor(clipped)
        by_hand.param_groups[0]["lr"] = rate
        by_hand.step()
        loop.finish_step({"loss": 1.0}, tokens=1)
        assert loop.step == step
        torch.testing.assert_close(trainee.weight, expected, rtol=1e-5, atol=1e-6)
    told = [event["metrics"] for event in read_events(run_dir.events_path, 0)[0] if event["kind"] == "step"]
    torch.testing.assert_close([item["lr"] for item in told], rates)
    torch.testing.assert_close([item["grad_norm"] for item in told], [5.0, 0.5, 7.0, 0.5], rtol=1e-5, atol=0)
