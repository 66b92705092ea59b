from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotation", "0011_judgments_taken_back")]
    operations = [
        migrations.AlterField(
            model_name="auditevent",
            name="action",
            field=models.CharField(
                choices=[
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
                    ("settled", "settled a dispute or flag"),
                    ("assigned", "changed who judges what"),
                    ("token", "changed their API tokens"),
                    ("webhook", "changed a webhook"),
                    ("admin", "changed in the admin"),
                    ("deleted", "deleted"),
                    ("own-data", "took their own data"),
                ],
                max_length=16,
            ),
        ),
    ]
