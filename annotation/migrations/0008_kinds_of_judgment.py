import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q


def words():
    return django.contrib.postgres.fields.ArrayField(
        base_field=models.CharField(max_length=40), blank=True, db_default=[], default=list, size=None
    )


def switch():
    return models.BooleanField(db_default=False, default=False)


def response():
    return models.ForeignKey(
        blank=True,
        db_index=False,
        null=True,
        on_delete=django.db.models.deletion.CASCADE,
        related_name="+",
        to="annotation.response",
    )


class Migration(migrations.Migration):
    dependencies = [("annotation", "0007_queue")]

    operations = [
        migrations.AddField(
            "project",
            "kind",
            models.CharField(
                choices=[
                    ("pairs", "two answers at a time"),
                    ("ranking", "all answers to a prompt at once, put in order"),
                    ("single", "one answer at a time, good or bad"),
                ],
                db_default="pairs",
                default="pairs",
                max_length=10,
            ),
        ),
        migrations.AddField("project", "offers_both_good", switch()),
        migrations.AddField("project", "asks_acceptability", switch()),
        migrations.AddField("project", "offers_edit", switch()),
        migrations.AddField("project", "reason_tags", words()),
        migrations.AddField("project", "aspects", words()),
        migrations.AddField("judgment", "both_good", switch()),
        migrations.AddField("judgment", "tags", words()),
        migrations.AddField("judgment", "acceptable", models.JSONField(blank=True, db_default={}, default=dict)),
        migrations.AddField("judgment", "aspects", models.JSONField(blank=True, db_default={}, default=dict)),
        migrations.AddField("judgment", "edited", response()),
        migrations.AddField("judgment", "edit_of", response()),
        migrations.RemoveConstraint("comparison", "two_to_nine_responses"),
        migrations.AddConstraint(
            "comparison",
            models.CheckConstraint(
                condition=Q(response_ids__len__gte=1, response_ids__len__lte=9), name="one_to_nine_responses"
            ),
        ),
        migrations.AddConstraint(
            "judgment",
            models.CheckConstraint(condition=~Q(both_bad=True, both_good=True), name="not_both_good_and_both_bad"),
        ),
        migrations.AddConstraint(
            "judgment",
            models.CheckConstraint(
                condition=Q(edited=None, edit_of=None) | Q(edited__isnull=False, edit_of__isnull=False),
                name="an_edit_has_its_original",
            ),
        ),
        migrations.AddIndex(
            "judgment",
            models.Index(condition=Q(edited__isnull=False), fields=["edited"], name="judgments_by_edit"),
        ),
        migrations.AddIndex(
            "judgment",
            models.Index(condition=Q(edit_of__isnull=False), fields=["edit_of"], name="judgments_by_edited_response"),
        ),
        migrations.CreateModel(
            name="Flag",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("comment", models.CharField(max_length=1000)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "annotator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="flags",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "comparison",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="flags", to="annotation.comparison"
                    ),
                ),
                (
                    "settled_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
    ]
