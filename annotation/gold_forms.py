"""Forms of the lead's pages about known answers and practice."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from annotation import wellbeing
from annotation.gold import FACTS
from annotation.models import Gold, Item, Project, QualitySettings

KINDS = [("gold", "Gold: hidden among the work"), ("practice", "Practice: shown in the practice round")]


class QualitySettingsForm(forms.ModelForm):
    SECTIONS = (
        ("Practice", ("practice", "pass_mark", "near_misses", "practice_items", "practice_retries")),
        ("Hidden among the work", ("gold_every", "repeat_every", "repeat_after", "seed")),
    )

    class Meta:
        model = QualitySettings
        fields = QualitySettings.FIELDS

    def sections(self) -> list[dict[str, Any]]:
        return [{"title": title, "fields": [self[name] for name in names]} for title, names in self.SECTIONS]


class GoldForm(forms.Form):
    """A known answer. Accepted levels are one group of boxes a dimension, named label-KEY."""

    kind = forms.ChoiceField(label="Use", choices=KINDS, widget=forms.RadioSelect, initial="gold")
    text = forms.CharField(strip=False, widget=forms.Textarea({"rows": 5, "dir": "auto"}))
    external_id = forms.CharField(
        label="Id", max_length=200, required=False, help_text="The team's own id; made up when empty."
    )
    language = forms.CharField(max_length=35, required=False, help_text="A tag such as en or pt-BR.")
    source = forms.CharField(max_length=200, required=False)
    target_group = forms.CharField(max_length=200, required=False)
    content_kinds = forms.MultipleChoiceField(label="Contains", required=False, widget=forms.CheckboxSelectMultiple)
    marks = forms.CharField(
        label="Words to mark",
        required=False,
        widget=forms.Textarea({"rows": 3, "dir": "auto", "class": "plain"}),
        help_text="As they stand in the text, one mark a line.",
    )
    rewrite = forms.CharField(
        label="Model rewrite", strip=False, required=False, widget=forms.Textarea({"rows": 4, "dir": "auto"})
    )
    explanation = forms.CharField(
        required=False,
        widget=forms.Textarea({"rows": 4, "dir": "auto", "class": "plain"}),
        help_text="Why this is right. Shown after practice, never during the work.",
    )

    def __init__(self, *args, project: Project, item: Item | None = None, gold: Gold | None = None, **kwargs) -> None:
        self.item, self.dimensions = item, list(project.dimensions.all())
        initial: dict[str, Any] = {}
        if gold is not None:
            initial = {
                "kind": gold.item.kind,
                "rewrite": gold.rewrite,
                "explanation": gold.explanation,
                "marks": "\n".join(gold.item.text[span["start"] : span["end"]] for span in gold.spans),
            }
            initial |= {name: getattr(gold.item, name) for name in FACTS}
            initial |= {f"label-{key}": accepted for key, accepted in gold.labels.items()}
        kwargs["initial"] = initial
        super().__init__(*args, **kwargs)
        if item is not None:
            del self.fields["text"], self.fields["external_id"]
        # A kind that the project lists no more may stay.
        kinds = dict.fromkeys([*wellbeing.kind_names(project), *(gold.item.content_kinds if gold else ())])
        self.fields["content_kinds"].choices = [(kind, kind) for kind in kinds]  # type: ignore[attr-defined]
        dropped = FACTS if item is not None and gold is None else () if kinds else ("content_kinds",)
        for name in dropped:  # a text of the work has its own
            del self.fields[name]
        for dimension in self.dimensions:
            self.fields[f"label-{dimension.key}"] = forms.MultipleChoiceField(
                label=dimension.name,
                choices=[(level, level) for level in dimension.levels],
                widget=forms.CheckboxSelectMultiple,
                required=False,
            )

    def before_labels(self):
        return [self[name] for name in ("kind", "text", "external_id") if name in self.fields]

    def about(self):
        return [self[name] for name in FACTS if name in self.fields]

    def labels(self):
        return [self[f"label-{dimension.key}"] for dimension in self.dimensions]

    def after_labels(self):
        return [self[name] for name in ("marks", "rewrite", "explanation")]

    def clean_marks(self) -> list[dict[str, int]]:
        """Spans of the words: each line where it stands first after the mark before, else where it stands first."""
        text = self.item.text if self.item else self.cleaned_data.get("text", "").replace("\r\n", "\n")
        spans: list[dict[str, int]] = []
        for line in self.cleaned_data["marks"].splitlines():
            words = line.strip()
            if not words:
                continue
            start = text.find(words, spans[-1]["end"] if spans else 0)
            start = text.find(words) if start < 0 else start
            if start < 0:
                raise ValidationError(f"“{words[:60]}” does not stand in the text.")
            spans.append({"start": start, "end": start + len(words)})
        return spans

    def values(self) -> dict[str, Any]:
        """Arguments of gold.create and gold.change."""
        data = self.cleaned_data
        labels = {d.key: data[f"label-{d.key}"] for d in self.dimensions if data[f"label-{d.key}"]}
        values = {"kind": data["kind"], "labels": labels, "spans": data["marks"]}
        values |= {
            name: data[name] for name in ("rewrite", "explanation", "text", "external_id", *FACTS) if name in data
        }
        return values


class GoldFileForm(forms.Form):
    file = forms.FileField(help_text="CSV (UTF-8, with a header row).", allow_empty_file=True)
    kind = forms.ChoiceField(label="Use, where the file has no column kind", choices=KINDS)
