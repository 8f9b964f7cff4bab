"""Forms of the evaluation pages. They parse; the rules are in the services, shared with the API."""

from django import forms
from django.core.exceptions import ValidationError

from evaluation import studies, systems
from evaluation.models import Study, System, SystemKind
from training.models import Dataset, Run, Split


class StudyForm(forms.ModelForm):
    class Meta:
        model = Study
        fields = ["name", "systems", "reference", "number_of_items", "chosen_ids", "instructions", "seed"]
        widgets = {
            "systems": forms.CheckboxSelectMultiple,
            "chosen_ids": forms.Textarea(attrs={"rows": 3, "class": "plain"}),
            "instructions": forms.Textarea(attrs={"rows": 6, "class": "plain", "dir": "auto"}),
            "name": forms.TextInput(attrs={"dir": "auto"}),
        }
        labels = {
            "number_of_items": "Number of texts",
            "chosen_ids": "Or exactly these texts",
            "systems": "Systems to compare",
        }
        help_texts = {
            "systems": f"{studies.MIN_SYSTEMS} to {studies.MAX_SYSTEMS}. Reviewers see no names.",
        }

    def __init__(self, *args, project, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.instance.project = project
        shown = System.objects.filter(project=project).shown_to(user)
        self.fields["systems"].queryset = shown  # type: ignore[attr-defined]
        self.fields["reference"].queryset = shown  # type: ignore[attr-defined]

    def clean(self):
        cleaned = super().clean() or {}
        if "systems" in cleaned and "reference" in cleaned:
            try:
                studies.check_systems(list(cleaned["systems"]), cleaned["reference"], self.instance.project_id)
            except ValidationError as error:
                self.add_error(None, error)
        return cleaned


class SystemForm(forms.Form):
    name = forms.CharField(max_length=120, widget=forms.TextInput(attrs={"dir": "auto"}))
    kind = forms.ChoiceField(
        label="What it is",
        choices=[
            (SystemKind.RUN, "The model of a run"),
            (SystemKind.BASE, "A base model alone, with a prompt"),
        ],
        widget=forms.RadioSelect,
        initial=SystemKind.RUN,
    )
    run = forms.ModelChoiceField(
        Run.objects.none(),
        required=False,
        empty_label="none",
        help_text="Whose model; for a base model alone, the run whose base and prompt it shares.",
    )
    base_model = forms.CharField(
        max_length=300,
        required=False,
        help_text="Without a run: a hub id or a folder on the GPU worker. Empty: the server's default.",
    )
    prompt_template = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "class": "plain", "dir": "auto"}),
        help_text="With {text} where the text goes. Empty: the run's own prompt, or the usual one.",
    )
    max_new_tokens = forms.IntegerField(
        label="Longest output, in tokens",
        initial=systems.DEFAULT_NEW_TOKENS,
        min_value=1,
        max_value=systems.MAX_NEW_TOKENS,
    )

    def __init__(self, *args, project, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["run"].queryset = systems.usable_runs(project.pk)  # type: ignore[attr-defined]


class GenerationForm(forms.Form):
    dataset = forms.ModelChoiceField(Dataset.objects.none(), empty_label=None)
    split = forms.ChoiceField(choices=Split.choices, initial=Split.TEST)

    def __init__(self, *args, project, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["dataset"].queryset = Dataset.objects.filter(project=project)  # type: ignore[attr-defined]


class PersonForm(forms.Form):
    person = forms.CharField(
        label="User name or e-mail address",
        max_length=254,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class UploadForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        help_text="UTF-8, with the columns external_id (or text, the exact text), system and output.",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
        allow_empty_file=True,  # the service says it, for page and API alike
    )
