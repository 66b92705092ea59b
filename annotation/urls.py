"""Pages of the labelling side, and the front page."""

from django.urls import path

from annotation.views import data, deciding, labelling, people, projects, quality

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
    path("projects/<slug:slug>/import/<int:pk>/errors.jsonl", data.report_errors, name="import-errors"),
    path("projects/<slug:slug>/export/", data.export, name="export"),
    path("projects/<slug:slug>/export/<slug:form>.jsonl", data.download_preferences, name="export-preferences"),
    path("projects/<slug:slug>/quality/", quality.project_quality, name="quality"),
    path("projects/<slug:slug>/quality/compute/", quality.compute_again, name="quality-compute"),
    path("projects/<slug:slug>/quality/age/", quality.age, name="quality-age"),
    path("projects/<slug:slug>/quality/quality.csv", quality.download, name="quality-csv"),
    path("projects/<slug:slug>/quality/people/<int:pk>/", quality.person_quality, name="quality-person"),
    path("projects/<slug:slug>/quality/mine/", quality.my_quality, name="quality-mine"),
    path("projects/<slug:slug>/quality/suspects/", deciding.suspects, name="suspects"),
    path("projects/<slug:slug>/adjudicate/", deciding.adjudicate, name="adjudicate"),
    path("projects/<slug:slug>/adjudicate/<int:pk>/", deciding.settle, name="settle"),
    path("projects/<slug:slug>/adjudicate/<int:pk>/take-back/", deciding.unsettle, name="unsettle"),
]
