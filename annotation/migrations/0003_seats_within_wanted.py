"""The database itself keeps `Judgment.seats` equal to its comparison's number of wanted judgments.

With the checks "seat <= seats" and "one judgment per seat" no comparison can get more judgments than it wants, and its
wanted number cannot be lowered below a seat that is taken.
"""

from django.db import migrations

ADD = """
ALTER TABLE annotation_judgment ADD CONSTRAINT judgment_seats_are_the_wanted_number
    FOREIGN KEY (comparison_id, seats) REFERENCES annotation_comparison (id, judgments_wanted)
    ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED
"""
DROP = "ALTER TABLE annotation_judgment DROP CONSTRAINT judgment_seats_are_the_wanted_number"


class Migration(migrations.Migration):
    dependencies = [("annotation", "0002_relations")]
    operations = [migrations.RunSQL(ADD, DROP)]
