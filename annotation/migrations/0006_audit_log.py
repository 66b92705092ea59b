"""The audit log, which the database lets grow and nothing else."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

REFUSE = """
CREATE FUNCTION annotation_audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
CREATE TRIGGER annotation_audit_log_is_append_only BEFORE UPDATE OR DELETE ON annotation_auditevent
    FOR EACH ROW EXECUTE FUNCTION annotation_audit_log_is_append_only()
"""
ALLOW = """
DROP TRIGGER annotation_audit_log_is_append_only ON annotation_auditevent;
DROP FUNCTION annotation_audit_log_is_append_only()
"""

ACTIONS = [
    ("signed-in", "signed in"),
    ("sign-in-failed", "failed to sign in"),
    ("signed-out", "signed out"),
    ("password", "changed the password"),
    ("two-factor", "changed two-factor sign-in"),
    ("link", "made a sign-in link"),
    ("invited", "invited"),
    ("role", "gave a role"),
    ("removed", "removed from the project"),
    ("created", "made the project"),
    ("settings", "changed the settings"),
    ("imported", "imported"),
    ("exported", "exported"),
    ("launched", "launched"),
    ("cancelled", "asked to cancel"),
    ("downloaded", "downloaded"),
    ("gold", "changed the gold pairs"),
    ("assigned", "changed who judges what"),
    ("token", "changed their API tokens"),
    ("webhook", "changed a webhook"),
    ("admin", "changed in the admin"),
    ("deleted", "deleted"),
    ("own-data", "took their own data"),
]


class Migration(migrations.Migration):
    dependencies = [("annotation", "0005_import_reports")]
    operations = [
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("action", models.CharField(choices=ACTIONS, max_length=16)),
                (
                    "what",
                    models.CharField(blank=True, help_text="Files, versions, runs, roles: in words.", max_length=300),
                ),
                (
                    "actor",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="annotation.project",
                    ),
                ),
                (
                    "subject",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["project", "-id"], name="audit_by_project"),
                    models.Index(fields=["actor", "-id"], name="audit_by_person"),
                ],
            },
        ),
        migrations.RunSQL(REFUSE, ALLOW),
    ]
