"""Imports run in the background, and are fast: five indexes go whose columns another index begins with,
and the one by author leaves out what was imported.

The counts of work and votes follow rows that are copied in the role of replication too (annotation.importing.references).
"""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import annotation.models.importing

STATES = [
    ("draft", "not started"),
    ("queued", "queued"),
    ("running", "running"),
    ("succeeded", "done"),
    ("failed", "failed"),
    ("cancelled", "cancelled"),
]
REPORT = {
    "upload": models.FileField(blank=True, upload_to=annotation.models.importing.upload_name),
    "format": models.CharField(default="jsonl", max_length=20),
    "shape": models.CharField(blank=True, max_length=30),
    "author_label": models.CharField(blank=True, max_length=200),
    "state": models.CharField(choices=STATES, default="succeeded", max_length=10),
    "attempt": models.PositiveSmallIntegerField(default=0),
    "worker": models.CharField(blank=True, max_length=200),
    "heartbeat_at": models.DateTimeField(default=django.utils.timezone.now),
    "announced_at": models.DateTimeField(blank=True, null=True),
    "position": models.PositiveBigIntegerField(default=0),
    "progress": models.FloatField(default=0.0),
    "error": models.TextField(blank=True),
}
COUNT_ALWAYS = """
ALTER TABLE annotation_comparison ENABLE ALWAYS TRIGGER comparisons_added;
ALTER TABLE annotation_judgment ENABLE ALWAYS TRIGGER judgments_added;
"""
COUNT_ORDINARILY = COUNT_ALWAYS.replace("ENABLE ALWAYS", "ENABLE")


def lead_of_another(to: str, related_name: str) -> models.ForeignKey:
    return models.ForeignKey(
        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name=related_name, to=to
    )


class Migration(migrations.Migration):
    dependencies = [("annotation", "0009_quality"), ("models_registry", "0001_tables")]
    operations = [
        migrations.AddIndex("comparison", models.Index(fields=["project", "id"], name="comparisons_by_project")),
        migrations.AlterField("comparison", "project", lead_of_another("annotation.project", "comparisons")),
        migrations.AlterField("prompt", "project", lead_of_another("annotation.project", "prompts")),
        migrations.AlterField("response", "prompt", lead_of_another("annotation.prompt", "responses")),
        migrations.AlterField("preference", "project", lead_of_another("annotation.project", "preferences")),
        migrations.AlterField("preference", "judgment", lead_of_another("annotation.judgment", "preferences")),
        migrations.AddIndex(
            "response",
            models.Index(condition=models.Q(("author__isnull", False)), fields=["author"], name="responses_by_author"),
        ),
        migrations.AlterField(
            "response",
            "author",
            models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="responses",
                to="models_registry.version",
            ),
        ),
        migrations.RunSQL(COUNT_ALWAYS, COUNT_ORDINARILY),
        *(migrations.AddField("importreport", name, field) for name, field in REPORT.items()),
    ]
