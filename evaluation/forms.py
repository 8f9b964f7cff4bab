"""Forms of the evaluation pages. They parse; the rules are in the services, shared with the API."""

from django import forms
from django.core.exceptions import ValidationError

from evaluation import studies
from evaluation.models import Study, System


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
        systems = System.objects.filter(project=project).shown_to(user)
        self.fields["systems"].queryset = systems  # type: ignore[attr-defined]
        self.fields["reference"].queryset = systems  # type: ignore[attr-defined]

    def clean(self):
        cleaned = super().clean() or {}
        if "systems" in cleaned and "reference" in cleaned:
            try:
                studies.check_systems(
                    list(cleaned["systems"]), cleaned["reference"], self.instance.project_id
                )
            except ValidationError as error:
                self.add_error(None, error)
        return cleaned


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
    )
