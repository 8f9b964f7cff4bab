"""Forms of the training pages. The rules are those of datasets.py and runs.py."""

from django import forms

from training import datasets, publishing
from training.models import Dataset, PublicationPlace, PublicationWhat, Recipe, Run
from training.parameters import SEED_LIMIT


class DatasetForm(forms.Form):
    name = forms.CharField(max_length=200)
    train = forms.FloatField(label="Share for training", initial=0.7, min_value=0, max_value=1)
    validation = forms.FloatField(label="Share for validation", initial=0.1, min_value=0, max_value=1)
    test = forms.FloatField(label="Share for the test", initial=0.2, min_value=0, max_value=1)
    seed = forms.IntegerField(
        initial=0, min_value=0, max_value=SEED_LIMIT, help_text="The same pairs and seed give the same splits."
    )
    label = forms.ChoiceField(
        required=False, help_text="Only pairs whose settled label is this one.", label="Filter by label"
    )

    def __init__(self, *args, project, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", "All approved pairs")]
        for dimension in project.dimensions.all():
            choices += [(f"{dimension.key}:{level}", f"{dimension.name}: {level}") for level in dimension.levels]
        self.fields["label"].choices = choices  # type: ignore[attr-defined]
        # The page says how many pairs that leaves before anything is frozen.
        self.fields["label"].widget.attrs = {"hx-get": "", "hx-trigger": "change", "hx-target": "#approved"}

    def values(self) -> dict:
        """What `datasets.freeze` takes."""
        cleaned = self.cleaned_data
        key, _, level = cleaned["label"].partition(":")
        return {
            "name": cleaned["name"],
            "seed": cleaned["seed"],
            "shares": {split: cleaned[split] for split in datasets.DEFAULT_SHARES},
            "filters": {key: level} if level else {},
        }


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
