"""Launching the next round: a version answers prompts of a project, and the answers become comparisons there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotation import audit
from annotation.models import Action, Project, Prompt, User
from annotation.models.content import PromptQuerySet
from models_registry.models import Kind, Version
from training.engine.config import SampleConfig, load_config, to_dict
from training.launching import LaunchError, announce
from training.models import Method, Round, Run, RunQuerySet
from training.snapshots import freeze_prompts

MOST_ANSWERS = 9  # which make 36 pairs; as many as an import takes


class Which(models.TextChoices):
    """Which prompts of a project are answered."""

    IDLE = "idle", gettext_lazy("those without an open comparison")
    ALL = "all", gettext_lazy("all of the project")


@dataclass(frozen=True)
class RoundPreview:
    """What a launch would ask for. Fewer comparisons come of it where answers turn out equal."""

    prompts: int
    all_prompts: int
    idle_prompts: int
    answers: int
    comparisons: int
    against: Version | None
    against_prompts: int


def prompts_of(project: Project, which: str) -> PromptQuerySet:
    """The prompts that a round answers."""
    found = Prompt.objects.filter(project=project)
    return found.without_open_comparisons() if which == Which.IDLE else found


def preview_round(project: Project, *, which: str, n: int, against: Version | None = None) -> RoundPreview:
    """Count what `n` answers to each prompt would make, without freezing anything."""
    found = prompts_of(project, which)
    prompts, met = found.count(), found.answered_by(against).count() if against else 0
    return RoundPreview(
        prompts=prompts,
        all_prompts=prompts if which == Which.ALL else prompts_of(project, Which.ALL).count(),
        idle_prompts=prompts if which == Which.IDLE else prompts_of(project, Which.IDLE).count(),
        answers=prompts * n,
        comparisons=prompts * n * (n - 1) // 2 + met,
        against=against,
        against_prompts=met,
    )


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """Everything a round is made of, before anything is written. Without a seed it takes one that is new here."""

    project: Project
    base: Version
    which: str = Which.IDLE
    against: Version | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    seed: int | None = None

    def check(self) -> RoundPreview:
        """What it would make. Raises ConfigError or LaunchError."""
        config = load_config(Method.SAMPLE, self.values)
        assert isinstance(config, SampleConfig)
        if self.project.archived_at is not None:
            said = _("This project is archived, so nobody would judge the answers. Reopen it first.")
            raise LaunchError("project", said)
        self._check_models()
        if config.n > MOST_ANSWERS:
            said = _("At most %(n)s answers: every pair of them becomes a comparison.")
            raise LaunchError("n", said % {"n": MOST_ANSWERS})
        if config.n == 1 and self.against is None:
            raise LaunchError(
                "n", _("One answer alone cannot be compared: take two, or choose a version to compare with.")
            )
        found = preview_round(self.project, which=self.which, n=config.n, against=self.against)
        if not found.all_prompts:
            raise LaunchError("project", _("This project has no prompts yet. Import some first."))
        if not found.prompts:
            raise LaunchError("prompts", _("Every prompt has an open comparison. Have them judged first, or take all."))
        if self.against and not found.against_prompts:
            said = _("%(version)s has answered none of these prompts.")
            raise LaunchError("against", said % {"version": self.against})
        return found

    def _check_models(self) -> None:
        if self.base.kind == Kind.REWARD:
            said = _("%(version)s is a reward model; it cannot answer prompts.")
            raise LaunchError("base", said % {"version": self.base})
        if self.against == self.base:
            raise LaunchError("against", _("Its own answers are compared anyway. Choose another version, or none."))
        active = self._rounds_of_this_version().active().first()
        if active:
            said = _("%(version)s is answering this project's prompts already, in run %(run)s.")
            raise LaunchError("base", said % {"version": self.base, "run": active.pk})

    def _rounds_of_this_version(self) -> RunQuerySet:
        return Run.objects.filter(method=Method.SAMPLE, project=self.project, base=self.base)

    def new_seed(self) -> int:
        """The given seed, or the first above those of earlier rounds: the same seed gives the same answers."""
        if self.seed is not None:
            return self.seed
        highest: int | None = self._rounds_of_this_version().aggregate(highest=models.Max("seed"))["highest"]
        return 0 if highest is None else highest + 1


def launch_round(plan: RoundPlan, *, created_by: User | None) -> Run:
    """Check, freeze the prompts, write the rows and tell the `train` queue once the transaction is through.

    Raises ConfigError for the options and LaunchError for everything else.
    """
    plan.check()
    try:
        with transaction.atomic():
            snapshot = freeze_prompts(
                project=plan.project,
                prompts=prompts_of(plan.project, plan.which),
                chosen={"prompts": plan.which},
                created_by=created_by,
            )
            run = Run.objects.create(
                method=Method.SAMPLE,
                project=plan.project,
                base=plan.base,
                snapshot=snapshot,
                config=to_dict(load_config(Method.SAMPLE, plan.values)),
                seed=plan.new_seed(),
                created_by=created_by,
            )
            Round.objects.create(run=run, against=plan.against)
            audit.record(Action.LAUNCHED, actor=created_by, project=plan.project, what=run)
            announce(run.pk)
    except IntegrityError as error:  # the database lets one of two through that were launched at once
        said = _("%(version)s has just begun to answer this project's prompts.")
        raise LaunchError("base", said % {"version": plan.base}) from error
    return run
