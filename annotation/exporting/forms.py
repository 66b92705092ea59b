"""What somebody asks to have exported, checked."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.utils.timezone import make_aware
from django.utils.translation import gettext_lazy as _

from annotation.exporting.files import FILES
from annotation.exporting.streaming import SHAPES, shapes_for
from annotation.exporting.verdicts import RULE_TITLES, WEIGHTED
from annotation.exporting.wanted import Wanted
from annotation.models import Comparison, Project, User

NO_SUCH_ROWS = _("Nothing here can be such a row: the answers were judged one at a time. Choose: %(shapes)s.")
DAY = forms.DateInput(attrs={"type": "date"})


class ExportForm(forms.Form):
    """Everything has a default, so that an empty address is an export too."""

    shape = forms.ChoiceField(label=_("Rows"), required=False)
    file = forms.ChoiceField(
        label=_("File"), required=False, choices=[(name, file.TITLE) for name, file in FILES.items()]
    )
    votes = forms.ChoiceField(label=_("Where several people judged"), required=False, choices=list(RULE_TITLES.items()))
    margin = forms.BooleanField(
        required=False,
        label=_("With margin"),
        help_text=_("How much better, from 1 to 3, as TRL's reward trainer reads it; 0 where nobody said."),
    )
    since = forms.DateField(label=_("Votes from"), required=False, widget=DAY)
    until = forms.DateField(label=_("Votes until"), required=False, widget=DAY, help_text=_("This day is in it."))
    annotators = forms.ModelMultipleChoiceField(
        User.objects.none(), label=_("Votes by"), required=False, help_text=_("Nobody chosen: everybody's votes.")
    )
    agreement = forms.IntegerField(
        label=_("Least agreement, %"),
        required=False,
        min_value=0,
        max_value=100,
        help_text=_("The share of a comparison's votes that say the same."),
    )
    purpose = forms.ChoiceField(
        label=_("Comparisons made to"),
        required=False,
        choices=[*Comparison.Purpose.choices, ("any", _("any purpose"))],
        help_text=_("Collect: the ordinary work."),
    )

    def __init__(self, *arguments: Any, project: Project, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.shapes = shapes_for(project)
        self.default = Wanted(shape=self.shapes[0])
        shape, field = self.fields["shape"], self.fields["annotators"]
        assert isinstance(shape, forms.ChoiceField)
        assert isinstance(field, forms.ModelMultipleChoiceField)
        # The first is the one that is chosen.
        shape.choices = [(name, SHAPES[name].TITLE) for name in dict.fromkeys([*self.shapes, *SHAPES])]
        field.queryset = User.objects.filter(judgments__comparison__project=project).distinct().order_by("username")

    def clean(self) -> dict[str, Any]:
        told = self.cleaned_data
        name = told.get("shape") or self.default.shape
        shape = SHAPES[name]
        if name not in self.shapes:
            there = " · ".join(str(SHAPES[one].TITLE) for one in self.shapes)
            self.add_error("shape", NO_SUCH_ROWS % {"shapes": there})
        if told.get("margin") and "margin" not in shape.COLUMNS:
            self.add_error("margin", _("These rows have no margin: choose preferences for TRL, or leave it out."))
        if (told.get("votes") or Wanted.votes) not in shape.VOTES:
            rules = " · ".join(str(RULE_TITLES[name]) for name in shape.VOTES)
            self.add_error("votes", _("It does not go with these rows. Choose for them: %(rules)s.") % {"rules": rules})
        elif told.get("votes") == WEIGHTED and (told.get("since") or told.get("until") or told.get("annotators")):
            self.add_error("votes", _("That probability is of all votes: leave the days and the people empty for it."))
        if told.get("since") and told.get("until") and told["since"] > told["until"]:
            self.add_error("until", _("That day is before the first one: no vote is in between."))
        return told

    def wanted(self) -> Wanted | None:
        """The export asked for; None if what was asked is wrong."""
        if not self.is_bound:
            return self.default
        if not self.is_valid():
            return None
        told, default = self.cleaned_data, self.default
        purpose = told["purpose"] or default.purpose
        return Wanted(
            shape=told["shape"] or default.shape,
            file=told["file"] or default.file,
            votes=told["votes"] or default.votes,
            margin=told["margin"],
            since=_midnight(told["since"]) if told["since"] else None,
            before=_midnight(told["until"] + timedelta(days=1)) if told["until"] else None,
            annotators=tuple(person.pk for person in told["annotators"]),
            agreement=(told["agreement"] or 0) / 100,
            purpose="" if purpose == "any" else purpose,
        )


def _midnight(day: Any) -> datetime:
    return make_aware(datetime.combine(day, time.min))
