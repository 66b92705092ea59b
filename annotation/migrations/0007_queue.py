"""What the queue needs: arms, gold and repeats, batches and teams, shares and caps, and counts kept by triggers.

The counts (annotation.models.counts) follow every statement that writes comparisons or judgments, whoever sends it. A
statement that changes nothing in them writes nothing.
"""

from decimal import Decimal

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.math
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

COUNT_WORK = """
-- Adds to one of the project's rows that nobody else has locked, or to a new one: writers never wait for each other.
CREATE FUNCTION annotation_count_work(of_project bigint, more_wanted bigint, more_done bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE annotation_workcount SET wanted = wanted + more_wanted, done = done + more_done
     WHERE id = (SELECT id FROM annotation_workcount WHERE project_id = of_project LIMIT 1 FOR UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        INSERT INTO annotation_workcount (project_id, wanted, done) VALUES (of_project, more_wanted, more_done);
    END IF;
END $$;

CREATE FUNCTION annotation_comparisons_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM annotation_count_work(project_id, sum(judgments_wanted), sum(depth))
       FROM added WHERE purpose IN ('collect', 'evaluate') GROUP BY project_id;
    RETURN NULL;
END $$;
CREATE TRIGGER comparisons_added AFTER INSERT ON annotation_comparison
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION annotation_comparisons_added();

CREATE FUNCTION annotation_comparisons_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM annotation_count_work(project_id, sum(wanted), sum(done))
       FROM (SELECT project_id, judgments_wanted AS wanted, depth AS done FROM after_it
              WHERE purpose IN ('collect', 'evaluate')
             UNION ALL
             SELECT project_id, -judgments_wanted, -depth FROM before_it
              WHERE purpose IN ('collect', 'evaluate')) AS moved
      GROUP BY project_id HAVING sum(wanted) <> 0 OR sum(done) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER comparisons_changed AFTER UPDATE ON annotation_comparison
    REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
    FOR EACH STATEMENT EXECUTE FUNCTION annotation_comparisons_changed();

-- The project itself may be going, its counts already gone: nothing is added then.
CREATE FUNCTION annotation_comparisons_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE annotation_workcount SET wanted = annotation_workcount.wanted - gone.wanted,
                                    done = annotation_workcount.done - gone.done
      FROM (SELECT project_id, sum(judgments_wanted) AS wanted, sum(depth) AS done
              FROM removed WHERE purpose IN ('collect', 'evaluate') GROUP BY project_id) AS gone
     WHERE annotation_workcount.id = (SELECT min(id) FROM annotation_workcount count
                                       WHERE count.project_id = gone.project_id);
    RETURN NULL;
END $$;
CREATE TRIGGER comparisons_removed AFTER DELETE ON annotation_comparison
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION annotation_comparisons_removed();

INSERT INTO annotation_workcount (project_id, wanted, done)
SELECT project_id, sum(judgments_wanted), sum(depth) FROM annotation_comparison
 WHERE purpose IN ('collect', 'evaluate') GROUP BY project_id;
"""

COUNT_VOTES = """
CREATE FUNCTION annotation_judgments_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO annotation_votecount AS count (project_id, annotator_id, day, votes, seconds)
    SELECT comparison.project_id, added.annotator_id, (added.created_at AT TIME ZONE 'UTC')::date,
           count(*), sum(added.active_seconds)
      FROM added JOIN annotation_comparison comparison ON comparison.id = added.comparison_id
     WHERE added.withdrawn_at IS NULL GROUP BY 1, 2, 3
        ON CONFLICT (project_id, annotator_id, day)
        DO UPDATE SET votes = count.votes + EXCLUDED.votes, seconds = count.seconds + EXCLUDED.seconds;
    RETURN NULL;
END $$;
CREATE TRIGGER judgments_added AFTER INSERT ON annotation_judgment
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION annotation_judgments_added();

CREATE FUNCTION annotation_judgments_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO annotation_votecount AS count (project_id, annotator_id, day, votes, seconds)
    SELECT comparison.project_id, moved.annotator_id, (moved.created_at AT TIME ZONE 'UTC')::date,
           sum(moved.sign), sum(moved.sign * moved.active_seconds)
      FROM (SELECT *, 1 AS sign FROM after_it WHERE withdrawn_at IS NULL
            UNION ALL
            SELECT *, -1 FROM before_it WHERE withdrawn_at IS NULL) AS moved
      JOIN annotation_comparison comparison ON comparison.id = moved.comparison_id
     GROUP BY 1, 2, 3 HAVING sum(moved.sign) <> 0 OR sum(moved.sign * moved.active_seconds) <> 0
        ON CONFLICT (project_id, annotator_id, day)
        DO UPDATE SET votes = count.votes + EXCLUDED.votes, seconds = count.seconds + EXCLUDED.seconds;
    RETURN NULL;
END $$;
CREATE TRIGGER judgments_changed AFTER UPDATE ON annotation_judgment
    REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
    FOR EACH STATEMENT EXECUTE FUNCTION annotation_judgments_changed();

CREATE FUNCTION annotation_judgments_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE annotation_votecount AS count SET votes = count.votes - gone.votes, seconds = count.seconds - gone.seconds
      FROM (SELECT comparison.project_id, removed.annotator_id, (removed.created_at AT TIME ZONE 'UTC')::date AS day,
                   count(*) AS votes, sum(removed.active_seconds) AS seconds
              FROM removed JOIN annotation_comparison comparison ON comparison.id = removed.comparison_id
             WHERE removed.withdrawn_at IS NULL GROUP BY 1, 2, 3) AS gone
     WHERE (count.project_id, count.annotator_id, count.day) = (gone.project_id, gone.annotator_id, gone.day);
    RETURN NULL;
END $$;
CREATE TRIGGER judgments_removed AFTER DELETE ON annotation_judgment
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION annotation_judgments_removed();

INSERT INTO annotation_votecount (project_id, annotator_id, day, votes, seconds)
SELECT comparison.project_id, said.annotator_id, (said.created_at AT TIME ZONE 'UTC')::date,
       count(*), sum(said.active_seconds)
  FROM annotation_judgment said JOIN annotation_comparison comparison ON comparison.id = said.comparison_id
 WHERE said.withdrawn_at IS NULL GROUP BY 1, 2, 3;
"""

FORGET = """
DROP TRIGGER judgments_removed ON annotation_judgment;
DROP TRIGGER judgments_changed ON annotation_judgment;
DROP TRIGGER judgments_added ON annotation_judgment;
DROP TRIGGER comparisons_removed ON annotation_comparison;
DROP TRIGGER comparisons_changed ON annotation_comparison;
DROP TRIGGER comparisons_added ON annotation_comparison;
DROP FUNCTION annotation_judgments_removed, annotation_judgments_changed, annotation_judgments_added,
    annotation_comparisons_removed, annotation_comparisons_changed, annotation_comparisons_added,
    annotation_count_work;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("annotation", "0006_audit_log"),
        ("models_registry", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="Batch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Gold",
            fields=[
                (
                    "comparison",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="gold",
                        serialize=False,
                        to="annotation.comparison",
                    ),
                ),
                (
                    "expected",
                    models.JSONField(help_text="The ranking with ties, best first, as in a judgment's tiers."),
                ),
                ("both_bad", models.BooleanField(default=False)),
                ("explanation", models.TextField(blank=True, help_text="Markdown, shown after a practice pair.")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name="Team",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="VoteCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("votes", models.IntegerField()),
                ("seconds", models.FloatField()),
            ],
        ),
        migrations.CreateModel(
            name="WorkCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("wanted", models.BigIntegerField()),
                ("done", models.BigIntegerField()),
            ],
        ),
        migrations.RemoveIndex(
            model_name="comparison",
            name="open_comparisons",
        ),
        migrations.AddField(
            model_name="comparison",
            name="lot",
            field=models.FloatField(db_default=django.db.models.functions.math.Random(), editable=False),
        ),
        migrations.AddField(
            model_name="comparison",
            name="only_for",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="comparison",
            name="repeat_of",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="repeats",
                to="annotation.comparison",
            ),
        ),
        migrations.AddField(
            model_name="judgment",
            name="arm",
            field=models.CharField(
                blank=True,
                choices=[
                    ("order", "in order"),
                    ("random", "drawn at random"),
                    ("gold", "gold"),
                    ("repeat", "hidden repeat"),
                    ("practice", "practice"),
                ],
                db_default="",
                help_text="Empty for a source that asks no queue.",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="lease",
            name="arm",
            field=models.CharField(
                blank=True,
                choices=[
                    ("order", "in order"),
                    ("random", "drawn at random"),
                    ("gold", "gold"),
                    ("repeat", "hidden repeat"),
                    ("practice", "practice"),
                ],
                db_default="",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="membership",
            name="daily_cap",
            field=models.PositiveSmallIntegerField(
                blank=True, help_text="Judgments a day for this person; empty for the project's number.", null=True
            ),
        ),
        migrations.AddField(
            model_name="membership",
            name="passed_at",
            field=models.DateTimeField(
                blank=True, editable=False, help_text="When they passed the training phase, or were let in.", null=True
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="daily_cap",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="Judgments a person may give in a day (UTC).",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="gold_share",
            field=models.PositiveSmallIntegerField(
                default=5,
                help_text="Percent of hand-outs that are gold pairs, whose answer is known.",
                validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(50)],
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="pass_mark",
            field=models.PositiveSmallIntegerField(
                default=80,
                help_text="Percent of the practice pairs that must be judged as expected.",
                validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(100)],
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="practice_pairs",
            field=models.PositiveSmallIntegerField(
                default=0,
                help_text="Practice pairs before real work; 0 for none.",
                validators=[django.core.validators.MaxValueValidator(200)],
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="random_share",
            field=models.PositiveSmallIntegerField(
                default=10,
                help_text="Percent of hand-outs drawn at random, not in order.",
                validators=[
                    django.core.validators.MinValueValidator(10),
                    django.core.validators.MaxValueValidator(100),
                ],
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="repeat_share",
            field=models.PositiveSmallIntegerField(
                default=3,
                help_text="Percent of hand-outs that are hidden repeats of a person's own pairs.",
                validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(50)],
            ),
        ),
        migrations.AddField(
            model_name="response",
            name="written_by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="written_responses",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="comparison",
            name="purpose",
            field=models.CharField(
                choices=[
                    ("collect", "collect"),
                    ("gold", "gold"),
                    ("practice", "practice"),
                    ("repeat", "repeat"),
                    ("evaluate", "evaluate"),
                ],
                default="collect",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="project",
            name="overlap",
            field=models.DecimalField(
                decimal_places=2,
                default=Decimal(1),
                help_text="How many people judge each new comparison (1 to 50). 1.2: one in five is judged twice.",
                max_digits=4,
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(50)],
            ),
        ),
        migrations.AddIndex(
            model_name="response",
            index=models.Index(
                condition=models.Q(("written_by__isnull", False)),
                fields=["written_by"],
                name="responses_written_by_people",
            ),
        ),
        migrations.AddConstraint(
            model_name="project",
            constraint=models.CheckConstraint(
                condition=models.Q(("random_share__gte", 10), ("random_share__lte", 100)),
                name="random_share_at_least_10",
            ),
        ),
        migrations.AddConstraint(
            model_name="project",
            constraint=models.CheckConstraint(
                condition=models.Q(("gold_share__lte", 50), ("repeat_share__lte", 50)), name="half_the_work_is_new"
            ),
        ),
        migrations.AddConstraint(
            model_name="project",
            constraint=models.CheckConstraint(
                condition=models.Q(("pass_mark__lte", 100)), name="pass_mark_at_most_100"
            ),
        ),
        migrations.AddField(
            model_name="batch",
            name="people",
            field=models.ManyToManyField(blank=True, related_name="batches", to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name="batch",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="batches",
                to="annotation.project",
            ),
        ),
        migrations.AddField(
            model_name="comparison",
            name="batch",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="comparisons",
                to="annotation.batch",
            ),
        ),
        migrations.AddIndex(
            model_name="comparison",
            index=models.Index(
                condition=models.Q(("batch", None), ("closed_at", None), ("purpose__in", ("collect", "evaluate"))),
                fields=["project", "depth", "-priority", "id"],
                name="open_comparisons",
            ),
        ),
        migrations.AddIndex(
            model_name="comparison",
            index=models.Index(
                condition=models.Q(("batch", None), ("closed_at", None), ("purpose__in", ("collect", "evaluate"))),
                fields=["project", "lot"],
                name="open_comparisons_by_lot",
            ),
        ),
        migrations.AddIndex(
            model_name="comparison",
            index=models.Index(
                condition=models.Q(
                    ("batch__isnull", False), ("closed_at", None), ("purpose__in", ("collect", "evaluate"))
                ),
                fields=["batch", "depth", "-priority", "id"],
                name="given_comparisons",
            ),
        ),
        migrations.AddIndex(
            model_name="comparison",
            index=models.Index(
                condition=models.Q(
                    ("batch__isnull", False), ("closed_at", None), ("purpose__in", ("collect", "evaluate"))
                ),
                fields=["batch", "lot"],
                name="given_comparisons_by_lot",
            ),
        ),
        migrations.AddIndex(
            model_name="comparison",
            index=models.Index(
                condition=models.Q(("purpose__in", ("gold", "practice"))),
                fields=["project", "purpose", "id"],
                name="known_comparisons",
            ),
        ),
        migrations.AddIndex(
            model_name="comparison",
            index=models.Index(
                condition=models.Q(("closed_at", None), ("purpose", "repeat")),
                fields=["only_for", "project"],
                name="open_repeats",
            ),
        ),
        migrations.AddConstraint(
            model_name="comparison",
            constraint=models.UniqueConstraint(
                condition=models.Q(("purpose__in", ("gold", "practice"))),
                fields=("prompt", "response_ids"),
                name="one_known_comparison_per_set_of_answers",
            ),
        ),
        migrations.AddConstraint(
            model_name="comparison",
            constraint=models.UniqueConstraint(
                condition=models.Q(("purpose", "repeat")),
                fields=("repeat_of", "only_for"),
                name="one_repeat_per_person_and_comparison",
            ),
        ),
        migrations.AddConstraint(
            model_name="comparison",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("only_for__isnull", False), ("purpose", "repeat"), ("repeat_of__isnull", False)),
                    models.Q(models.Q(("purpose", "repeat"), _negated=True), ("only_for", None), ("repeat_of", None)),
                    _connector="OR",
                ),
                name="a_repeat_is_of_one_comparison_for_one_person",
            ),
        ),
        migrations.AddField(
            model_name="gold",
            name="created_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="people",
            field=models.ManyToManyField(blank=True, related_name="teams", to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name="team",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="teams",
                to="annotation.project",
            ),
        ),
        migrations.AddField(
            model_name="batch",
            name="teams",
            field=models.ManyToManyField(blank=True, related_name="batches", to="annotation.team"),
        ),
        migrations.AddField(
            model_name="votecount",
            name="annotator",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="vote_counts", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="votecount",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="vote_counts",
                to="annotation.project",
            ),
        ),
        migrations.AddField(
            model_name="workcount",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="work_counts", to="annotation.project"
            ),
        ),
        migrations.AddConstraint(
            model_name="team",
            constraint=models.UniqueConstraint(fields=("project", "name"), name="one_team_per_name"),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.UniqueConstraint(fields=("project", "name"), name="one_batch_per_name"),
        ),
        migrations.AddConstraint(
            model_name="votecount",
            constraint=models.UniqueConstraint(
                fields=("project", "annotator", "day"), name="one_vote_count_per_person_and_day"
            ),
        ),
        migrations.AlterField(
            model_name="judgment", name="seat", field=models.PositiveSmallIntegerField(blank=True, null=True)
        ),
        migrations.RunSQL(COUNT_WORK + COUNT_VOTES, FORGET),
    ]
