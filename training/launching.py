"""Starting and cancelling runs. The row is the truth; the queue only hears that there is something to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import transaction
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation import audit
from annotation.models import Action, Project, User
from models_registry.models import Kind, Version
from training.engine.config import load_config, to_dict
from training.models import Method, Run, Schedule, State
from training.snapshot_filter import Filter
from training.snapshots import HOLDOUT, Preview, freeze, preview
from training.telling import tell_finished

# Below this nothing can be learned that a held-out prompt could confirm.
LEAST_ROWS = 4
LEAST_PROMPTS = 2
LONGEST_NAME = 200  # characters, of `Run.model_name` and `Model.name`
LEARNING = (Method.SFT, Method.REWARD, Method.DPO, Method.PPO)
CANCELLED_EARLY = gettext_noop("Cancelled before it began.")
SUFFIX = {Method.SFT: "SFT", Method.REWARD: "reward model", Method.DPO: "DPO", Method.PPO: "PPO"}


class LaunchError(ValueError):
    """A launch that makes no sense. ``field`` is the argument at fault, the message one readable sentence."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a run of a learning method is made of, before anything is written."""

    method: Method
    project: Project
    base: Version
    reward: Version | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    chosen: Filter = field(default_factory=Filter)
    holdout: float = HOLDOUT

    def check(self) -> Preview:
        """What it would train on. Raises ConfigError or LaunchError."""
        load_config(self.method, self.values)
        _check_models(self.method, self.base, self.reward, self.values)
        found = preview(self.method, self.project, self.chosen, holdout=self.holdout)
        _check_amount(found)
        return found


def _check_models(method: Method, base: Version, reward: Version | None, values: Mapping[str, object]) -> None:
    if base.kind == Kind.REWARD:
        said = _("%(version)s is a reward model; it cannot answer prompts. Choose a base or a policy.")
        raise LaunchError("base", said % {"version": base})
    if method != Method.PPO:
        if reward is not None:
            said = _("%(method)s uses no reward model. Leave it empty.")
            raise LaunchError("reward", said % {"method": Method(method).label})
        return
    if reward is None:
        raise LaunchError("reward", _("PPO needs a reward model. Train one on this project first."))
    if reward.kind != Kind.REWARD:
        raise LaunchError("reward", _("%(version)s is not a reward model.") % {"version": reward})
    if reward.tokenizer_sha256 != base.tokenizer_sha256 and values.get("value_backbone") == "own":
        said = _(
            "%(reward)s has another tokenizer than %(base)s, so no value model can start from it. Choose one of the "
            "same family, or set the value backbone to shared."
        )
        raise LaunchError("reward", said % {"reward": reward, "base": base})


def _check_amount(found: Preview) -> None:
    if found.rows < LEAST_ROWS:
        said = _("Too little to learn from: %(n)s %(unit)s, at least %(least)s are needed.")
        raise LaunchError("project", said % {"n": found.rows, "unit": _(found.unit), "least": LEAST_ROWS})
    if found.prompts < LEAST_PROMPTS:
        said = _("Too few prompts: %(n)s, at least %(least)s are needed to hold one out.")
        raise LaunchError("project", said % {"n": found.prompts, "least": LEAST_PROMPTS})


def unfit_name(model_name: str) -> str:
    """Why a model cannot be called so, one sentence; "" if it can."""
    if not model_name.strip():
        return _("Give the model a name.")
    if len(model_name) > LONGEST_NAME:
        return _("A model's name has at most %(n)s characters. Give it a shorter one.") % {"n": LONGEST_NAME}
    return ""


def launch_run(
    *,
    method: str,
    project: Project | None,
    base: Version | None,
    reward: Version | None = None,
    values: Mapping[str, object],
    seed: int = 0,
    created_by: User | None,
    schedule: Schedule | None = None,
    chosen: Filter | None = None,
    holdout: float = HOLDOUT,
    model_name: str = "",
) -> Run:
    """Check, freeze the data, write the row and tell the `train` queue once the transaction is through.

    SFT, reward model, DPO and PPO need a project and a base. `import` needs neither, only its values and a
    ``model_name``. Raises ConfigError for the method's own options and LaunchError for everything else.
    """
    config = to_dict(load_config(method, values))
    kind = Method(method)
    with transaction.atomic():
        snapshot = None
        if kind in LEARNING:
            if project is None or base is None:
                raise LaunchError("project" if project is None else "base", _("This method needs it."))
            plan = Plan(
                method=kind,
                project=project,
                base=base,
                reward=reward,
                values=values,
                seed=seed,
                chosen=chosen or Filter(),
                holdout=holdout,
            )
            plan.check()
            snapshot = freeze(method=kind, project=project, created_by=created_by, chosen=plan.chosen, holdout=holdout)
            model_name = model_name or f"{project.name} · {SUFFIX[kind]}"
        elif kind != Method.IMPORT:
            raise LaunchError("method", _("%(method)s cannot be launched from here.") % {"method": kind.label})
        elif reason := unfit_name(model_name):
            raise LaunchError("model_name", reason)
        run = Run.objects.create(
            method=kind,
            project=project,
            base=base,
            reward=reward,
            snapshot=snapshot,
            schedule=schedule,
            config=config,
            seed=seed,
            model_name=model_name,
            created_by=created_by,
        )
        audit.record(Action.LAUNCHED, actor=created_by, project=project, what=run)
        announce(run.pk)
    return run


def announce(run_id: int) -> None:
    """Tell the `train` queue about a queued run once the current transaction is through. Harmless when told twice."""
    from training.tasks import execute_run

    Run.objects.filter(pk=run_id).update(enqueued_at=now())
    # Robust: a broker that is away is logged and not the launcher's problem; beat announces the run again.
    transaction.on_commit(lambda: execute_run.delay(run_id), robust=True)


def cancel_run(run: Run) -> bool:
    """Ask a run to stop. A queued one is cancelled at once, a running one by its worker. False: it had ended."""
    with transaction.atomic():
        queued = Run.objects.filter(state=State.QUEUED)
        if queued.finish(run.pk, state=State.CANCELLED, reason=CANCELLED_EARLY):
            tell_finished(run.pk)
            return True
    asked = Run.objects.filter(pk=run.pk, state=State.RUNNING).update(cancel_requested_at=now())
    return asked == 1
