"""Forms of the training pages. The rules are those of runs.py."""

from django import forms

from training import publishing
from training.models import Dataset, PublicationPlace, PublicationWhat, Recipe, Run
from training.parameters import SEED_LIMIT


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
