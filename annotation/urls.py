"""Pages of the labelling side, and the front page."""

from django.urls import path

from annotation.views import data, flags, history, labelling, people, projects

urlpatterns = [
    path("", projects.home, name="home"),
    path("sign-in/", people.sign_in, name="sign-in"),
    path("sign-in/<str:token>/", people.sign_in_by_link, name="sign-in-link"),
    path("sign-out/", people.sign_out, name="sign-out"),
    path("account/", people.account, name="account"),
    path("account/password/", people.password, name="password"),
    path("projects/new/", projects.create, name="new-project"),
    path("projects/<slug:slug>/", projects.show, name="project"),
    path("projects/<slug:slug>/settings/", projects.edit, name="project-settings"),
    path("projects/<slug:slug>/members/", projects.members, name="members"),
    path("projects/<slug:slug>/members/<int:pk>/remove/", projects.remove_member, name="remove-member"),
    path("projects/<slug:slug>/label/", labelling.label, name="label"),
    path("projects/<slug:slug>/label/skip/", labelling.skip, name="skip"),
    path("projects/<slug:slug>/label/undo/", labelling.undo, name="undo"),
    path("projects/<slug:slug>/label/heartbeat/", labelling.heartbeat, name="heartbeat"),
    path("projects/<slug:slug>/label/release/", labelling.release, name="release"),
    path("projects/<slug:slug>/label/ahead/", labelling.ahead, name="ahead"),
    path("projects/<slug:slug>/label/flag/", labelling.flag, name="flag"),
    path("projects/<slug:slug>/label/history/", history.history, name="history"),
    path("projects/<slug:slug>/label/history/<int:pk>/", history.change, name="change-judgment"),
    path("projects/<slug:slug>/flags/", flags.flags, name="flags"),
    path("projects/<slug:slug>/flags/<int:pk>/settle/", flags.settle, name="settle-flag"),
    path("projects/<slug:slug>/import/", data.upload, name="import"),
    path("projects/<slug:slug>/import/<int:pk>/", data.report, name="import-report"),
    path("projects/<slug:slug>/import/<int:pk>/errors.jsonl", data.report_errors, name="import-errors"),
    path("projects/<slug:slug>/export/", data.export, name="export"),
    path("projects/<slug:slug>/export/<slug:form>.jsonl", data.download_preferences, name="export-preferences"),
]
