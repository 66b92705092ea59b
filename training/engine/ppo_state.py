"""What a PPO run holds on to, how it survives a kill, and how it goes back below its bound on KL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.engine import checkpoint, processes
from training.engine.config import PPOConfig
from training.engine.errors import EngineError, Stopped
from training.engine.events import EventWriter
from training.engine.ppo_models import PPOModels
from training.engine.ppo_rollout import Prompt
from training.engine.run_dir import RunDir, Spec

Metrics = dict[str, float]


@dataclass
class PPO:
    """A run. `beta` moves when it is adaptive; `iteration` counts the finished ones."""

    spec: Spec
    config: PPOConfig
    models: PPOModels
    optimizer: torch.optim.Optimizer
    train: list[Prompt]
    held_out: list[Prompt]
    stop_ids: frozenset[int]
    score_mean: float
    score_std: float
    beta: float
    iteration: int = 0
    before: Metrics = field(default_factory=dict)  # the evaluation from before training
    below: dict[str, Tensor] = field(default_factory=dict)  # the newest weights whose KL was measured below the bound
    below_iteration: int = 0
    over: bool = False  # the bound on KL has ended training
    tell: Callable[[str, int, int], None] = lambda name, done, total: None  # what is being done, and how far it is

    @property
    def can_undo(self) -> bool:
        """Whether an iteration can be undone: its copy is small for adapters. Full training finishes its updates."""
        return self.models.trainee.peft is not None


# Checkpoints.


def save_checkpoint(run_dir: RunDir, ppo: PPO, events: EventWriter) -> None:
    """Write what a resumed run needs: weights, optimiser, a moving reference, the weights below the bound, β."""
    if not processes.is_main():
        return
    tensors = _tensors(ppo) | {f"below/{name}": item for name, item in ppo.below.items()}
    state = {"beta": ppo.beta, "before": ppo.before, "below_iteration": ppo.below_iteration, "over": ppo.over}
    path = checkpoint.save(run_dir, ppo.iteration, tensors, state, keep=ppo.config.keep_checkpoints)
    events.write("checkpoint", step=ppo.iteration, path=str(path.relative_to(run_dir.path)))


def resume(run_dir: RunDir, ppo: PPO, events: EventWriter) -> bool:
    """Go on from the newest checkpoint. False when there is none."""
    found = checkpoint.resume(run_dir, events)
    if found is None:
        return False
    _put_back(ppo, found.tensors)
    ppo.below = {name[6:]: item for name, item in found.tensors.items() if name.startswith("below/")}
    ppo.iteration, ppo.beta, ppo.before = found.step, float(found.state["beta"]), dict(found.state["before"])
    ppo.below_iteration, ppo.over = int(found.state["below_iteration"]), bool(found.state["over"])
    return True


@contextlib.contextmanager
def undone_by_sigterm(run_dir: RunDir, ppo: PPO, events: EventWriter) -> Iterator[None]:
    """SIGTERM amid an iteration undoes it, where it can be, and leaves a checkpoint of its start."""
    start = {name: item.detach().clone() for name, item in _tensors(ppo).items()} if ppo.can_undo else None
    try:
        yield
    except Stopped:
        if start is not None:
            ppo.optimizer.state.clear()
            _put_back(ppo, start)
        save_checkpoint(run_dir, ppo, events)
        raise


def _tensors(ppo: PPO) -> dict[str, Tensor]:
    moving = {f"reference/{name}": item for name, item in ppo.models.moving_reference().items()}
    return checkpoint.training_tensors(ppo.models.trainable(), ppo.optimizer) | moving


def _put_back(ppo: PPO, tensors: dict[str, Tensor]) -> None:
    checkpoint.restore_training(ppo.models.trainable(), ppo.optimizer, tensors)
    with torch.no_grad():
        for name, item in ppo.models.moving_reference().items():
            item.copy_(tensors[f"reference/{name}"])


# The bound on KL.


def is_over_bound(ppo: PPO, kl: float) -> bool:
    """Whether a measured KL per answer has passed `max_kl`; 0 is no bound."""
    return 0 < ppo.config.max_kl < kl


def keep_below(ppo: PPO) -> None:
    """Set the policy aside (on the CPU): its KL was just measured below the bound."""
    if ppo.config.max_kl > 0:
        ppo.below = {name: item.detach().to("cpu", copy=True) for name, item in _bounded(ppo).items()}
        ppo.below_iteration = ppo.iteration


def go_back_below(ppo: PPO, kl: float, events: EventWriter) -> None:
    """End training with the newest policy whose KL was measured below the bound. EngineError when there was none."""
    bound = ppo.config.max_kl
    if not ppo.below:
        raise EngineError(
            f"the policy starts {kl:.1f} nats from its reference, above max_kl ({bound:g}); raise max_kl or set it to 0"
        )
    with torch.no_grad():
        for name, item in _bounded(ppo).items():
            item.copy_(ppo.below[name])
    ppo.over = True
    events.write(
        "warning",
        message=f"The KL to the reference reached {kl:.1f} nats per answer, above max_kl ({bound:g}): training ended, "
        f"and the policy of iteration {ppo.below_iteration} is kept, which was below.",
    )


def _bounded(ppo: PPO) -> dict[str, Tensor]:
    """What the KL depends on: the policy, and the reference where it moves."""
    policy: dict[str, Tensor] = {f"policy/{name}": item for name, item in ppo.models.policy_parameters().items()}
    return policy | {f"reference/{name}": item for name, item in ppo.models.moving_reference().items()}
