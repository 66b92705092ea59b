"""Pages of the labelling side, and the front page."""

from django.urls import path

from annotation.views import data, labelling, people, projects

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
    path("projects/<slug:slug>/import/", data.upload, name="import"),
    path("projects/<slug:slug>/import/<int:pk>/", data.report, name="import-report"),
    path("projects/<slug:slug>/import/<int:pk>/start/", data.start, name="import-start"),
    path("projects/<slug:slug>/import/<int:pk>/cancel/", data.cancel, name="import-cancel"),
    path("projects/<slug:slug>/import/<int:pk>/live/", data.live, name="import-live"),
    path("projects/<slug:slug>/import/<int:pk>/errors.jsonl", data.report_errors, name="import-errors"),
    path("projects/<slug:slug>/export/", data.export, name="export"),
    path("projects/<slug:slug>/export/file/", data.download, name="export-file"),
]
