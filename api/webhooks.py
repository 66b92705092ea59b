"""Webhooks: what happens in a project becomes deliveries, and deliveries are sent until they arrive or are given up.

A delivery is a row, written in the transaction of what it tells. The queue only triggers; beat finds what is due.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from django.db import transaction
from django.utils.timezone import now
from django.utils.translation import gettext_noop

from annotation import audit
from annotation.happenings import Happening
from annotation.models import Action, Project, User
from api.models import PING, Delivery, DeliveryState, Webhook
from api.sending import Outcome, post
from api.signing import new_salt, signed_headers
from models_registry.sayings import saying

# How long to wait after each attempt that failed; after the last the delivery, and with it the webhook, is given up.
WAITS = tuple(timedelta(seconds=seconds) for seconds in (30, 120, 600, 3_600, 6 * 3_600, 24 * 3_600))
MOST_ATTEMPTS = len(WAITS) + 1
JITTER = 0.1
# Longer than any attempt takes: lookup, connection and deadline. A worker that dies holds a delivery up this long.
HELD = timedelta(minutes=2)
MOST_AT_ONCE = 500
KEPT_FOR = timedelta(days=30)
GIVEN_UP = saying(gettext_noop("A delivery failed %(n)d times, over more than a day.")) % {"n": MOST_ATTEMPTS}
USER_AGENT = "Prefloop-Webhook/1"


def note(happening: Happening) -> None:
    """A listener of `annotation.happenings`: write a delivery for every webhook that wants to know."""
    webhooks = Webhook.objects.wanting(happening.kind, happening.project_id)
    if webhooks:
        _write(webhooks, event=happening.kind, subject=happening.subject, facts=dict(happening.facts))


def ping(webhook: Webhook) -> None:
    """Tell a webhook that it works."""
    _write([webhook], event=PING, subject=f"{time.time_ns()}", facts={})


def _write(webhooks: Sequence[Webhook], *, event: str, subject: str, facts: dict[str, int | str]) -> None:
    when = now()
    Delivery.objects.bulk_create(
        [
            Delivery(
                webhook=webhook,
                event=event,
                subject=subject,
                body={
                    "type": event,
                    "timestamp": when.isoformat(),
                    "data": {"project": webhook.project.slug, **facts},
                },
            )
            for webhook in webhooks
        ],
        ignore_conflicts=True,  # told twice
    )
    written = Delivery.objects.filter(webhook__in=webhooks, event=event, subject=subject)
    trigger(list(written.values_list("pk", flat=True)))


def trigger(delivery_ids: Sequence[int]) -> None:
    """Tell the queue, once the transaction is through. Robust: without a broker beat finds them when it is back."""
    from api.tasks import deliver

    def enqueue() -> None:
        for pk in delivery_ids:
            deliver.apply_async((pk,), retry=False)

    transaction.on_commit(enqueue, robust=True)


def send(delivery_id: int) -> None:
    """One attempt at one delivery that is due, if nobody else is at it."""
    if not Delivery.objects.claim(delivery_id, until=now() + HELD):
        return
    delivery = Delivery.objects.select_related("webhook").get(pk=delivery_id)
    if delivery.webhook.off_at is not None:
        _conclude(delivery, DeliveryState.FAILED, Outcome(None, gettext_noop("The webhook is off."), 0))
        return
    body = json.dumps(delivery.body, ensure_ascii=False).encode()
    headers = signed_headers(
        delivery.webhook, message_id=f"delivery_{delivery.pk}", timestamp=int(time.time()), body=body
    )
    outcome = post(
        delivery.webhook.url, body, {**headers, "Content-Type": "application/json", "User-Agent": USER_AGENT}
    )
    if outcome.arrived:
        _conclude(delivery, DeliveryState.DELIVERED, outcome)
    elif delivery.attempts < MOST_ATTEMPTS:
        _conclude(delivery, DeliveryState.WAITING, outcome)
    else:
        _conclude(delivery, DeliveryState.FAILED, outcome)
        Webhook.objects.turn_off(delivery.webhook_id, why=GIVEN_UP)


def _conclude(delivery: Delivery, state: DeliveryState, outcome: Outcome) -> None:
    """Write an attempt down, unless another has been made since."""
    waits = state == DeliveryState.WAITING
    mine = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.WAITING, attempts=delivery.attempts)
    mine.update(
        state=state,
        status=outcome.status,
        error=outcome.error,
        milliseconds=outcome.milliseconds,
        tried_at=now(),
        due_at=now() + wait_after(delivery.attempts) if waits else delivery.due_at,
    )


def wait_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts, give or take a tenth, so that not everything comes back at once."""
    return WAITS[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  nothing secret about it


def send_due() -> int:
    """Tell the queue about everything that is due: retries, and what its broker forgot. Returns how many."""
    due = list(Delivery.objects.due().order_by("due_at").values_list("pk", flat=True)[:MOST_AT_ONCE])
    trigger(due)
    return len(due)


def send_again(delivery: Delivery) -> bool:
    """Start over with a delivery that failed or arrived. False: it is on its way."""
    over = Delivery.objects.filter(pk=delivery.pk).exclude(state=DeliveryState.WAITING)
    if over.update(state=DeliveryState.WAITING, attempts=0, due_at=now()) == 0:
        return False
    trigger([delivery.pk])
    return True


def forget_old_deliveries() -> int:
    """Delete what is over and older than a month. Returns how many."""
    over = Delivery.objects.exclude(state=DeliveryState.WAITING)
    return over.filter(created_at__lt=now() - KEPT_FOR).delete()[0]


class ToldAlreadyError(Exception):
    """The project has a webhook with this address."""


@transaction.atomic
def make_webhook(*, project: Project, url: str, events: Sequence[str], created_by: User) -> Webhook:
    """A webhook that is on, with a secret of its own. Raises ToldAlreadyError, also when a page is sent twice."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # one at a time
    if project.webhooks.filter(url=url).exists():
        raise ToldAlreadyError
    made = Webhook.objects.create(project=project, url=url, events=list(events), salt=new_salt(), created_by=created_by)
    _record(made, "new webhook", by=created_by)
    return made


@transaction.atomic
def renew_secret(webhook: Webhook, *, by: User) -> None:
    """Another secret; the one before ends at once."""
    webhook.salt = new_salt()
    webhook.save(update_fields=["salt"])
    _record(webhook, "new webhook secret", by=by)


def _record(webhook: Webhook, what: str, *, by: User) -> None:
    audit.record(Action.WEBHOOK, actor=by, project=webhook.project, what=f"{what} {name_in_log(webhook)}")


def name_in_log(webhook: Webhook) -> str:
    """Its number and its host alone: the rest of an address may be a secret of those who gave it."""
    return f"{webhook.pk} ({urlsplit(webhook.url).hostname})"
