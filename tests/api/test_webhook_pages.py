"""The pages of webhooks: for a project's managers; a secret is shown once."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from annotation.models import Project, User
from annotation.services import create_project
from api.models import Delivery, DeliveryState, Event, Webhook
from api.signing import secret_of
from api.webhooks import ToldAlreadyError, make_webhook, ping
from tests.at_once import at_once

SignIn = Callable[[User], Client]
SLUG = "everyday-help"
FORM: dict[str, Any] = {"url": "http://127.0.0.1:9/hook", "events": [Event.JUDGMENT_MADE, Event.RUN_FINISHED]}


@pytest.fixture(autouse=True)
def _here(settings: LazySettings) -> None:
    settings.WEBHOOK_NETWORKS = [ip_network("127.0.0.0/8")]


@pytest.fixture
def webhook(project: Project, manager: User) -> Webhook:
    return make_webhook(project=project, url="http://127.0.0.1:9/hook", events=[Event.RUN_FINISHED], created_by=manager)


def posts(webhook: Webhook) -> list[str]:
    return [
        reverse(name, args=[SLUG, webhook.pk])
        for name in ("test-webhook", "switch-webhook", "new-webhook-secret", "remove-webhook")
    ]


def test_a_manager_adds_a_webhook_and_sees_its_secret_once(project: Project, signed_in: SignIn, manager: User) -> None:
    client = signed_in(manager)
    made = client.post(reverse("webhooks", args=[SLUG]), FORM)
    webhook = Webhook.objects.get()
    secret = secret_of(webhook)
    assert (webhook.project, webhook.events, webhook.created_by) == (project, FORM["events"], manager)
    assert secret in made.content.decode()
    assert "no-store" in made.headers["Cache-Control"]
    for address in (reverse("webhooks", args=[SLUG]), reverse("webhook", args=[SLUG, webhook.pk])):
        page = client.get(address).content.decode()
        assert "http://127.0.0.1:9/hook" in page
        assert secret not in page


def test_a_page_sent_again_makes_no_second_webhook(project: Project, signed_in: SignIn, manager: User) -> None:
    """As a browser does when the page with the secret is reloaded. Another project's is its own."""
    client = signed_in(manager)
    client.post(reverse("webhooks", args=[SLUG]), FORM)
    again = client.post(reverse("webhooks", args=[SLUG]), FORM).content.decode()
    assert "This address is told already." in again
    assert Webhook.objects.count() == 1
    other = create_project(name="Other", manager=manager)
    client.post(reverse("webhooks", args=[other.slug]), FORM)
    assert Webhook.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_make_one_webhook(project: Project, manager: User) -> None:
    def click() -> str:
        try:
            make_webhook(project=project, url=FORM["url"], events=[Event.RUN_FINISHED], created_by=manager)
        except ToldAlreadyError:
            return "refused"
        return "made"

    assert sorted(at_once(click)) == ["made", "refused"]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"url": "http://10.0.0.1/"}, "not a public address"),
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "not a public address"),
        ({"url": "ftp://127.0.0.1/"}, "begins with https"),
        ({"url": "http://me:secret@127.0.0.1/"}, "a password in it"),
        ({"url": "javascript:alert(1)"}, "valid URL"),
        ({"events": []}, "required"),
        ({"events": ["everything"]}, "valid choice"),
    ],
)
def test_a_bad_address_is_refused_with_the_reason(
    project: Project, signed_in: SignIn, manager: User, wrong: dict[str, object], word: str
) -> None:
    page = signed_in(manager).post(reverse("webhooks", args=[SLUG]), FORM | wrong)
    assert word in page.content.decode()
    assert not Webhook.objects.exists()


def test_strangers_and_annotators_find_nothing(signed_in: SignIn, ann: User, stranger: User, webhook: Webhook) -> None:
    ping(webhook)
    again = reverse("send-delivery-again", args=[SLUG, webhook.pk, Delivery.objects.get().pk])
    for person in (ann, stranger):
        client = signed_in(person)
        assert client.get(reverse("webhooks", args=[SLUG])).status_code == 404
        assert client.post(reverse("webhooks", args=[SLUG]), FORM).status_code == 404
        assert client.get(reverse("webhook", args=[SLUG, webhook.pk])).status_code == 404
        assert [client.post(address).status_code for address in [*posts(webhook), again]] == [404] * 5
    assert Webhook.objects.get().off_at is None


def test_a_manager_of_another_project_finds_nothing(signed_in: SignIn, stranger: User, webhook: Webhook) -> None:
    create_project(name="Theirs", manager=stranger)
    client = signed_in(stranger)
    for name in ("test-webhook", "switch-webhook", "new-webhook-secret", "remove-webhook"):
        assert client.post(reverse(name, args=["theirs", webhook.pk])).status_code == 404
    assert Webhook.objects.filter(pk=webhook.pk, off_at=None).exists()


def test_what_changes_something_is_not_done_by_a_link(signed_in: SignIn, manager: User, webhook: Webhook) -> None:
    client = signed_in(manager)
    assert [client.get(address).status_code for address in posts(webhook)] == [405] * 4


def test_a_webhook_is_tested_turned_off_and_on_given_a_new_secret_and_removed(
    signed_in: SignIn, manager: User, webhook: Webhook
) -> None:
    client = signed_in(manager)
    test, switch, new_secret, remove = posts(webhook)
    client.post(test)
    assert Delivery.objects.get().event == "ping"
    client.post(switch)
    webhook.refresh_from_db()
    assert "by hand" in webhook.off_why
    client.post(test)
    assert Delivery.objects.count() == 1
    client.post(switch)
    webhook.refresh_from_db()
    assert (webhook.off_at, webhook.off_why) == (None, "")

    before = secret_of(webhook)
    shown = client.post(new_secret).content.decode()
    webhook.refresh_from_db()
    assert secret_of(webhook) != before
    assert secret_of(webhook) in shown

    client.post(remove)
    assert not Webhook.objects.exists()


def test_the_log_says_how_each_delivery_went_and_one_can_be_sent_again(
    signed_in: SignIn, manager: User, webhook: Webhook
) -> None:
    client = signed_in(manager)
    ping(webhook)
    Delivery.objects.update(
        state=DeliveryState.FAILED, attempts=7, status=503, error="<b>It was away.</b>", milliseconds=41
    )
    page = client.get(reverse("webhook", args=[SLUG, webhook.pk])).content.decode()
    assert "<b>503</b> &lt;b&gt;It was away.&lt;/b&gt;" in page
    assert "7 of 7" in page
    assert "41 ms" in page

    delivery = Delivery.objects.get()
    client.post(reverse("send-delivery-again", args=[SLUG, webhook.pk, delivery.pk]))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.WAITING, 0)


def test_the_list_says_of_a_delivery_that_waits_how_often_it_failed(
    signed_in: SignIn, manager: User, webhook: Webhook
) -> None:
    ping(webhook)
    client = signed_in(manager)
    assert "attempt" not in client.get(reverse("webhooks", args=[SLUG])).content.decode()
    Delivery.objects.update(attempts=2)
    assert "after 2 attempts," in client.get(reverse("webhooks", args=[SLUG])).content.decode()


@pytest.mark.parametrize("count", [1, 30])
def test_the_pages_ask_the_database_as_often_for_few_as_for_many(
    signed_in: SignIn,
    manager: User,
    webhook: Webhook,
    project: Project,
    django_assert_max_num_queries: Callable[..., object],
    count: int,
) -> None:
    for n in range(count):
        ping(make_webhook(project=project, url=f"{webhook.url}/{n}", events=[Event.RUN_FINISHED], created_by=manager))
        ping(webhook)
    client = signed_in(manager)
    with django_assert_max_num_queries(4):
        client.get(reverse("webhooks", args=[SLUG]))
    with django_assert_max_num_queries(5):
        client.get(reverse("webhook", args=[SLUG, webhook.pk]))
