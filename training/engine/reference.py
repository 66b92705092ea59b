"""The frozen reference that SFT and DPO are measured against: the model, and its log-probs of the pairs.

1. With adapters it is the trainee with adapters off. Where that will not do (another version is named, every weight is
   trained) it is a model of its own, loaded once; between two uses it waits in main memory.
2. Its log-probs of the pairs are computed once and kept in a file named by a hash of all that they depend on: the
   model's files, the pairs' ids (so data, tokenizer, template and max_length), the number format, and the budget of a
   pass, as rounding depends on the cut. In a folder that runs share, a run finds what another has computed.
3. They are kept as sums over response tokens, so that they serve every loss, averaged by length or not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from training.engine import processes, sharding
from training.engine.backbone import multiply_in
from training.engine.logprobs import all_logprobs
from training.engine.loop import Loop
from training.engine.models import Trainee, check_tokenizer, load_base, moved, pick_dtype
from training.engine.pairs import Pair
from training.engine.run_dir import ModelRef, sha256_of

CPU = torch.device("cpu")
CONFIGS = ("config.json", "adapter_config.json")


class Reference:
    """The reference of a trainee: another version where one is named, else the base it started from."""

    def __init__(self, trainee: Trainee, named: ModelRef | None, base: ModelRef, precision: str) -> None:
        self.trainee, self.ref = trainee, named or base
        self.is_own = named is not None or trainee.peft is None
        self.products = pick_dtype(precision, trainee.device)
        self.dtype = torch.float32 if trainee.peft is None else self.products  # as the trainee's weights
        self._own: PreTrainedModel | None = None

    @contextlib.contextmanager
    def speaks(self) -> Iterator[PreTrainedModel]:
        """Inside, the reference is ready to be asked. EngineError where its model cannot be loaded."""
        if not self.is_own:
            with self.trainee.as_reference():
                yield self.trainee.core
            return
        if self._own is None:
            self._own = multiply_in(load_base(self.ref, dtype=self.dtype, device=CPU), self.products)
            check_tokenizer(self.trainee.tokenizer, self._own)
            if processes.in_step():
                sharding.shard(self._own)
        if processes.in_step():
            yield self._own
        else:
            yield moved(self._own, self.dtype, self.trainee.device)
            moved(self._own, self.dtype, CPU)


def known_logprobs(
    reference: Reference, train: Sequence[Pair], held_out: Sequence[Pair], loop: Loop, folder: Path
) -> tuple[Tensor, Tensor]:
    """log π_ref of the chosen and rejected answers, (pairs, 2) to train on and held out: from the folder, or computed
    and left there. Leaves between passes after SIGTERM.
    """
    path = folder / f"reference-{key_of(reference, (train, held_out), loop.config.tokens_per_pass)}.safetensors"
    found = _read(path)
    if not processes.any_of(found is None):  # another run may just have written it: all decide alike
        return found["train"], found["eval"]  # type: ignore[index]
    with reference.speaks() as model:
        train_BK, eval_BK = compute_logprobs(model, train, held_out, loop)
    if processes.is_main():
        folder.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}.part")
        save_file({"train": train_BK, "eval": eval_BK}, aside)
        aside.replace(path)
    return train_BK, eval_BK


def compute_logprobs(
    model: PreTrainedModel, train: Sequence[Pair], held_out: Sequence[Pair], loop: Loop
) -> tuple[Tensor, Tensor]:
    """log-probs of the chosen and rejected answers under a model, (pairs, 2) each."""
    total = len(train) + len(held_out)

    def compute(pairs: Sequence[Pair], before: int) -> Tensor:
        return all_logprobs(
            model,
            [(pair.chosen, pair.rejected) for pair in pairs],
            loop.trainee.device,
            tokens_per_pass=loop.config.tokens_per_pass,
            on_pass=partial(_tell, loop, before, total),
        ).view(-1, 2)

    return compute(train, 0), compute(held_out, len(train))


def key_of(reference: Reference, groups: Sequence[Sequence[Pair]], tokens_per_pass: int) -> str:
    """A hash of all that the reference's log-probs of these pairs depend on."""
    device = reference.trainee.device.type
    digest = hashlib.sha256(f"{reference.dtype} {reference.products} {device} {tokens_per_pass}".encode())
    for line in _files(reference.ref):
        digest.update(line.encode())
    for pairs in groups:
        digest.update(array("q", [len(pairs)]).tobytes())
        for answer in (answer for pair in pairs for answer in (pair.chosen, pair.rejected)):
            prompt, response = answer.prompt_ids, answer.response_ids
            digest.update(array("q", [len(prompt), *prompt, len(response), *response]).tobytes())
    return digest.hexdigest()[:32]


def _files(ref: ModelRef) -> Iterator[str]:
    """Name and hash of every file that decides what a model computes."""
    for folder in filter(None, (ref.path, ref.adapter)):
        for path in sorted(Path(folder).iterdir()):
            if path.suffix == ".safetensors" or path.name in CONFIGS:
                yield f"\n{path.name} {sha256_of(path)}"


def _read(path: Path) -> dict[str, Tensor] | None:
    """What an earlier run, or an earlier attempt of this one, has left; None where it is not whole."""
    try:
        found = load_file(path)
    except (OSError, SafetensorError):
        return None
    return found if found.keys() == {"train", "eval"} else None


def _tell(loop: Loop, before: int, total: int, done: int) -> None:
    loop.phase("reference log-probs", before + done, total)
