"""Pages of the training side."""

from django.urls import path

from training import views

urlpatterns = [
    path("runs/", views.index, name="runs"),
    path("runs/<int:pk>/", views.show, name="run"),
    path("runs/<int:pk>/live/", views.live, name="run-live"),
    path("runs/<int:pk>/metrics.json", views.metrics, name="run-metrics"),
    path("runs/<int:pk>/log.txt", views.log, name="run-log"),
    path("runs/<int:pk>/cancel/", views.cancel, name="run-cancel"),
    path("projects/<slug:slug>/runs/", views.of_project, name="project-runs"),
]
