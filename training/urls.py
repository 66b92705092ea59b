"""Pages of the training side."""

from django.urls import path

from training import round_views, views

urlpatterns = [
    path("runs/", views.index, name="runs"),
    path("runs/<int:pk>/", views.show, name="run"),
    path("runs/<int:pk>/live/", views.live, name="run-live"),
    path("runs/<int:pk>/metrics.json", views.metrics, name="run-metrics"),
    path("runs/<int:pk>/log.txt", views.log, name="run-log"),
    path("runs/<int:pk>/cancel/", views.cancel, name="run-cancel"),
    path("projects/<slug:slug>/runs/", views.of_project, name="project-runs"),
    path("projects/<slug:slug>/next-round/", round_views.next_round, name="next-round"),
    path("projects/<slug:slug>/next-round/count/", round_views.count, name="next-round-count"),
    path("versions/<int:pk>/rounds/", round_views.of_version, name="version-rounds"),
]
