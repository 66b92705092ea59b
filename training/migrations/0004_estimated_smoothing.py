from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("training", "0003_rounds"),
    ]

    operations = [
        migrations.AddField(
            model_name="schedule",
            name="estimates_smoothing",
            field=models.BooleanField(
                default=False,
                help_text="DPO's label smoothing is the share of wrong votes, as estimated at each launch.",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(("estimates_smoothing", False), ("method", "dpo"), _connector="OR"),
                name="only_dpo_estimates_smoothing",
            ),
        ),
    ]
