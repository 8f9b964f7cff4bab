"""Forms of the lead's pages. They parse; the rules are in validators and services, shared with the API."""

from typing import Any

from django import forms
from django.conf import settings as site
from django.contrib.auth import get_user_model
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from annotation import exports, queueing, suggesters, suggestion_prompts, wellbeing
from annotation.filters import label_choices, parse_label
from annotation.models import (
    MAX_PRIORITY,
    AnswerFormat,
    ApprovalRule,
    FileFormat,
    PairStatus,
    Project,
    Review,
    Role,
    Scale,
    SuggestionSettings,
)


def show_errors(form: forms.BaseForm, error: ValidationError) -> None:
    """Put a service's error where the person can see it: on its field where the form has one, else on top."""
    by_field = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
    for field, errors in by_field.items():
        form.add_error(field if field in form.fields else None, list(errors))


class NameForm(forms.ModelForm):
    class Meta:
        model = get_user_model()
        fields = ["first_name", "last_name", "email"]


class KindsField(forms.CharField):
    """A project's kinds of content, one a line: the name, then a colon and the words of the warning."""

    def __init__(self) -> None:
        super().__init__(
            label="Kinds of content",
            required=False,
            widget=forms.Textarea({"rows": 4, "dir": "auto", "class": "plain"}),
            help_text="One a line: its name, then a colon and the words of the warning, for example: slurs: insults "
            "against groups. Texts are marked with them on the Texts page; annotators may decline a kind.",
        )

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return "\n".join(
                f"{kind['name']}: {kind['warning']}" if kind["warning"] else kind["name"] for kind in value
            )
        return value

    def clean(self, value: Any) -> list[dict[str, str]]:
        lines = [line.partition(":") for line in super().clean(value).splitlines() if line.strip()]
        return [{"name": name.strip(), "warning": warning.strip()} for name, _, warning in lines]


class ProjectForm(forms.ModelForm):
    content_kinds = KindsField()
    severe_dimensions = forms.MultipleChoiceField(
        label="Severe is the highest level of",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Severe texts count for pauses, limits and exposure.",
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            del self.fields["severe_dimensions"]  # there are none yet to choose from
        else:
            field = self.fields["severe_dimensions"]
            assert isinstance(field, forms.MultipleChoiceField)
            field.choices = [
                (dimension.key, f"{dimension.name} ({dimension.levels[-1]})")
                for dimension in self.instance.dimensions.all()
            ]

    # The parts of the settings page; a field that no part names stands under "More".
    SECTIONS = (
        ("About", ("name", "guidelines", "content_warning")),
        ("Handing out", ("overlap", "lease_minutes")),
        (
            "Wellbeing",
            (
                *("content_kinds", "blur_texts", "severe_dimensions"),
                *("pause_after", "daily_limit", "daily_severe_limit"),
            ),
        ),
        ("Votes on rewrites", ("votes_per_rewrite", "voted_rewrites")),
    )

    def sections(self) -> list[dict[str, Any]]:
        """The form's fields in parts: title, bound fields."""
        named = {name for _, names in self.SECTIONS for name in names}
        rest = tuple(name for name in self.fields if name not in named)
        return [
            {"title": title, "fields": [self[name] for name in names if name in self.fields]}
            for title, names in (*self.SECTIONS, ("More", rest))
            if names
        ]

    class Meta:
        model = Project
        fields = [
            "name",
            "guidelines",
            "content_warning",
            "overlap",
            "lease_minutes",
            "content_kinds",
            "blur_texts",
            "severe_dimensions",
            "pause_after",
            "daily_limit",
            "daily_severe_limit",
            "votes_per_rewrite",
            "voted_rewrites",
        ]
        widgets = {
            "name": forms.TextInput({"dir": "auto"}),
            "guidelines": forms.Textarea({"rows": 10, "dir": "auto"}),
            "content_warning": forms.TextInput({"dir": "auto"}),
        }


class DimensionForm(forms.Form):
    """One dimension. `key` names an existing one."""

    key = forms.CharField(max_length=40, required=False, widget=forms.HiddenInput)
    name = forms.CharField(max_length=60, widget=forms.TextInput({"dir": "auto"}))
    levels = forms.CharField(
        max_length=400,
        widget=forms.TextInput({"dir": "auto"}),
        help_text="2 to 9 names, lowest first, separated by commas.",
    )

    scale = forms.ChoiceField(
        choices=[(Scale.ORDINAL, "in this order"), (Scale.NOMINAL, "in no order")],
        initial=Scale.ORDINAL,
        required=False,
    )

    def has_changed(self) -> bool:
        """The empty row for one more dimension stays empty whatever its select says."""
        return bool({*self.changed_data} - {"scale"})

    def clean_levels(self) -> list[str]:
        return [level.strip() for level in self.cleaned_data["levels"].split(",") if level.strip()]


DimensionFormSet = forms.formset_factory(DimensionForm, extra=1, can_delete=True, max_num=40)


def dimension_values(dimensions) -> list[dict[str, Any]]:
    """Initial data of the formset."""
    return [dimension | {"levels": ", ".join(dimension["levels"])} for dimension in dimensions]


def wanted_dimensions(formset) -> list[dict[str, Any]]:
    """The dimensions of a valid formset, without those marked for removal and the empty row."""
    return [
        {
            "key": form.cleaned_data["key"],
            "name": form.cleaned_data["name"],
            "levels": form.cleaned_data["levels"],
            "scale": form.cleaned_data["scale"],
        }
        for form in formset
        if form.cleaned_data.get("name") and not form.cleaned_data.get("DELETE")
    ]


class RolesForm(forms.Form):
    roles = forms.MultipleChoiceField(choices=Role.choices, widget=forms.CheckboxSelectMultiple, required=False)


class MemberForm(RolesForm):
    person = forms.CharField(
        label="Username or e-mail",
        max_length=254,
        help_text="For somebody without an account give the e-mail address: you get a link to send them.",
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "none"}),
    )
    field_order = ["person", "roles"]


class ImportForm(forms.Form):
    file = forms.FileField(
        help_text="CSV (UTF-8, with a header row), JSON Lines, Parquet, a Hugging Face dataset folder as .zip, or an "
        "export of Label Studio or doccano.",
        error_messages={"empty": "The file is empty.", "required": "Choose a file."},
        allow_empty_file=True,  # the service says it, for page and API alike
    )
    file_format = forms.ChoiceField(
        label="Format",
        choices=[("", "By the file's name"), *FileFormat.choices],
        required=False,
    )
    review = forms.ChoiceField(
        label="Show me the columns before anything is imported",
        choices=[
            (Review.AUTO, "When somebody annotated the texts, or no column is called text"),
            (Review.ALWAYS, "Always"),
            (Review.NEVER, "Never: take the best guess"),
        ],
        required=False,
    )
    with_pairs = forms.BooleanField(
        label="Import rewrites and labels as proposed pairs",
        help_text="From the columns safe_rewrite and those named like the dimensions. Otherwise left out.",
        initial=True,
        required=False,
    )


class ExportForm(forms.Form):
    kind = forms.ChoiceField(label="What")
    file_format = forms.ChoiceField(label="Format", help_text="A dataset folder is always a .zip.")
    since = forms.DateField(label="From", required=False, widget=forms.DateInput({"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput({"type": "date"}))
    language = forms.CharField(required=False, max_length=35, help_text="Texts in this language alone, for example en.")
    label = forms.ChoiceField(label="With the label", required=False)
    status = forms.ChoiceField(
        label="Pairs that are", choices=[("", "Any status"), *PairStatus.choices], required=False
    )
    kinds = forms.ChoiceField(
        label="Texts",
        choices=[("work", "The work alone"), ("all", "Practice, gold and repeats too, marked in the column kind")],
        required=False,
    )
    annotators = forms.ChoiceField(
        label="Annotators",
        choices=[
            ("", "As usual: hidden in a dataset folder, by name elsewhere"),
            ("names", "By username"),
            ("pseudonyms", "Hidden: annotator_1, annotator_2 …"),
        ],
        required=False,
    )
    license = forms.CharField(
        label="Licence of the dataset", required=False, max_length=60, help_text="As on the Hub, for example cc-by-4.0."
    )

    def __init__(self, *args, project: Project, kinds: list[exports.Exporter], **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.choices("kind").choices = [(exporter.kind, exporter.title) for exporter in kinds]
        formats = dict.fromkeys(name for exporter in kinds for name in exporter.formats)
        self.choices("file_format").choices = [(name, exports.FORMATS[name].title) for name in formats]
        self.choices("label").choices = label_choices(project)

    def choices(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        exporter = exports.KINDS.get(cleaned.get("kind", ""))
        if exporter is not None:
            if exporter.formats == ("zip",):
                cleaned["file_format"] = "zip"
            for name in ("since", "until", "language", "label"):
                if cleaned.get(name) and name not in exporter.filters:
                    self.add_error(name, f"“{exporter.title}” cannot be filtered by this; leave it empty.")
        return cleaned

    def request(self) -> dict[str, Any]:
        """Arguments of exports.create."""
        cleaned = self.cleaned_data
        exporter = exports.KINDS[cleaned["kind"]]
        filters: dict[str, Any] = {name: cleaned.get(name) or "" for name in exporter.filters}
        if "label" in filters:
            filters["label"] = parse_label(filters["label"])
        return {
            "kind": cleaned["kind"],
            "file_format": cleaned["file_format"],
            "filters": {name: value for name, value in filters.items() if value},
        }


class QueueForm(forms.Form):
    """What a lead decides about texts in the queue; annotation/queueing.py checks it."""

    decision = forms.ChoiceField(label="Do", error_messages={"required": "Choose what to do."})
    priority = forms.IntegerField(required=False, help_text=f"{-MAX_PRIORITY} to {MAX_PRIORITY}; higher comes first.")
    more = forms.IntegerField(label="More annotators", required=False, min_value=1, help_text="Added to each text's.")
    people = forms.MultipleChoiceField(
        label="For these people only", required=False, widget=forms.CheckboxSelectMultiple
    )
    content_kinds = forms.MultipleChoiceField(label="Contains", required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args, project: Project, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        annotators = get_user_model().objects.filter(
            memberships__project=project, memberships__role=Role.ANNOTATOR, is_active=True
        )
        names = [account.get_username() for account in annotators.order_by("username")]
        kinds = wellbeing.kind_names(project)
        offered = {
            "decision": [("", "Choose…")]
            + [
                (name, title)
                for name, (title, needs) in queueing.DECISIONS.items()
                if ("people" not in needs or names) and ("content_kinds" not in needs or kinds)
            ],
            "people": [(name, name) for name in names],
            "content_kinds": [(kind, kind) for kind in kinds],
        }
        for name, choices in offered.items():
            found = self.fields[name]
            assert isinstance(found, forms.ChoiceField)
            found.choices = choices
            if not choices:
                del self.fields[name]

    def needs(self) -> list[tuple[forms.BoundField, str]]:
        """The fields beside the decision, each with the decisions that need it."""
        return [
            (self[name], " ".join(key for key, (_, needs) in queueing.DECISIONS.items() if name in needs))
            for name in self.fields
            if name != "decision"
        ]


class ChoicesForm(forms.Form):
    """What an annotator chooses for themselves; annotation/wellbeing.py checks it."""

    declined_kinds = forms.MultipleChoiceField(
        label="I do not want texts with", required=False, widget=forms.CheckboxSelectMultiple
    )
    daily_limit = forms.IntegerField(
        label="My own limit of texts a day", required=False, help_text="Empty or 0 for none."
    )

    def __init__(self, *args, kinds: list[tuple[str, str]], **kwargs) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["declined_kinds"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = kinds
        if not kinds:
            del self.fields["declined_kinds"]

    def values(self) -> dict[str, Any]:
        """Arguments of wellbeing.choose."""
        return self.cleaned_data | {"daily_limit": self.cleaned_data["daily_limit"] or 0}


class SettleForm(forms.Form):
    """What a lead decides on a pair. Everything typed comes back in the page when it is refused."""

    version = forms.IntegerField(widget=forms.HiddenInput)
    chosen = forms.IntegerField(required=False, widget=forms.HiddenInput)
    rewrite = forms.CharField(strip=False, required=False)
    reason = forms.CharField(required=False)
    annotation = forms.IntegerField(required=False)
    sent_reason = forms.CharField(required=False)
    more = forms.IntegerField(required=False)

    def labels(self) -> dict[str, str]:
        """The levels chosen; dimensions left undecided are absent."""
        prefix = "label-"
        return {
            name[len(prefix) :]: self.data[name] for name in self.data if name.startswith(prefix) and self.data[name]
        }


class RuleForm(forms.ModelForm):
    """An approval rule. The dimensions are checkboxes; the rest is as the model says."""

    dimensions = forms.MultipleChoiceField(
        label="They agree on",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="With none chosen, labels are not asked about; undecided ones stay undecided.",
    )

    class Meta:
        model = ApprovalRule
        fields = list(ApprovalRule.CONDITIONS)

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        choices = self.instance.project.dimensions.values_list("key", "name")
        self.fields["dimensions"].choices = list(choices)  # type: ignore[attr-defined]

    def _post_clean(self) -> None:
        """The rules are checked where the API's are: annotation.rules.check."""


class SuggestionSettingsForm(forms.ModelForm):
    """Source, prompt and limits of a project's suggestions."""

    source = forms.ChoiceField(
        help_text="Endpoints are defined by an administrator. A run of this project answers with the rewrite alone, to "
        "the prompt it was trained with: choose that below, and leave the prompt empty."
    )
    with_labels = forms.BooleanField(label="Suggest labels", required=False)
    with_rewrite = forms.BooleanField(label="Suggest a rewrite", required=False)
    answer_format = forms.ChoiceField(label="The answer is", choices=AnswerFormat.choices)
    max_tokens = forms.IntegerField(
        label="Tokens of an answer, at most", min_value=1, help_text="A longer answer is cut off, and then not used."
    )
    template = forms.CharField(
        label="Prompt",
        required=False,
        strip=False,
        widget=forms.Textarea({"rows": 16, "dir": "auto", "class": "plain"}),
        help_text="{text} is where the text goes, {dimensions} the dimensions with their levels, {answer} the JSON "
        "that is asked for. Empty: the usual prompt for this source.",
    )

    class Meta:
        model = SuggestionSettings
        fields = ["is_on", "withheld_percent", "automatic", "rate_per_minute", "budget", "budget_tokens"]

    SECTIONS = (
        ("Source and prompt", ("source", "with_labels", "with_rewrite", "answer_format", "max_tokens", "template")),
        ("Showing", ("is_on", "withheld_percent")),
        ("Limits", ("budget", "budget_tokens", "rate_per_minute", "automatic")),
    )

    def __init__(self, *args, project: Project, **kwargs) -> None:
        row = kwargs.get("instance")
        prompt = row.prompt if row else None
        self.sources = suggesters.sources_for(project)
        initial: dict[str, Any] = {"with_labels": True, "with_rewrite": True, "answer_format": AnswerFormat.JSON}
        initial |= {"max_tokens": 1_000, "template": suggestion_prompts.default_template()}
        if prompt:
            names = ("with_labels", "with_rewrite", "answer_format", "max_tokens", "template")
            initial = {name: getattr(prompt, name) for name in names}
            initial["source"] = f"{prompt.source_kind}:{prompt.source_id}"
        kwargs["initial"] = initial | kwargs.get("initial", {})
        super().__init__(*args, **kwargs)
        field = self.fields["source"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(f"{source.kind}:{source.id}", source_label(source)) for source in self.sources]
        self.fields["budget"].label = f"Budget in {site.CURRENCY}"
        self.fields["budget"].widget = forms.NumberInput({"step": "any", "min": "0"})

    def sections(self) -> list[dict[str, Any]]:
        return [{"title": title, "fields": [self[name] for name in names]} for title, names in self.SECTIONS]

    def _post_clean(self) -> None:
        """The rules are the service's; the row is not touched here."""

    def values(self) -> dict[str, Any]:
        """Arguments of suggestions.change."""
        values = dict(self.cleaned_data)
        kind, _, pk = values.pop("source").partition(":")
        return {"source": (kind, int(pk)), **values}


def source_label(source: suggesters.Source) -> str:
    if source.is_free:
        return source.name + (", scratch model" if source.is_scratch else "")
    price = f"{source.input_price.normalize():f} and {source.output_price.normalize():f} {site.CURRENCY}"
    return f"{source.name}, {price} for a million tokens in and out"
