"""The API, and the pages about it."""

from django.urls import path

from api import pages, webhook_pages
from api.root import root

urlpatterns = [
    path("api/v1/", root.urls),
    path("account/tokens/", pages.tokens, name="api-tokens"),
    path("account/tokens/<int:pk>/revoke/", pages.revoke_token, name="revoke-api-token"),
    path("projects/<slug:slug>/webhooks/", webhook_pages.webhooks, name="webhooks"),
    path("projects/<slug:slug>/webhooks/<int:pk>/", webhook_pages.webhook, name="webhook"),
    path("projects/<slug:slug>/webhooks/<int:pk>/test/", webhook_pages.test, name="test-webhook"),
    path("projects/<slug:slug>/webhooks/<int:pk>/switch/", webhook_pages.switch, name="switch-webhook"),
    path("projects/<slug:slug>/webhooks/<int:pk>/secret/", webhook_pages.new_secret, name="new-webhook-secret"),
    path("projects/<slug:slug>/webhooks/<int:pk>/remove/", webhook_pages.remove, name="remove-webhook"),
    path(
        "projects/<slug:slug>/webhooks/<int:pk>/deliveries/<int:delivery_pk>/again/",
        webhook_pages.send_again,
        name="send-delivery-again",
    ),
]
