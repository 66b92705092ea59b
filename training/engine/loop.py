"""What the loops of SFT, reward model and DPO share: counting steps, the optimiser step, checkpoints, stopping, ETA.

A run is a sequence of steps 1 … total, with evaluations before, between and after. Each step's rows and randomness
follow from (seed, step); ``state`` holds what else must survive a kill (numbers and short lists only).
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from training.engine import checkpoint, processes, sharding, stop
from training.engine.batches import rows_of_step, total_steps
from training.engine.config import TrainingConfig
from training.engine.errors import EngineError, Stopped
from training.engine.events import EventWriter
from training.engine.models import Trainee, seed_everything
from training.engine.run_dir import RunDir
from training.engine.schedule import apply_step, learning_rate, make_optimiser

RECENT_STEPS = 20  # the ETA follows the last so many
NAMED_ROWS = 16  # at most so many are named in a message


def name_rows(ids: Sequence[str]) -> str:
    """ "rows a, b, c" for a message."""
    named = ", ".join(ids[:NAMED_ROWS])
    return f"rows {named} and {len(ids) - NAMED_ROWS} more" if len(ids) > NAMED_ROWS else f"rows {named}"


class Loop:
    """One run's steps over the rows with these ids.

    ``step`` is the last finished one; ``kept`` are the weights of the best step, if a method sets them aside.
    """

    def __init__(
        self,
        run_dir: RunDir,
        config: TrainingConfig,
        events: EventWriter,
        trainee: Trainee,
        *,
        row_ids: Sequence[str],
        seed: int,
    ) -> None:
        self.run_dir, self.config, self.events, self.trainee = run_dir, config, events, trainee
        self.row_ids, self.rows, self.seed = row_ids, len(row_ids), seed
        self.parameters = trainee.trainable()
        self.optimiser = make_optimiser(self.parameters.values(), weight_decay=config.weight_decay)
        self.total = total_steps(
            self.rows, batch_size=config.batch_size, epochs=config.epochs, max_steps=config.max_steps
        )
        self.step = 0
        self.state: dict[str, Any] = {}
        self.kept: dict[str, Tensor] = {}
        self._step_seconds: list[float] = []
        self._eval_seconds = 0.0
        self._step_began = time.monotonic()
        self._step_rows: list[int] = []

    def start(self, *, eval_rows: int) -> None:
        """Tell what will run, and go on from the newest checkpoint if there is one."""
        self.events.write(
            "start",
            total_steps=self.total,
            device=str(self.trainee.device),
            trainable_parameters=sum(item.numel() for item in self.parameters.values()),
            parameters=sum(item.numel() for item in self.trainee.module.parameters()),
            train_rows=self.rows,
            eval_rows=eval_rows,
        )
        found = checkpoint.resume(self.run_dir, self.events)
        if found is None:
            return
        checkpoint.restore_training(self.parameters, self.optimiser, found.tensors)
        self.step, self.state, self.kept = found.step, found.state, found.best

    @contextlib.contextmanager
    def checkpoint_when_stopped(self) -> Iterator[None]:
        """SIGTERM within the block ends the run with a checkpoint of the last finished step."""
        try:
            yield
        except Stopped:
            self.save()
            raise

    def eval_due(self) -> bool:
        """Whether to evaluate now: before the first step, every ``eval_every`` steps and after the last, once each."""
        at_interval = self.config.eval_every > 0 and self.step % self.config.eval_every == 0
        return self.state.get("evaluated") != self.step and (self.step in (0, self.total) or at_interval)

    def evaluated(self, began: float) -> None:
        """Note that the evaluation at this step is done; ``began`` is time.monotonic() at its start."""
        self.state["evaluated"] = self.step
        self._eval_seconds = time.monotonic() - began

    def steps(self) -> Iterator[tuple[int, list[int]]]:
        """(step, rows) of every step that is left. The method accumulates gradients and calls :meth:`finish_step`."""
        while self.step < self.total:
            step = self.step + 1
            self.leave_if_requested()
            self._step_began = time.monotonic()
            seed_everything(self.seed, "step", step)
            self._step_rows = rows_of_step(step, self.rows, batch_size=self.config.batch_size, seed=self.seed)
            yield step, self._step_rows

    def finish_step(self, metrics: dict[str, float], *, tokens: int) -> None:
        """The optimiser step after the gradients of this step are there; writes the event and, when due, a checkpoint.

        Of several processes, each brings its share of the gradients; metrics and tokens are those of all.
        EngineError names step and rows when the loss or the gradient is not finite; the last checkpoint stays then.
        """
        config, step = self.config, self.step + 1
        batch = name_rows([self.row_ids[row] for row in self._step_rows])
        if not math.isfinite(metrics["loss"]):
            raise EngineError(f"the loss of step {step} ({batch}) is not finite; lower the learning rate or use fp32")
        rate = learning_rate(
            step, self.total, peak=config.learning_rate, warmup_share=config.warmup_share, shape=config.schedule
        )
        processes.sum_gradients(list(self.parameters.values()))
        norm = apply_step(self.optimiser, rate=rate, max_grad_norm=config.max_grad_norm, step=step, batch=batch)
        self.step = step
        seconds = time.monotonic() - self._step_began
        self._step_seconds = [*self._step_seconds, seconds][-RECENT_STEPS:]
        told = {**metrics, "grad_norm": norm, "lr": rate, "tokens_per_second": tokens / seconds}
        self.events.write("step", step=step, total_steps=self.total, eta_s=self._eta(), metrics=told)
        if step % config.checkpoint_every == 0 or step == self.total:
            self.save()

    def leave_if_requested(self) -> None:
        """Raise Stopped after SIGTERM. Call it between passes."""
        processes.leave(asked=stop.requested())

    def save(self) -> None:
        """Write a checkpoint of the last finished step."""
        tensors = checkpoint.training_tensors(self.parameters, self.optimiser)
        best = {name: sharding.whole_for_main(item) for name, item in self.kept.items()}
        if not processes.is_main():
            return
        keep = self.config.keep_checkpoints
        path = checkpoint.save(self.run_dir, self.step, tensors, self.state, keep=keep, best=best)
        self.events.write("checkpoint", step=self.step, path=str(path.relative_to(self.run_dir.path)))

    def _eta(self) -> float:
        """Seconds left: the mean of the last steps, and the last evaluation for each one to come."""
        every = self.config.eval_every
        evaluations = 1 + (self.total // every - self.step // every if every else 0)
        return (self.total - self.step) * statistics.mean(self._step_seconds) + evaluations * self._eval_seconds

    def weights(self) -> dict[str, Tensor]:
        """A copy of the trainable weights as they are now."""
        return {name: item.detach().clone() for name, item in self.parameters.items()}

    def put_weights(self, weights: dict[str, Tensor]) -> None:
        """Set the trainable weights."""
        with torch.no_grad():
            for name, item in self.parameters.items():
                item.copy_(sharding.like(item, weights[name]))

    def phase(self, name: str, done: int, total: int) -> None:
        """A phase event; leaves the run after SIGTERM."""
        self.leave_if_requested()
        self.events.write("phase", name=name, done=done, total=total)
