"""Forms of the evaluation pages. They parse; the rules are in the services, shared with the API."""

import math
import re
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef

from annotation import validators
from annotation.models import Endpoint, Item
from evaluation import planning, protocol, studies, systems, tries
from evaluation.models import CONTROLS, Criterion, Output, Part, Study, System, SystemKind, default_criteria
from training.models import Dataset, Run


class LevelsField(forms.CharField):
    """What the levels of a criterion mean, one a line, the worst first."""

    widget = forms.Textarea(attrs={"rows": 5, "class": "plain", "dir": "auto"})

    def prepare_value(self, value):
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value):
        text = validators.normalise_text(super().to_python(value) or "")
        return [line.strip() for line in text.split("\n") if line.strip()]

    def has_changed(self, initial, data):
        return self.to_python(self.prepare_value(initial)) != self.to_python(data)


class StudyForm(forms.ModelForm):
    """A study's plan but for its criteria. `values()` is what the services take."""

    controls = forms.MultipleChoiceField(
        choices=[(kind, studies.CONTROL_NAMES[kind]) for kind in CONTROLS],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    reference = forms.ChoiceField(
        error_messages={"required": "Choose what the others are compared with.", "invalid_choice": "Choose a system."}
    )
    normalisation = forms.MultipleChoiceField(
        label="Taken off an output before it is shown",
        choices=list(studies.NORMALISATIONS.items()),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = Study
        fields = [
            *("name", "instructions", "hypotheses", "seed", "systems", "tuned"),
            *("dataset", "part", "number_of_items", "strata", "allocation", "chosen_ids"),
            *("layout", "per_page", "ratings_per_output", "preference_question", "normalisation", "openings"),
            *("practice", "checks", "repeats", "guesses", "on_failure", "min_passed", "min_seconds"),
        ]
        widgets = {
            "name": forms.TextInput(attrs={"dir": "auto"}),
            "preference_question": forms.TextInput(attrs={"dir": "auto"}),
            "instructions": forms.Textarea(attrs={"rows": 6, "class": "plain", "dir": "auto"}),
            "hypotheses": forms.Textarea(attrs={"rows": 4, "class": "plain", "dir": "auto"}),
            "chosen_ids": forms.Textarea(attrs={"rows": 3, "class": "plain"}),
            "openings": forms.Textarea(attrs={"rows": 3, "class": "plain", "dir": "auto"}),
            "layout": forms.RadioSelect,
            "on_failure": forms.RadioSelect,
            "tuned": forms.CheckboxSelectMultiple,
            "systems": forms.CheckboxSelectMultiple,
        }
        labels = {
            "number_of_items": "Number of texts",
            "chosen_ids": "Exactly these texts",
            "strata": "Draw by kind of text",
            "allocation": "How many of each kind",
            "per_page": "Outputs on a page",
            "layout": "What a page shows, and asks",
            "hypotheses": "What you expect, in your own words",
            "preference_question": "Question about the better output",
            "part": "Part of the dataset",
            "min_passed": "Checks to pass, in percent",
            "dataset": "Draw only from the dataset",
        }
        help_texts = {
            "dataset": "For a tuned model: the one it was trained on, and of it the test part.",
            "part": "",
            "hypotheses": "It goes into the protocol, which nobody can change after the start.",
            "instructions": "Markdown. Shown before the first page and at any time.",
            "per_page": "Empty: as many as there are systems, at most what the layout holds.",
            "seed": "Decides which texts, who sees which outputs, and every order. The same seed gives the same study.",
            "preference_question": "Asked under the outputs, in every layout but the first.",
            "on_failure": "",
        }

    # Where a study of defaults begins. The model's own defaults are for scripts and leave every control out.
    SOUND: ClassVar[dict[str, Any]] = {
        "normalisation": ["preambles", "closings"],
        "practice": 2,
        "checks": 2,
        "repeats": 3,
        "guesses": 5,
        "min_seconds": 3,
        "controls": [SystemKind.ORIGINAL],
    }
    TEXTS, FEW = 60, 20
    SECTIONS: ClassVar[list[tuple[str, str, list[str], list[str]]]] = [
        (
            "Texts",
            "All systems must have an output for a text. Where fewer are wanted than there are, the seed draws them.",
            ["number_of_items", "dataset", "part"],
            ["strata", "allocation", "chosen_ids"],
        ),
        (
            "Pages",
            "Side by side, differences are seen best; one output a page keeps ratings independent of each other. Who "
            "sees what is balanced: every system equally often with every reviewer, at every place and beside every "
            "other.",
            ["layout", "per_page", "ratings_per_output", "preference_question"],
            [],
        ),
        (
            "Controls",
            "They show whether ratings can be trusted. What follows from a failure is decided now, not after.",
            ["practice", "checks", "repeats", "guesses"],
            ["min_passed", "on_failure", "min_seconds"],
        ),
        ("For the record", "", ["instructions", "hypotheses"], ["seed"]),
    ]

    def __init__(self, *args, project, user, **kwargs):
        instance = kwargs.get("instance")
        super().__init__(*args, **kwargs)
        self.instance.project = project
        shown = System.objects.filter(project=project).shown_to(user).exclude(kind__in=CONTROLS)
        self.offered = list(shown.order_by("name"))
        for name in ("systems", "tuned"):
            self.fields[name].queryset = shown  # type: ignore[attr-defined]
            self.fields[name].required = False
        self.fields["dataset"].queryset = Dataset.objects.filter(project=project)  # type: ignore[attr-defined]
        self.fields["dataset"].empty_label = "any text of the project"  # type: ignore[attr-defined]
        references = [(str(system.pk), system.name) for system in self.offered]
        references += [(str(kind), studies.CONTROL_NAMES[kind]) for kind in CONTROLS]
        self.fields["reference"].choices = references  # type: ignore[attr-defined]
        if instance is None:
            self.initial.update(self.SOUND | self._found(project))
        else:
            chosen = list(instance.systems.all())
            reference = instance.reference
            self.initial.update(
                {
                    "systems": [system.pk for system in chosen],
                    "controls": [system.kind for system in chosen if system.kind in CONTROLS],
                    "reference": reference.kind if reference.kind in CONTROLS else str(reference.pk),
                }
            )

    def _found(self, project) -> dict[str, Any]:
        """What the project's own rows suggest."""
        found: dict[str, Any] = {"tuned": [system.pk for system in self.offered if system.kind == SystemKind.RUN]}
        some = Output.objects.filter(item=OuterRef("pk"), system__kind__in=set(SystemKind.values) - set(CONTROLS))
        spare = self.SOUND["practice"] + self.SOUND["checks"]
        texts = Item.objects.filter(Exists(some), project=project).order_by()[: self.TEXTS + spare].values("pk").count()
        if texts >= self.TEXTS + spare:
            found["number_of_items"] = self.TEXTS
        if texts < self.FEW + spare:  # a page seen again stands some way behind the first time
            found["repeats"] = 0
        base = [system.pk for system in self.offered if system.kind == SystemKind.BASE]
        if base:
            found["reference"] = str(max(base))
        return found

    @property
    def sections(self) -> list[dict[str, Any]]:
        """The plain fields in groups, the rarer ones folded unless one of them is wrong or was changed."""
        return [
            {
                "title": title,
                "words": words,
                "fields": [self[name] for name in names],
                "more": [self[name] for name in more],
                "open": any(self[name].errors for name in more),
            }
            for title, words, names, more in self.SECTIONS
        ]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What can be compared, each with the choices that are ticked."""
        chosen, tuned = (
            {str(getattr(value, "pk", value)) for value in self[name].value() or []} for name in ("systems", "tuned")
        )
        controls, reference = set(self["controls"].value() or []), str(self["reference"].value() or "")
        rows = [
            {
                "field": "systems",
                "value": str(system.pk),
                "name": system.name,
                "kind": system.get_kind_display(),
                "is_scratch": system.is_scratch,
                "chosen": str(system.pk) in chosen,
                "tuned": str(system.pk) in tuned,
                "may_be_tuned": True,
            }
            for system in self.offered
        ]
        rows += [
            {
                "field": "controls",
                "value": str(kind),
                "name": studies.CONTROL_NAMES[kind],
                "kind": "Hidden among the others",
                "chosen": kind in controls,
            }
            for kind in CONTROLS
        ]
        for row in rows:
            row["is_reference"] = row["value"] == reference
        return rows

    def clean(self):
        cleaned = super().clean() or {}
        if "systems" in cleaned:  # ticked beforehand for every model of a run
            cleaned["tuned"] = [system for system in cleaned.get("tuned", []) if system in cleaned["systems"]]
        return cleaned

    def values(self) -> dict[str, Any]:
        """Keyword arguments for `studies.create` and `studies.change`."""
        values = dict(self.cleaned_data)
        reference = values.pop("reference")
        if reference in CONTROLS:
            # The services take the first hidden system for a reference that is not named.
            values["reference"] = None
            values["controls"] = sorted(values["controls"], key=lambda kind: kind != reference)
            if reference not in values["controls"]:
                raise ValidationError({"reference": "The reference must be one of the chosen systems."})
        else:
            values["reference"] = next(system for system in self.offered if str(system.pk) == reference)
        return values


class CriterionForm(forms.ModelForm):
    """One criterion. `key` names an existing one, so that it stays the same in exports."""

    key = forms.CharField(max_length=40, required=False, widget=forms.HiddenInput)
    anchors = LevelsField(
        label="Levels",
        help_text=f"{Criterion.MIN_LEVELS} to {Criterion.MAX_LEVELS}, one a line, the worst first: it is level 1.",
    )

    class Meta:
        model = Criterion
        fields = ["name", "question", "anchors", "hypothesis", "margin"]
        widgets = {
            "name": forms.TextInput(attrs={"dir": "auto"}),
            "question": forms.TextInput(attrs={"dir": "auto"}),
            "margin": forms.NumberInput(attrs={"step": "any", "min": "0"}),
        }
        labels = {"hypothesis": "Expected of each system", "margin": "Margin, in levels"}
        help_texts = {
            "margin": "Only for “not worse”: a difference this large in favour of the reference would matter."
        }

    def has_changed(self) -> bool:
        """The empty row for one more criterion stays empty whatever its select says."""
        return bool({*self.changed_data} - {"hypothesis", "ORDER", "key"})


class BaseCriterionFormSet(forms.BaseFormSet):
    ordering_widget = forms.NumberInput(attrs={"min": "1", "max": "99"})  # type: ignore[assignment]

    def add_fields(self, form, index):
        super().add_fields(form, index)
        form.fields["ORDER"].label = "Place"
        form.fields["DELETE"].label = "Remove"

    def values(self) -> list[dict[str, Any]]:
        """The criteria of a valid formset in their order, without the removed ones and the empty row."""
        return [
            {
                name: form.cleaned_data.get(name)
                for name in ("key", "name", "question", "anchors", "hypothesis", "margin")
            }
            for form in self.ordered_forms
            if form.cleaned_data.get("name")
        ]


CriterionFormSet = forms.formset_factory(
    CriterionForm,
    formset=BaseCriterionFormSet,
    extra=0,
    can_delete=True,
    can_order=True,
    max_num=studies.MAX_CRITERIA + 1,
)


def criterion_values(study: Study | None) -> list[dict[str, Any]]:
    """Initial data of the formset: a study's criteria, or those of a rewrite."""
    if study is None:
        return default_criteria()
    return [dict(row) for row in study.criteria.values("key", "name", "question", "anchors", "hypothesis", "margin")]


class NumbersField(forms.CharField):
    """Numbers separated by commas."""

    def __init__(self, *, whole: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.whole = whole

    def prepare_value(self, value):
        return ", ".join(f"{number:g}" for number in value) if isinstance(value, list) else value

    def to_python(self, value):
        words = [word for word in re.split(r"[,;\s]+", super().to_python(value) or "") if word]
        try:
            found = [int(word) if self.whole else float(word.rstrip("%")) for word in words[:100]]
        except ValueError:
            raise ValidationError("Give numbers, separated by commas.") from None
        if not all(math.isfinite(number) and abs(number) < 1e9 for number in found):
            raise ValidationError("Give smaller numbers.")
        return found


class PowerForm(forms.Form):
    """What is assumed about a planned study, and which numbers are tried."""

    criterion = forms.ChoiceField(label="For the criterion")
    goal = forms.ChoiceField(label="What the study should do", choices=list(planning.GOALS.items()))
    difference = forms.FloatField(
        label="Difference to find, in levels",
        widget=forms.NumberInput(attrs={"step": "any", "min": "0"}),
        help_text="The smallest that would matter, not the one you hope for.",
    )
    margin = forms.FloatField(
        label="Margin of non-inferiority, in levels", widget=forms.NumberInput(attrs={"step": "any", "min": "0"})
    )
    pilot = forms.ChoiceField(
        label="Distribution and spread from a pilot",
        required=False,
        help_text="What a closed study found about the same scale, in place of the shares and spreads below.",
    )
    shares = NumbersField(
        label="Shares of the reference's levels, in percent",
        whole=False,
        required=False,
        help_text="From the worst level to the best; they add up to 100.",
    )
    items = NumbersField(label="Numbers of texts to try")
    ratings_per_output = NumbersField(label="Ratings of each output to try")
    reviewers = forms.IntegerField(help_text="How many there will be.")
    tests = forms.IntegerField(
        label="Planned tests", help_text="All of the study's, by its criteria and systems: the more, the stricter each."
    )
    alpha = forms.FloatField(
        label="Error rate of all tests together", widget=forms.NumberInput(attrs={"step": "any"}), help_text="Alpha."
    )
    target = forms.FloatField(label="Power wanted", widget=forms.NumberInput(attrs={"step": "any"}))
    sd_item = forms.FloatField(label="Spread of texts", widget=forms.NumberInput(attrs={"step": "any"}))
    sd_item_system = forms.FloatField(
        label="Spread of systems from text to text", widget=forms.NumberInput(attrs={"step": "any"})
    )
    sd_reviewer = forms.FloatField(label="Spread of reviewers", widget=forms.NumberInput(attrs={"step": "any"}))
    sd_reviewer_system = forms.FloatField(
        label="Spread of reviewers' taste", widget=forms.NumberInput(attrs={"step": "any"})
    )
    seed = forms.IntegerField(label="Seed of the simulation", min_value=0, max_value=2**31 - 1)

    MAIN = ("criterion", "goal", "difference", "margin", "items", "ratings_per_output", "reviewers")
    ASSUMED = ("pilot", "shares", "sd_item", "sd_item_system", "sd_reviewer", "sd_reviewer_system")
    STRICT = ("tests", "alpha", "target", "seed")
    MOST_PILOTS = 50

    def __init__(self, *args, study, **kwargs):
        super().__init__(*args, **kwargs)
        self.choices("criterion").choices = [(row.key, row.name) for row in planning.criteria_of(study)]
        found = planning.pilots(study)[: self.MOST_PILOTS]
        names = [(str(row.pk), f"{row.study.name}: {row.name} ({row.levels} levels)") for row in found]
        self.choices("pilot").choices = [("", "none: I assume them"), *names]

    def choices(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    def clean_pilot(self):
        return int(self.cleaned_data["pilot"]) if self.cleaned_data["pilot"] else None

    @property
    def main(self):
        return [self[name] for name in self.MAIN]

    @property
    def assumed(self):
        return [self[name] for name in self.ASSUMED]

    @property
    def strict(self):
        return [self[name] for name in self.STRICT]

    @property
    def strict_open(self) -> bool:
        return any(self[name].errors for name in self.STRICT)


class ReasonForm(forms.Form):
    """Why something is done that the protocol did not foresee. The service says when it is missing."""

    reason = forms.CharField(
        required=False,
        strip=False,
        max_length=protocol.MAX_REASON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 3, "class": "plain", "dir": "auto"}),
    )


class AmendmentForm(forms.ModelForm):
    """What may still change while a study runs, and why; without a change, a note of a deviation."""

    reason = forms.CharField(
        label="Why, or what happened",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 3, "class": "plain", "dir": "auto"}),
        help_text="The report lists it, with how many pages were finished by then.",
    )

    class Meta:
        model = Study
        fields = list(protocol.AMENDABLE)
        widgets = {
            "name": forms.TextInput(attrs={"dir": "auto"}),
            "instructions": forms.Textarea(attrs={"rows": 6, "class": "plain", "dir": "auto"}),
            "hypotheses": forms.Textarea(attrs={"rows": 4, "class": "plain", "dir": "auto"}),
        }
        help_texts = {
            "instructions": "Markdown. Reviewers see the new ones at once.",
            "min_seconds": "",
            "min_passed": "",
        }

    def __init__(self, *args, blind: bool, **kwargs):
        super().__init__(*args, **kwargs)
        if blind:  # they may name systems
            del self.fields["hypotheses"]
        if not self.instance.is_running:
            for name in protocol.AMENDABLE:
                self.fields.pop(name, None)

    def changes(self) -> dict[str, Any]:
        """Field -> new value, of what was changed."""
        return {name: self.cleaned_data[name] for name in self.changed_data if name != "reason"}


class ExamplesField(forms.CharField):
    """(text, rewrite) pairs as people write them: each text, a line with ->, its rewrite; a line with --- between."""

    widget = forms.Textarea(attrs={"rows": 6, "class": "plain", "dir": "auto"})

    def to_python(self, value):
        text = validators.normalise_text(super().to_python(value) or "")
        if not text.strip():
            return None
        pairs = []
        for number, block in enumerate(re.split(r"(?m)^[ \t]*---+[ \t]*$", text), start=1):
            parts = re.split(r"(?m)^[ \t]*->[ \t]*$", block)
            if len(parts) != 2:
                raise ValidationError(
                    f"Example {number} needs a line with -> alone between the text and its rewrite, once."
                )
            pairs.append([part.strip() for part in parts])
        return pairs


class LimitsForm(forms.Form):
    """What an endpoint may be asked and may cost."""

    rate_per_minute = forms.IntegerField(
        label="Requests per minute", initial=60, min_value=1, max_value=100_000, help_text="To an endpoint, at most."
    )
    budget = forms.DecimalField(
        label="Budget in money",
        required=False,
        min_value=0,
        max_digits=16,
        decimal_places=8,
        help_text="For all outputs of an endpoint, tries included, in the currency of its prices.",
    )
    budget_tokens = forms.IntegerField(
        label="Budget in tokens",
        required=False,
        min_value=0,
        max_value=2**62,
        help_text="Prompts and outputs together.",
    )


class SystemForm(LimitsForm):
    name = forms.CharField(max_length=120, widget=forms.TextInput(attrs={"dir": "auto"}))
    kind = forms.ChoiceField(
        label="What it is",
        choices=[
            (SystemKind.RUN, "The model of a run"),
            (SystemKind.BASE, "A base model alone, with a prompt"),
            (SystemKind.ENDPOINT, "An endpoint, with a prompt"),
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
    weights = forms.ChoiceField(
        label="How a run's model is loaded",
        required=False,
        choices=[("", "as trained"), *list(systems.WEIGHTS.items())[1:]],
        help_text="Folding in changes rounding only. A stored model has 16-bit weights where training had 4-bit ones, "
        "so it may say other things.",
    )
    base_model = forms.CharField(
        max_length=300,
        required=False,
        help_text="Without a run: a hub id or a folder on the GPU worker. Empty: the server's default.",
    )
    engine = forms.ChoiceField(
        label="Generated by",
        required=False,
        choices=[("", "transformers"), ("vllm", systems.ENGINES["vllm"])],
    )
    endpoint = forms.ModelChoiceField(
        Endpoint.objects.none(), required=False, empty_label="none", help_text="Those that administrators offer."
    )
    prompt_template = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "class": "plain", "dir": "auto"}),
        help_text="With {text} where the text goes. Empty: the run's own prompt, or the usual one.",
    )
    prompt_name = forms.CharField(
        label="Name of the prompt",
        max_length=120,
        required=False,
        widget=forms.TextInput(attrs={"dir": "auto"}),
        help_text="Other words under the same name are its next version. Empty: Rewrite.",
    )
    examples = ExamplesField(
        required=False,
        help_text="Shown before each text: a text, a line with -> alone, its rewrite; a line with --- between two. "
        "Empty: the run's own, else none.",
    )
    max_new_tokens = forms.IntegerField(
        label="Longest output, in tokens",
        initial=systems.DEFAULT_NEW_TOKENS,
        min_value=1,
        max_value=systems.MAX_NEW_TOKENS,
    )
    temperature = forms.FloatField(
        required=False,
        min_value=0,
        max_value=systems.MAX_TEMPERATURE,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text="Empty or 0: always the likeliest word, so the same text has the same output. For an endpoint, empty "
        "leaves it as the endpoint is set up.",
    )
    top_p = forms.FloatField(
        label="Top p",
        required=False,
        min_value=0,
        max_value=1,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text="With a temperature: draw among the likeliest words that make up this share.",
    )
    seed = forms.IntegerField(required=False, min_value=0, help_text="Of what is drawn; 0 if empty.")
    field_order = (
        *("name", "kind", "run", "weights", "base_model", "engine", "endpoint", "rate_per_minute", "budget"),
        *(
            "budget_tokens",
            "prompt_template",
            "prompt_name",
            "examples",
            "max_new_tokens",
            "temperature",
            "top_p",
            "seed",
        ),
    )

    def __init__(self, *args, project, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["run"].queryset = systems.usable_runs(project.pk, user)  # type: ignore[attr-defined]
        self.fields["endpoint"].queryset = systems.usable_endpoints()  # type: ignore[attr-defined]
        if not systems.usable_endpoints().exists():
            for name in ("endpoint", "rate_per_minute", "budget", "budget_tokens"):
                del self.fields[name]
            self.fields["kind"].choices = self.fields["kind"].choices[:2]  # type: ignore[attr-defined]


class GenerationForm(forms.Form):
    dataset = forms.ModelChoiceField(Dataset.objects.none(), empty_label=None)
    split = forms.ChoiceField(choices=Part.choices, initial=Part.TEST)

    def __init__(self, *args, project, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["dataset"].queryset = Dataset.objects.filter(project=project)  # type: ignore[attr-defined]


class TryForm(forms.Form):
    text = forms.CharField(
        required=False, strip=False, widget=forms.Textarea(attrs={"rows": 5, "class": "plain", "dir": "auto"})
    )
    external_id = forms.CharField(
        label="Or a text of the project, by its external id",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"dir": "auto", "autocomplete": "off"}),
    )
    systems = forms.ModelMultipleChoiceField(
        System.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=f"1 to {tries.MOST_SYSTEMS} of the newest systems that generate here.",
    )

    MOST_OFFERED = 50

    def __init__(self, *args, project, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.project = project
        newest = tries.offered(project, user).values("pk")[: self.MOST_OFFERED]
        self.fields["systems"].queryset = tries.offered(project, user).filter(pk__in=newest)  # type: ignore[attr-defined]

    def clean_external_id(self):
        wanted = self.cleaned_data["external_id"].strip()
        if not wanted:
            return None
        item = None
        if "\x00" not in wanted:
            item = Item.objects.filter(project=self.project, external_id=wanted).first()
        if item is None:
            raise ValidationError("The project has no text of this external id.")
        return item


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
