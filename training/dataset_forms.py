"""Forms of datasets and preferences. The rules are those of datasets.py, selection.py and preferences.py."""

from typing import Any

from django import forms

from annotation.models import Project
from training import datasets, preferences, selection
from training.models import Dataset, DatasetKind, PreferenceSource
from training.parameters import SEED_LIMIT

THRESHOLDS = [
    ("", "Do not look for them"),
    ("0.6", "0.6 (looser)"),
    ("0.7", "0.7"),
    ("0.8", "0.8"),
    ("0.9", "0.9 (stricter)"),
]
ITEM_LISTS = (
    ("target_groups", "target_group", "Target groups"),
    ("sources", "source", "Sources"),
    ("languages", "language", "Languages"),
)


class DatasetForm(forms.Form):
    """What to freeze and how to split it. `groups` are its fields as the page shows them."""

    name = forms.CharField(max_length=200)
    train = forms.FloatField(label="Share for training", initial=0.7, min_value=0, max_value=1)
    validation = forms.FloatField(label="Share for validation", initial=0.1, min_value=0, max_value=1)
    test = forms.FloatField(label="Share for the test", initial=0.2, min_value=0, max_value=1)
    stratify_by = forms.ChoiceField(
        required=False, help_text="The shares then hold within each of its values, so that no split lacks one."
    )
    near_duplicates = forms.ChoiceField(
        choices=THRESHOLDS,
        required=False,
        initial=str(datasets.DEFAULT_NEAR_DUPLICATES),
        label="Near-duplicates stay in one split from",
        help_text="The share of five-letter pieces that two texts have in common; so no test text is nearly a "
        "training text.",
    )
    seed = forms.IntegerField(
        initial=0, min_value=0, max_value=SEED_LIMIT, help_text="The same pairs and seed give the same splits."
    )

    def __init__(self, *args, project: Project, kind: str = DatasetKind.PAIRS, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.project, self.kind = project, kind
        self.fields["stratify_by"].choices = [("", "Nothing"), *datasets.strata_choices(project)]  # type: ignore[attr-defined]
        self.dimensions = list(project.dimensions.all()) if kind == DatasetKind.PAIRS else []
        filters: list[str] = []

        def add(name: str, made: forms.Field) -> None:
            self.fields[name] = made
            filters.append(name)

        if kind == DatasetKind.PREFERENCE:
            add("origins", _several("They come from", PreferenceSource.choices))
        for dimension in self.dimensions:
            levels = [(level, level) for level in dimension.levels]
            add(f"label_{dimension.key}", _several(dimension.name, levels))
        rows = selection.rows(project, kind)
        for name, column, label in ITEM_LISTS:
            found = selection.values_of_items(rows, column)
            if found:
                add(name, _several(label, [(value, f"{value} ({count:,})") for value, count in found]))
        if kind == DatasetKind.PAIRS:
            add(
                "agreement",
                forms.IntegerField(
                    required=False,
                    min_value=0,
                    max_value=100,
                    label="Agreement at least, in %",
                    help_text="Of the text's annotators, how many chose the level that most chose. Texts that nobody "
                    "annotated have none.",
                ),
            )
            on = [(dimension.key, dimension.name) for dimension in self.dimensions]
            add("agreement_on", _several("On these dimensions; on all when none is chosen", on))
        votes = (
            ("Votes for the rewrite at least", "Other people who found this exact rewrite safe and true in meaning.")
            if kind == DatasetKind.PAIRS
            else ("Preferred by at least", "How many people preferred the chosen output.")
        )
        add(
            "votes",
            forms.IntegerField(required=False, min_value=0, max_value=1000, label=votes[0], help_text=votes[1]),
        )
        self.filter_names = filters

    @property
    def filter_fields(self):
        return [self[name] for name in self.filter_names]

    @property
    def split_fields(self):
        names = ("name", "train", "validation", "test", "stratify_by", "near_duplicates", "seed")
        return [self[name] for name in names]

    def filters(self) -> dict[str, Any]:
        """What is chosen so far, as `selection.check_filters` takes it, whatever else the form still lacks."""
        self.is_valid()
        cleaned = self.cleaned_data
        labels = {one.key: cleaned.get(f"label_{one.key}") for one in self.dimensions}
        lists = ("target_groups", "sources", "languages", "origins", "agreement_on")
        found = {name: cleaned[name] for name in lists if cleaned.get(name)}
        if chosen := {key: levels for key, levels in labels.items() if levels}:
            found["labels"] = chosen
        if cleaned.get("agreement"):
            found["agreement"] = cleaned["agreement"] / 100
        if cleaned.get("votes"):
            found["votes"] = cleaned["votes"]
        return found

    def values(self) -> dict[str, Any]:
        """What `datasets.start` takes."""
        cleaned = self.cleaned_data
        return {
            "name": cleaned["name"],
            "kind": self.kind,
            "seed": cleaned["seed"],
            "shares": {split: cleaned[split] for split in datasets.DEFAULT_SHARES},
            "filters": self.filters(),
            "stratify_by": cleaned["stratify_by"],
            "near_duplicates": float(cleaned["near_duplicates"]) if cleaned["near_duplicates"] else None,
        }


def _several(label: str, choices) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(choices=choices, required=False, label=label, widget=forms.CheckboxSelectMultiple)


class OtherDatasetForm(forms.Form):
    """The dataset to compare with."""

    other = forms.ModelChoiceField(Dataset.objects.none(), label="Compare with")

    def __init__(self, *args, dataset: Dataset, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        others = Dataset.objects.filter(project_id=dataset.project_id, kind=dataset.kind).exclude(pk=dataset.pk)
        self.fields["other"].queryset = others  # type: ignore[attr-defined]


class PairPreferenceForm(forms.Form):
    against = forms.ChoiceField(
        choices=[(name, words) for name, (_, words) in preferences.AGAINST.items()],
        label="Prefer each approved rewrite to",
    )


class PreferenceUploadForm(forms.Form):
    file = forms.FileField(
        allow_empty_file=True,
        help_text="CSV or JSON Lines in UTF-8: text (or prompt), chosen, rejected; external_id when it is a text of "
        "this project.",
    )
