"""Four indexes go whose columns lead a unique constraint or another index: an import writes each of them for every row."""

import django.db.models.deletion
from django.db import migrations, models


def lead_of_another(to: str, related_name: str) -> models.ForeignKey:
    return models.ForeignKey(
        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name=related_name, to=to
    )


class Migration(migrations.Migration):
    dependencies = [("annotation", "0005_import_reports")]
    operations = [
        migrations.AlterField("prompt", "project", lead_of_another("annotation.project", "prompts")),
        migrations.AlterField("response", "prompt", lead_of_another("annotation.prompt", "responses")),
        migrations.AlterField("preference", "project", lead_of_another("annotation.project", "preferences")),
        migrations.AlterField("preference", "judgment", lead_of_another("annotation.judgment", "preferences")),
    ]
