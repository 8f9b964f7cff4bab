"""Forms of the training pages. The rules are those of runs.py."""

import dataclasses

from django import forms

from training import prompts, publishing
from training.models import Dataset, PublicationPlace, PublicationWhat, Recipe, Run
from training.parameters import PRESETS, SEED_LIMIT, Hyperparameters


class RecipeForm(forms.Form):
    """One field for each hyperparameter, with the label, help and limits that parameters.py gives it."""

    name = forms.CharField(max_length=200)
    base_model = forms.CharField(
        required=False,
        max_length=300,
        help_text="A hub id (organisation/model) or the full path of a folder on the GPU worker. Empty: the server's "
        "default model, or a scratch model where that cannot be loaded.",
    )
    prompt_template = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 5, "class": "plain"}),
        initial=prompts.DEFAULT_TEMPLATE,
        strip=False,
        help_text="{text} stands where the text goes. A chat template of the base model is put around it.",
    )

    def __init__(self, *args, preset: str = "cpu-demo", **kwargs) -> None:
        super().__init__(*args, **kwargs)
        chosen = PRESETS.get(preset, PRESETS["cpu-demo"])
        self.fields["name"].initial = chosen.name
        self.fields["base_model"].initial = chosen.base_model
        for spec in dataclasses.fields(Hyperparameters):
            self.fields[spec.name] = _field(spec, getattr(chosen.parameters, spec.name))

    def hyperparameters(self) -> dict:
        return {spec.name: self.cleaned_data[spec.name] for spec in dataclasses.fields(Hyperparameters)}


def _field(spec: dataclasses.Field, value) -> forms.Field:
    """The limits are checked in parameters.py, for the form and the API alike; here is only the kind of control."""
    common = {"label": spec.metadata["label"], "help_text": spec.metadata["help"], "initial": value}
    if spec.type is bool:
        return forms.BooleanField(required=False, **common)
    if "choices" in spec.metadata:
        return forms.ChoiceField(choices=[(choice, choice) for choice in spec.metadata["choices"]], **common)
    if spec.type is int:
        return forms.IntegerField(**common)
    if spec.type is float:
        return forms.FloatField(**common, widget=forms.NumberInput(attrs={"step": "any"}))
    return forms.CharField(**common)


class RunForm(forms.Form):
    name = forms.CharField(required=False, max_length=200, help_text="Made from the recipe and dataset when empty.")
    dataset = forms.ModelChoiceField(Dataset.objects.none())
    recipe = forms.ModelChoiceField(Recipe.objects.none())
    seed = forms.IntegerField(
        initial=0, min_value=0, max_value=SEED_LIMIT, help_text="Decides the adapter's first weights and the order."
    )

    def __init__(self, *args, project, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["dataset"].queryset = Dataset.objects.filter(project=project)  # type: ignore[attr-defined]
        self.fields["recipe"].queryset = Recipe.objects.filter(project=project)  # type: ignore[attr-defined]


class PublicationForm(forms.Form):
    """Its rules are in publishing.py, for page and API alike."""

    what = forms.ChoiceField(label="What", choices=PublicationWhat.choices)
    place = forms.ChoiceField(label="Where")
    target = forms.CharField(
        label="Folder or repository",
        max_length=500,
        help_text="A new folder, or account/name on the hub. Nothing that is there is overwritten, except what this "
        "project published there before on the hub.",
    )
    public = forms.BooleanField(
        required=False,
        label="Public",
        help_text="On the hub: everybody may see it. Otherwise only the account's members.",
    )

    def __init__(self, *args, run: Run, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not run.has_merged:
            self.fields["what"].choices = [(PublicationWhat.ADAPTER.value, PublicationWhat.ADAPTER.label)]  # type: ignore[attr-defined]
        labels = dict(PublicationPlace.choices)
        self.fields["place"].choices = [(name, f"{labels[name]} ({how})") for name, how in publishing.places()]  # type: ignore[attr-defined]
