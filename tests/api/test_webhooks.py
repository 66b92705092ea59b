"""Webhooks: what happens becomes a delivery, signed and sent until it arrives, and never to an address inside."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from ipaddress import ip_network
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.utils.timezone import now

from annotation.happenings import Happening, Kind, tell
from annotation.judging import withdraw
from annotation.models import Project, User
from annotation.services import create_project, record_judgment
from api import sending, webhooks
from api.models import Delivery, DeliveryState, Event, Webhook
from api.sending import post
from api.signing import new_salt, secret_of, signed_headers
from api.webhooks import MOST_ATTEMPTS, forget_old_deliveries, make_webhook, send, send_due, wait_after
from prefloop_client import BadSignatureError, verify
from tests.annotation.conftest import MakeComparison
from tests.importing import import_rows

HERE = ip_network("127.0.0.0/8")


class Receiver:
    """A program that takes messages on 127.0.0.1, and answers as a test wants."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = self._answer
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                receiver.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?a=1"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(self.answers.pop(0) if self.answers else 200)
        handler.send_header("Location", self.url)
        handler.end_headers()


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    settings.WEBHOOK_NETWORKS = [HERE]
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=[0.02])
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


@pytest.fixture
def webhook(project: Project, manager: User, receiver: Receiver) -> Webhook:
    return make_webhook(project=project, url=receiver.url, events=Event.values, created_by=manager)


def make_due() -> None:
    Delivery.objects.update(due_at=now())


def test_a_vote_is_told_with_ids_only_and_a_signature_that_holds(
    webhook: Webhook, receiver: Receiver, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison(judgments_wanted=2)
    judgment = record_judgment(
        comparison=comparison, annotator=ann, tiers=[[pk] for pk in comparison.response_ids], reason="private words"
    )
    delivery = Delivery.objects.get()
    send(delivery.pk)

    ((path, headers, body),) = receiver.got
    message = verify(body, headers, secret_of(webhook))
    assert path == "/hook?a=1"
    assert message["type"] == "judgment.made"
    assert message["data"] == {"project": "everyday-help", "judgment": judgment.pk, "comparison": comparison.pk}
    assert headers["webhook-id"] == f"delivery_{delivery.pk}"
    assert headers["content-type"] == "application/json"
    delivery.refresh_from_db()
    assert (delivery.state, delivery.status, delivery.attempts) == (DeliveryState.DELIVERED, 200, 1)
    send(delivery.pk)
    assert len(receiver.got) == 1


def test_a_signature_fails_with_another_secret_another_body_or_another_time(webhook: Webhook) -> None:
    body, stamp = b'{"type": "ping"}', int(time.time())
    headers = signed_headers(webhook, message_id="delivery_1", timestamp=stamp, body=body)
    secret = secret_of(webhook)
    assert verify(body, headers, secret) == {"type": "ping"}
    other = Webhook(pk=webhook.pk, salt=new_salt())
    for wrong_body, wrong_headers, wrong_secret in (
        (b'{"type": "pong"}', headers, secret),
        (body, headers | {"webhook-id": "delivery_2"}, secret),
        (body, headers | {"webhook-timestamp": str(stamp + 1)}, secret),
        (body, headers | {"webhook-signature": "v1,"}, secret),
        (body, {}, secret),
        (body, headers, secret_of(other)),
    ):
        with pytest.raises(BadSignatureError):
            verify(wrong_body, wrong_headers, wrong_secret)
    old = signed_headers(webhook, message_id="delivery_1", timestamp=stamp - 301, body=body)
    with pytest.raises(BadSignatureError, match="too old"):
        verify(body, old, secret)


@pytest.mark.parametrize(
    "forged",
    [
        {"webhook-timestamp": "9" * 400},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-timestamp": "\udce9"},
        {"webhook-signature": "v1,\udce9"},
        {"webhook-id": "\udce9"},
    ],
)
def test_whatever_a_forger_sends_is_a_bad_signature(webhook: Webhook, forged: dict[str, str]) -> None:
    """An undecodable byte of a header comes as half a surrogate pair."""
    headers = signed_headers(webhook, message_id="delivery_1", timestamp=int(time.time()), body=b"{}")
    with pytest.raises(BadSignatureError):
        verify(b"{}", headers | forged, secret_of(webhook))


def test_the_signature_is_that_of_standard_webhooks(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the specification, with its key instead of ours."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    monkeypatch.setattr("api.signing._key", lambda _: key)
    headers = signed_headers(
        webhook, message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body=b'{"test": 2432232314}'
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_comparison_is_finished_with_its_last_vote_and_again_after_a_withdrawal(
    webhook: Webhook, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison(judgments_wanted=2)
    finished = Delivery.objects.filter(event=Event.COMPARISON_FINISHED)
    record_judgment(comparison=comparison, annotator=ann, tiers=[comparison.response_ids])
    assert finished.count() == 0
    last = record_judgment(comparison=comparison, annotator=ben, tiers=[comparison.response_ids])
    assert finished.get().body["data"]["judgment"] == last.pk
    withdraw(last)
    record_judgment(comparison=comparison, annotator=ben, tiers=[comparison.response_ids])
    assert finished.count() == 2


def test_a_vote_that_is_rolled_back_is_never_told(webhook: Webhook, ann: User, make_comparison: MakeComparison) -> None:
    comparison = make_comparison()
    with transaction.atomic():
        record_judgment(comparison=comparison, annotator=ann, tiers=[comparison.response_ids])
        assert Delivery.objects.count() == 2
        transaction.set_rollback(True)
    assert not Delivery.objects.exists()


def test_an_import_is_told_when_it_is_finished(webhook: Webhook, project: Project) -> None:
    lines = BytesIO(b'{"prompt": "Why?", "responses": ["So.", "Hm."]}\nbad\n')
    report = import_rows(project=project, file=lines)
    assert Delivery.objects.get().body["data"] == {
        "project": "everyday-help",
        "import": report.pk,
        "comparisons_added": 1,
        "bad_rows": 1,
    }


def test_only_webhooks_of_the_project_that_want_it_and_are_on_are_told(
    webhook: Webhook, project: Project, manager: User
) -> None:
    other = create_project(name="Other", manager=manager)
    make_webhook(project=other, url=webhook.url, events=Event.values, created_by=manager)
    make_webhook(project=project, url=f"{webhook.url}/runs", events=[Event.RUN_FINISHED], created_by=manager)
    off = make_webhook(project=project, url=f"{webhook.url}/off", events=Event.values, created_by=manager)
    Webhook.objects.turn_off(off.pk, why="not needed")
    tell(Happening(Kind.IMPORT_FINISHED, project.pk, "1"))
    assert Delivery.objects.get().webhook == webhook


def test_what_is_told_twice_is_delivered_once(webhook: Webhook, project: Project) -> None:
    for _ in range(2):
        tell(Happening(Kind.VERSION_REGISTERED, project.pk, "7", {"version": 7}))
    assert Delivery.objects.count() == 1


def test_what_fails_is_sent_again_later_and_later(webhook: Webhook, receiver: Receiver) -> None:
    receiver.answers = [500, 302, 200]
    webhooks.ping(webhook)
    pk = Delivery.objects.get().pk

    send(pk)
    first = Delivery.objects.get()
    assert (first.state, first.status, first.attempts) == (DeliveryState.WAITING, 500, 1)
    assert timedelta(seconds=26) < first.due_at - now() < timedelta(seconds=33)
    assert send_due() == 0
    send(pk)
    assert len(receiver.got) == 1  # not due

    make_due()
    assert send_due() == 1
    send(pk)
    second = Delivery.objects.get()
    assert (second.state, second.status, second.attempts) == (DeliveryState.WAITING, 302, 2)
    assert "redirect, which is not followed" in second.error
    assert timedelta(seconds=107) < second.due_at - now() < timedelta(seconds=132)

    make_due()
    send(pk)
    assert Delivery.objects.get().state == DeliveryState.DELIVERED
    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1


def test_the_waits_add_up_to_more_than_a_day() -> None:
    waits = [wait_after(attempts) for attempts in range(1, MOST_ATTEMPTS)]
    assert sum(waits, timedelta()) > timedelta(days=1)
    assert waits == sorted(waits)


def test_after_the_last_attempt_the_webhook_is_turned_off_and_says_why(webhook: Webhook, receiver: Receiver) -> None:
    receiver.answers = [503] * MOST_ATTEMPTS
    webhooks.ping(webhook)
    for _ in range(MOST_ATTEMPTS):
        make_due()
        send(Delivery.objects.get().pk)
    delivery = Delivery.objects.get()
    webhook.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, MOST_ATTEMPTS)
    assert webhook.off_at is not None
    assert f"{MOST_ATTEMPTS} times" in webhook.off_why


def test_what_waits_is_not_sent_to_a_webhook_that_is_off(webhook: Webhook, receiver: Receiver) -> None:
    webhooks.ping(webhook)
    Webhook.objects.turn_off(webhook.pk, why="enough")
    send(Delivery.objects.get().pk)
    assert Delivery.objects.get().state == DeliveryState.FAILED
    assert receiver.got == []


def test_of_two_workers_one_sends(webhook: Webhook, receiver: Receiver) -> None:
    webhooks.ping(webhook)
    pk = Delivery.objects.get().pk
    assert Delivery.objects.claim(pk, until=now() + webhooks.HELD)
    send(pk)
    assert receiver.got == []


def test_what_is_over_is_forgotten_after_a_month(webhook: Webhook, receiver: Receiver) -> None:
    webhooks.ping(webhook)
    Delivery.objects.update(created_at=now() - webhooks.KEPT_FOR)
    assert forget_old_deliveries() == 0
    send(Delivery.objects.get().pk)
    assert forget_old_deliveries() == 1


def test_an_address_inside_is_refused_when_it_is_sent_to(
    webhook: Webhook, receiver: Receiver, settings: LazySettings
) -> None:
    settings.WEBHOOK_NETWORKS = []
    outcome = post(receiver.url, b"{}", {})
    assert (outcome.status, receiver.got) == (None, [])
    assert "127.0.0.1 is not a public address" in outcome.error


def test_the_connection_goes_to_the_address_that_was_checked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that has a public address when it is looked up first and one inside afterwards (DNS rebinding)."""
    looked_up: list[str] = []
    connected: list[Any] = []
    real_connect = socket.create_connection

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        looked_up.append(host)
        address = "93.184.215.14" if len(looked_up) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(address: tuple[str, int], **more: Any) -> socket.socket:
        connected.append(address)
        monkeypatch.undo()
        return real_connect(("127.0.0.1", receiver.server.server_port), **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    assert post("http://rebinding.example:8080/hook", b"{}", {}).status == 200
    assert looked_up == ["rebinding.example"]
    assert connected == [("93.184.215.14", 8080)]
    assert receiver.got[0][1]["host"] == "rebinding.example:8080"


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answers = [307]
    outcome = post(receiver.url, b"{}", {})
    assert (outcome.status, outcome.arrived, len(receiver.got)) == (307, False, 1)


def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert post(receiver.url, b"{}", {}).status == 200


@pytest.mark.parametrize("early", [b"", b"HTTP/1.1 2"])
def test_an_answer_that_trickles_in_is_cut_off(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, early: bytes
) -> None:
    monkeypatch.setattr(sending, "DEADLINE_SECONDS", 0.6)
    over = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(early)
        for _ in range(100):
            if over.wait(0.1):
                return
            try:
                handler.wfile.write(b"0" if early else b"")
                handler.wfile.flush()
            except OSError:
                return

    receiver.answer = trickle
    began = time.monotonic()
    outcome = post(receiver.url, b"{}", {})
    over.set()
    assert outcome.status is None
    assert "answer within" in outcome.error
    assert time.monotonic() - began < 3


def test_a_server_that_is_not_there_is_told(settings: LazySettings) -> None:
    settings.WEBHOOK_NETWORKS = [HERE]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    outcome = post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert outcome.status is None
    assert outcome.error == "Nothing answers at this address and port: the connection was refused."


def test_a_certificate_must_be_for_the_name_that_was_asked_for(receiver: Receiver) -> None:
    """The receiver speaks no TLS at all: nothing of the message reaches it."""
    outcome = post(receiver.url.replace("http:", "https:"), b'{"type": "ping"}', {})
    assert outcome.status is None
    assert receiver.got == []


def test_the_secret_follows_from_the_sites_key_and_the_salt_and_is_not_in_the_database(
    webhook: Webhook, settings: LazySettings
) -> None:
    secret = secret_of(webhook)
    assert secret.startswith("whsec_")
    assert secret.removeprefix("whsec_") not in json.dumps(list(Webhook.objects.values()), default=str)
    assert secret_of(Webhook(pk=webhook.pk, salt=new_salt())) != secret
    settings.SECRET_KEY = "another"
    assert secret_of(webhook) != secret
