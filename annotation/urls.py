"""Pages of the labelling side, and the front page."""

from django.urls import include, path

from annotation.views import auditing, data, labelling, people, projects, queueing

urlpatterns = [
    path("", projects.home, name="home"),
    path("", include("annotation.account_urls")),
    path("new-project/", projects.create, name="new-project"),
    path("projects/<slug:slug>/", projects.show, name="project"),
    path("projects/<slug:slug>/settings/", projects.edit, name="project-settings"),
    path("projects/<slug:slug>/members/", projects.members, name="members"),
    path("projects/<slug:slug>/members/invite/", people.invite_member, name="invite-member"),
    path("projects/<slug:slug>/members/<int:pk>/remove/", projects.remove_member, name="remove-member"),
    path("audit/", auditing.everywhere, name="audit"),
    path("audit.csv", auditing.everywhere_as_csv, name="audit-csv"),
    path("projects/<slug:slug>/audit/", auditing.of_project, name="project-audit"),
    path("projects/<slug:slug>/audit.csv", auditing.of_project_as_csv, name="project-audit-csv"),
    path("projects/<slug:slug>/label/", labelling.label, name="label"),
    path("projects/<slug:slug>/label/skip/", labelling.skip, name="skip"),
    path("projects/<slug:slug>/label/undo/", labelling.undo, name="undo"),
    path("projects/<slug:slug>/label/heartbeat/", labelling.heartbeat, name="heartbeat"),
    path("projects/<slug:slug>/label/release/", labelling.release, name="release"),
    path("projects/<slug:slug>/import/", data.upload, name="import"),
    path("projects/<slug:slug>/import/<int:pk>/", data.report, name="import-report"),
    path("projects/<slug:slug>/import/<int:pk>/errors.jsonl", data.report_errors, name="import-errors"),
    path("projects/<slug:slug>/queue/", queueing.settings, name="queue-settings"),
    path("projects/<slug:slug>/gold/", queueing.gold_pairs, name="gold"),
    path("projects/<slug:slug>/gold/mark/<int:pk>/", queueing.mark_gold, name="mark-gold"),
    path("projects/<slug:slug>/gold/<int:pk>/retire/", queueing.retire_gold, name="retire-gold"),
    path("projects/<slug:slug>/assignment/", queueing.assignment, name="assignment"),
    path("projects/<slug:slug>/assignment/teams/", queueing.save_team, name="new-team"),
    path("projects/<slug:slug>/assignment/teams/<int:pk>/", queueing.save_team, name="team"),
    path("projects/<slug:slug>/assignment/teams/<int:pk>/delete/", queueing.delete_team, name="delete-team"),
    path("projects/<slug:slug>/assignment/batches/", queueing.save_batch, name="new-batch"),
    path("projects/<slug:slug>/assignment/batches/<int:pk>/", queueing.save_batch, name="batch"),
    path("projects/<slug:slug>/assignment/batches/<int:pk>/delete/", queueing.delete_batch, name="delete-batch"),
    path("projects/<slug:slug>/assignment/people/<int:pk>/", queueing.change_person, name="change-person"),
    path("projects/<slug:slug>/export/", data.export, name="export"),
    path("projects/<slug:slug>/export/<slug:form>.jsonl", data.download_preferences, name="export-preferences"),
]
