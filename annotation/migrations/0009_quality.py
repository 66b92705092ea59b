import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotation", "0008_kinds_of_judgment"),
    ]

    operations = [
        migrations.CreateModel(
            name="PairLabel",
            fields=[
                (
                    "comparison",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="label",
                        serialize=False,
                        to="annotation.comparison",
                    ),
                ),
                ("first_better", models.FloatField()),
                ("doubt", models.FloatField()),
                ("votes", models.PositiveSmallIntegerField()),
                (
                    "preferring_votes",
                    models.PositiveSmallIntegerField(help_text="Votes for one of the two answers: no ties."),
                ),
                ("is_split", models.BooleanField(help_text="It has votes for either answer.")),
            ],
        ),
        migrations.CreateModel(
            name="QualityReport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("numbers", models.JSONField(default=dict)),
                ("votes_counted", models.PositiveIntegerField(default=0)),
                ("computed_at", models.DateTimeField(blank=True, null=True)),
                ("seconds", models.FloatField(default=0.0)),
                ("asked_at", models.DateTimeField(blank=True, null=True)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("error", models.TextField(blank=True)),
            ],
        ),
        migrations.AddField(
            model_name="judgment",
            name="decides",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddConstraint(
            model_name="judgment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("decides", True), ("withdrawn_at", None)),
                fields=("comparison",),
                name="one_decision_per_comparison",
            ),
        ),
        migrations.AddField(
            model_name="pairlabel",
            name="project",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="annotation.project"
            ),
        ),
        migrations.AddField(
            model_name="qualityreport",
            name="project",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="quality", to="annotation.project"
            ),
        ),
        migrations.AddIndex(
            model_name="pairlabel",
            index=models.Index(fields=["project", "-doubt", "comparison"], name="labels_by_doubt"),
        ),
        migrations.AddConstraint(
            model_name="pairlabel",
            constraint=models.CheckConstraint(
                condition=models.Q(("first_better__gte", 0), ("first_better__lte", 1)),
                name="first_better_is_a_probability",
            ),
        ),
        migrations.AddConstraint(
            model_name="pairlabel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("doubt__gte", 0), ("doubt__lte", 0.5), ("preferring_votes__lte", models.F("votes"))
                ),
                name="label_makes_sense",
            ),
        ),
    ]
