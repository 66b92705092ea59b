from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("annotation", "0010_data")]
    operations = [
        migrations.AddIndex(
            "judgment",
            models.Index(
                fields=["withdrawn_at"], condition=Q(("withdrawn_at__isnull", False)), name="judgments_taken_back"
            ),
        ),
    ]
