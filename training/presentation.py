"""What the pages say about runs: the one number that matters, tables, charts, samples. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any

from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotation.models import Response
from models_registry.measures import words
from models_registry.sayings import said
from training.engine.config import describe
from training.models import TRAIN_QUEUE, Method, Run, RunEvent, State, Worker
from training.snapshots import read_rows

# The metric that says most about a run of each method; the first that it has.
HEADLINES: dict[str, tuple[str, ...]] = {
    Method.SFT: ("loss",),
    Method.REWARD: ("accuracy", "loss"),
    Method.DPO: ("margin", "accuracy", "loss"),
    Method.PPO: ("score", "kl"),
}
HEARTBEAT_LATE = timedelta(seconds=15)
MOST_COLUMNS = 3
SHOWN_PROMPTS = 3


@dataclass(frozen=True)
class Measure:
    """A metric now, and before training where that was measured; until a run's second evaluation there is no now."""

    name: str
    now: float | None
    before: float | None = None

    @property
    def words(self) -> str:
        return words(self.name)

    @property
    def change(self) -> float | None:
        return None if self.now is None or self.before is None else self.now - self.before


def measures(run: Run) -> list[Measure]:
    """Every metric of a run, in the order of the charts, then by name."""
    numbers = numbers_of(run.metrics)
    shown = [metric for chart in charts(run.method) for metric in chart.metrics]
    names = sorted(
        {name.removesuffix("_before") for name in numbers},
        key=lambda name: (shown.index(name) if name in shown else len(shown), name),
    )
    return [Measure(name, numbers.get(name), numbers.get(f"{name}_before")) for name in names]


def headline(run: Run) -> Measure | None:
    """The one metric for a list of runs."""
    found = {measure.name: measure for measure in measures(run) if measure.now is not None}
    return next((found[name] for name in HEADLINES.get(run.method, ()) if name in found), None)


def numbers_of(metrics: object) -> dict[str, float]:
    """The metrics that are one number; a reward model's calibration, for one, is a table."""
    return {
        name: float(value)
        for name, value in (metrics.items() if isinstance(metrics, dict) else ())
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


@dataclass(frozen=True)
class Chart:
    """One small plot: what it shows, in which unit, and why anybody should look at it."""

    title: str
    unit: str
    metrics: tuple[str, ...]
    help: str = ""
    more: bool = False


def charts(method: str) -> list[Chart]:
    """The charts of a method's run page; those without data are left out by the page."""
    margin = _("score") if method == Method.REWARD else _("nats")
    surrogate = method == Method.PPO  # whose loss is no likelihood, and falls or not while all goes well
    return [
        Chart(_("Loss"), "" if surrogate else _("nats"), ("loss",), _("What training lowers."), more=surrogate),
        Chart(_("Margin"), margin, ("margin",), _("How far the chosen answer is ahead of the rejected one.")),
        Chart(_("Accuracy"), _("share of pairs"), ("accuracy",), _("How often the chosen answer is ahead.")),
        Chart(_("Score"), _("reward"), ("score",), _("The reward model's mean score of sampled answers.")),
        Chart(
            _("KL to the base"), _("nats per answer"), ("kl",), _("How far the policy has moved from where it started.")
        ),
        Chart(
            _("Answer length"),
            _("tokens"),
            ("response_tokens",),
            _("Sampled answers; growth without reason is a warning."),
        ),
        Chart(_("Rewards"), margin, ("reward_chosen", "reward_rejected"), _("Chosen and rejected apart."), more=True),
        Chart(
            _("Log-probs"),
            _("nats"),
            ("logprob_chosen", "logprob_rejected"),
            _("Both may fall; both falling far is bad."),
            True,
        ),
        Chart(_("Share that ended"), _("share of answers"), ("share_ended",), more=True),
        Chart(
            _("Entropy"),
            _("nats per token"),
            ("entropy",),
            _("Falls as the policy becomes surer of itself."),
            more=True,
        ),
        Chart(_("Ratio"), "", ("ratio",), _("New to old policy; stays near 1."), more=True),
        Chart(_("Clip fraction"), _("share of tokens"), ("clip_fraction",), more=True),
        Chart(_("Approximate KL of a step"), _("nats"), ("approx_kl",), more=True),
        Chart(_("Value loss"), "", ("value_loss",), more=True),
        Chart(
            _("Explained variance"),
            _("share"),
            ("explained_variance",),
            _("Of the returns, by the value function."),
            more=True,
        ),
        Chart(_("KL penalty"), "β", ("beta",), more=True),
        Chart(_("Gradient norm"), "", ("grad_norm",), more=True),
        Chart(_("Learning rate"), "", ("lr",), more=True),
        Chart(_("Speed"), _("tokens per second"), ("tokens_per_second",), more=True),
    ]


def chart_plan(method: str) -> list[dict[str, Any]]:
    """The same for the script that draws them."""
    return [
        {**asdict(chart), "names": [words(metric) for metric in chart.metrics] if len(chart.metrics) > 1 else [""]}
        for chart in charts(method)
    ]


def points(run: Run, *, after: int = 0, most: int = 5000) -> tuple[list[list[Any]], int]:
    """``[seq, step, is_eval, numbers]`` of the events after a number, and the number to go on from."""
    found = run.events.filter(kind__in=("step", "eval"), seq__gt=after).values_list("seq", "step", "kind", "data")
    rows: list[list[Any]] = [
        [seq, step, kind == "eval", numbers_of(data.get("metrics"))] for seq, step, kind, data in found[:most]
    ]
    return rows, rows[-1][0] if rows else after


@dataclass(frozen=True)
class Said:
    """What the model answered at one step."""

    text: str = ""
    tokens: int | None = None
    ended: bool = True
    score: float | None = None


@dataclass
class Exchange:
    """One prompt and the answers to it, a column for each step."""

    messages: list[dict[str, str]]
    answers: list[Said] = field(default_factory=list)


@dataclass(frozen=True)
class Samples:
    titles: list[str]
    exchanges: list[Exchange]
    count: int


def samples(run: Run) -> Samples:
    """Answers to the same held-out prompts: the base model's, half-way, now; of a round, some of what it brought.

    The text is untrusted and unrendered.
    """
    if run.method == Method.SAMPLE:
        return round_samples(run)
    events = list(run.events.filter(kind="sample").order_by("seq"))
    shown = _first_middle_last(events)
    exchanges: dict[str, Exchange] = {}
    for column, event in enumerate(shown):
        for sample in _dicts(event.data.get("samples")):
            key = str(sample.get("id", ""))
            exchange = exchanges.setdefault(key, Exchange(_messages(sample.get("prompt"))))
            exchange.answers += [Said()] * (column - len(exchange.answers))
            exchange.answers.append(_said(sample))
    for exchange in exchanges.values():
        exchange.answers += [Said()] * (len(shown) - len(exchange.answers))
    titles = [_("step %(n)s") % {"n": event.step} if event.step else _("base") for event in shown]
    if len(titles) > 1 and run.state == State.SUCCEEDED:
        titles[-1] = _("now")
    return Samples(titles, list(exchanges.values()), len(events))


def round_samples(run: Run) -> Samples:
    """The first answers to the first prompts of a round, as they are in its project."""
    titles = [_("answer %(n)s") % {"n": number} for number in range(1, MOST_COLUMNS + 1)]
    if run.snapshot is None or not run.round.landed_prompts:
        return Samples(titles, [], 0)
    try:
        rows = list(islice(read_rows(run.snapshot, "prompts"), SHOWN_PROMPTS))
    except (OSError, ValueError):  # the frozen prompts are gone or damaged; what came of them is in the project
        rows = []
    exchanges = {int(row["id"]): Exchange(_messages(row["prompt"])) for row in rows}
    found = Response.objects.filter(prompt__in=exchanges, author=run.base, sampling__run=run.pk).order_by("id")
    for prompt_id, text, sampling in found.values_list("prompt_id", "text", "sampling"):
        if len(answers := exchanges[prompt_id].answers) < MOST_COLUMNS:
            answers.append(_said({"text": text, **sampling}))
    return Samples(titles, [exchange for exchange in exchanges.values() if exchange.answers], run.round.answers)


def _first_middle_last(events: list[RunEvent]) -> list[RunEvent]:
    if len(events) <= MOST_COLUMNS:
        return events
    return [events[0], events[len(events) // 2], events[-1]]


def _dicts(value: object) -> Iterable[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _messages(value: object) -> list[dict[str, str]]:
    return [{"role": str(turn.get("role", "")), "content": str(turn.get("content", ""))} for turn in _dicts(value)]


def _said(sample: dict[str, Any]) -> Said:
    tokens, score = sample.get("tokens"), sample.get("score")
    return Said(
        text=str(sample.get("text", "")),
        tokens=tokens if isinstance(tokens, int) else None,
        ended=bool(sample.get("ended", True)),
        score=float(score) if isinstance(score, int | float) else None,
    )


@dataclass(frozen=True)
class Setting:
    """One line of a run's configuration."""

    name: str
    value: object
    unit: str
    help: str
    changed: bool


def settings_of(run: Run) -> list[Setting]:
    """The options a run was launched with; those off their default first."""
    options = {option.name: option for option in describe(run.method)}
    found = [
        Setting(
            name,
            value,
            said(options[name].unit) if name in options else "",
            said(options[name].help) if name in options else "",
            name not in options or value != options[name].default,
        )
        for name, value in run.config.items()
    ]
    return sorted(found, key=lambda setting: not setting.changed)


@dataclass(frozen=True)
class Notice:
    """Something a person looking at a run should know. ``level`` is a class of the notice: warn, bad or empty."""

    text: str
    level: str = ""


def notices(run: Run) -> list[Notice]:
    """Why nothing moves, what went wrong, what the engine warned about."""
    found = []
    if run.state == State.FAILED:
        found.append(Notice(said(run.reason) or _("It failed without a reason."), "bad"))
    elif run.state == State.CANCELLED:
        found.append(Notice(said(run.reason)))
    elif run.state == State.QUEUED:
        found.append(_waiting(run))
    elif run.state == State.RUNNING and run.cancel_requested_at:
        found.append(Notice(_("Cancelling: the engine writes a checkpoint and leaves.")))
    elif run.state == State.RUNNING and run.heartbeat_at and now() - run.heartbeat_at > HEARTBEAT_LATE:
        silent = _("Its worker is silent. If it stays so, the run goes back to the queue by itself.")
        found.append(Notice(silent, "warn"))
    warnings = run.events.filter(kind="warning").values_list("data__message", flat=True)
    return found + [Notice(said(message), "warn") for message in dict.fromkeys(map(str, warnings[:50]))]


def _waiting(run: Run) -> Notice:
    if not Worker.objects.listening(TRAIN_QUEUE).exists():
        return Notice(_("No worker is listening on the train queue. It starts as soon as one does."), "warn")
    ahead = Run.objects.active().filter(pk__lt=run.pk).count()
    return Notice(_("Waiting: %(n)s ahead of it.") % {"n": ahead} if ahead else _("Waiting for a worker to take it."))
