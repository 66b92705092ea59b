"""What the import's bench says of its pace."""

from datetime import UTC, datetime, timedelta

from annotation.models import Comparison, Project
from bench.import_export import pace
from tests.annotation.test_importing import bring

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_pace_of_a_tenth_counts_the_batches_whose_time_is_known(project: Project) -> None:
    """Batches of two rows, one a second: its two batches are a second apart, in which two rows landed."""
    bring(project, *({"prompt": f"Q{n}", "responses": ["A", "B"]} for n in range(40)))
    for n, comparison in enumerate(Comparison.objects.order_by("id")):
        Comparison.objects.filter(pk=comparison.pk).update(created_at=START + timedelta(seconds=n // 2))
    assert (pace(project, 0.0), pace(project, 0.9)) == (2.0, 2.0)
