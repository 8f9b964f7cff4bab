"""Forms of the pages of judges and of preferences. They parse; the rules are in the services, shared with the API."""

from typing import Any

from django import forms

from annotation.models import Endpoint
from evaluation import judge_prompts, judging, preferences
from evaluation.forms import LimitsForm
from evaluation.models import Judge, Study
from evaluation.systems import usable_endpoints


class JudgeLimitsForm(LimitsForm):
    """What a judge's endpoint may be asked and may cost."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["budget"].help_text = "For this judge, in the currency of the endpoint's prices."
        self.fields["budget_tokens"].help_text = "Prompts and answers together."


class JudgeForm(JudgeLimitsForm):
    endpoint = forms.ModelChoiceField(
        Endpoint.objects.none(), empty_label=None, help_text="Those that administrators offer, with their models."
    )
    swap = forms.BooleanField(
        label="Ask about each page in both orders",
        required=False,
        initial=True,
        help_text="Twice the cost. Without it nobody can tell whether the judge leans to what it reads first.",
    )
    by_schema = forms.BooleanField(
        label="Have the server force the answer's form",
        required=False,
        initial=True,
        help_text="By a JSON schema; switched off by itself where the server does not know it.",
    )
    temperature = forms.FloatField(
        required=False,
        min_value=0,
        max_value=judging.MAX_TEMPERATURE,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text="Empty leaves it as the endpoint is set up.",
    )
    max_tokens = forms.IntegerField(
        label="Longest answer, in tokens", initial=1_000, min_value=1, max_value=Judge.MAX_TOKENS
    )
    seed = forms.IntegerField(
        initial=1, min_value=0, max_value=2**31 - 1, help_text="Of the order of outputs on each page."
    )
    prompt_template = forms.CharField(
        label="Prompt",
        required=False,
        strip=False,
        initial=judge_prompts.DEFAULT_TEMPLATE,
        widget=forms.Textarea(attrs={"rows": 16, "class": "plain", "dir": "auto"}),
        help_text="{instructions}, {criteria}, {question}, {answer}, {text} and {outputs} are filled in for each page. "
        "Nothing of the systems is. Other words are the project's next version.",
    )
    field_order = ("endpoint", "swap", "rate_per_minute", "budget", "budget_tokens")
    FOLDED = ("prompt_template", "temperature", "max_tokens", "seed", "by_schema")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["endpoint"].queryset = usable_endpoints()  # type: ignore[attr-defined]
        self.fields["endpoint"].label_from_instance = _named  # type: ignore[attr-defined]

    @property
    def main(self) -> list[forms.BoundField]:
        return [field for field in self.visible_fields() if field.name not in self.FOLDED]

    @property
    def folded(self) -> list[forms.BoundField]:
        return [self[name] for name in self.FOLDED]

    @property
    def folded_errors(self) -> bool:
        return any(self[name].errors for name in self.FOLDED)


def _named(endpoint: Endpoint) -> str:
    return f"{endpoint.name} ({endpoint.model})"


class PreferencesForm(forms.Form):
    """What makes a preference of a closed study. All have defaults."""

    by = forms.ChoiceField(label="Which output is better", required=False)
    least_votes = forms.IntegerField(
        label="Least people",
        required=False,
        min_value=1,
        help_text="Who preferred the output, or rated it higher.",
    )
    least_share = forms.IntegerField(
        label="Least share, in percent",
        required=False,
        min_value=0,
        max_value=100,
        help_text="Of those who saw both and chose; of preferences. Always more than half.",
    )
    distance = forms.FloatField(
        label="Least distance, in levels",
        required=False,
        min_value=0,
        max_value=preferences.MAX_DISTANCE,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text="Between the mean ratings of both by the same people; of ratings.",
    )
    use_rewrite = forms.TypedChoiceField(
        label="The approved rewrite, where it was hidden among the systems",
        required=False,
        choices=[("yes", "may be the preferred one"), ("no", "is never the preferred one")],
        coerce=lambda value: value != "no",
        empty_value=True,  # type: ignore[arg-type]
        help_text="The untouched original is never the preferred one.",
    )

    def __init__(self, data: Any = None, *, study: Study):
        defaults = preferences.Options()
        super().__init__(data or None, initial=vars(defaults) | {"use_rewrite": "yes"})
        self.fields["by"].choices = preferences.bases(study)  # type: ignore[attr-defined]
        if not study.asks_preference:
            del self.fields["least_share"]
        if not study.asks_criteria:
            del self.fields["distance"]

    @property
    def options(self) -> preferences.Options:
        """Of a form that is valid, or was not filled in."""
        given = self.cleaned_data if self.is_bound else {}
        return preferences.Options(**{name: value for name, value in given.items() if value not in (None, "")})
