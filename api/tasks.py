"""What Celery runs. A task takes an id, claims and calls; the row decides."""

from __future__ import annotations

from celery import shared_task

from api import once, webhooks


@shared_task(ignore_result=True)
def deliver(delivery_id: int) -> None:
    webhooks.send(delivery_id)


@shared_task(ignore_result=True)
def send_due() -> None:
    webhooks.send_due()


@shared_task(ignore_result=True)
def forget_old() -> None:
    once.forget_old_answers()
    webhooks.forget_old_deliveries()
