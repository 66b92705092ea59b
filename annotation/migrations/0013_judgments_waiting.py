from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("annotation", "0012_settled")]
    operations = [
        migrations.AddIndex(
            "judgment",
            models.Index(fields=["comparison"], condition=Q(withdrawn_at=None, seat=None), name="judgments_waiting"),
        ),
    ]
