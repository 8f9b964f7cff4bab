"""The recipe's form: one field for each hyperparameter, with the label, help, limits and group that parameters.py gives
it. The rules are those of recipes.py.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.functional import cached_property

from training import checks, prompts, recipe_yaml
from training.models import Dataset, Method, Recipe
from training.parameters import METHODS, PRESETS, Hyperparameters, Preset

SPECS = {spec.name: spec for spec in dataclasses.fields(Hyperparameters)}
PLAIN = ("name", "method", "base_model", "revision", "prompt_name", "prompt_template")
# Fields that need the whole width of the form's grid would make it ragged: these get a control of two columns.
WIDE = {"target_modules", "batching"}


class RecipeForm(forms.Form):
    """A recipe. Parameters that the chosen method does not use are hidden, and keep what was typed into them."""

    name = forms.CharField(max_length=200, widget=forms.TextInput({"dir": "auto"}))
    method = forms.ChoiceField(choices=[(key, words) for key, words in METHODS.items()])
    base_model = forms.CharField(
        required=False,
        max_length=300,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false", "placeholder": "organisation/model"}),
        help_text="A hub id, or the full path of a folder on the GPU worker; weights as safetensors only. Empty: the "
        "server's default model, or a scratch model where that cannot be loaded.",
    )
    revision = forms.CharField(
        required=False,
        max_length=100,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false", "placeholder": "newest"}),
        help_text="Branch, tag or commit. A run writes down the commit it found and keeps to it.",
    )
    prompt_name = forms.CharField(
        required=False,
        max_length=120,
        initial="Rewrite",
        widget=forms.TextInput({"list": "prompt-names", "autocomplete": "off", "dir": "auto"}),
        help_text="Other words under the same name become its next version; older versions stay.",
    )
    prompt_template = forms.CharField(
        widget=forms.Textarea({"rows": 5, "class": "plain", "dir": "auto"}),
        initial=prompts.DEFAULT_TEMPLATE,
        strip=False,
        help_text="{text} stands where the text goes. Where the base model has a chat template, that is put around it.",
    )

    def __init__(self, data: QueryDict | None = None, *, values: Mapping[str, Any] | None = None) -> None:
        """Args: data: what was posted, to be checked. values: what to show, unchecked."""
        super().__init__(data, initial=dict(values or {}))
        chosen = str((data or values or {}).get("method"))
        self.chosen_method = chosen if chosen in METHODS else Method.QLORA.value
        for spec in SPECS.values():
            control = _field(spec)
            if self.chosen_method not in spec.metadata["methods"]:
                control.widget = forms.HiddenInput()
            self.fields[spec.name] = control
        self.examples = (
            _examples(data) if data is not None else [list(pair) for pair in (values or {}).get("examples", ())]
        )

    @cached_property
    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        """(heading, fields) of the method's hyperparameters, in the order of parameters.py."""
        found: dict[str, list[forms.BoundField]] = {}
        for spec in SPECS.values():
            if self.chosen_method in spec.metadata["methods"]:
                found.setdefault(spec.metadata["group"], []).append(self[spec.name])
        return list(found.items())

    @property
    def hidden_errors(self) -> list[str]:
        """Errors of fields that the method does not show."""
        return [f"{field.label}: {error}" for field in self.hidden_fields() for error in field.errors]

    def recipe(self) -> dict[str, Any]:
        """What `recipes.create_recipe` takes."""
        cleaned = self.cleaned_data
        return {name: cleaned[name] for name in PLAIN} | {
            "parameters": {name: cleaned[name] for name in SPECS},
            "examples": self.examples,
        }


def _field(spec: dataclasses.Field) -> forms.Field:
    """The limits are checked in parameters.py, for the form and the API alike; here is only the kind of control."""
    common = {"label": spec.metadata["label"], "help_text": spec.metadata["help"], "initial": spec.default}
    field: Any
    if spec.type is bool:
        field = forms.BooleanField(required=False, **common)
    elif "choices" in spec.metadata:
        field = forms.ChoiceField(choices=[(choice, choice) for choice in spec.metadata["choices"]], **common)
    elif spec.type is int:
        field = forms.IntegerField(**common)
    elif spec.type is float:
        field = forms.FloatField(**common, widget=forms.NumberInput({"step": "any"}))
    else:
        field = forms.CharField(**common, widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}))
    field.published = published(spec)
    return field


def published(spec: dataclasses.Field) -> list[tuple[str, str]]:
    """(preset, its value) of those whose method uses the parameter."""
    values = [
        (preset.name, shown(getattr(preset.parameters, spec.name)))
        for preset in PRESETS.values()
        if method_of(preset) in spec.metadata["methods"]
    ]
    same = len({value for _, value in values}) == 1
    return [("all presets", values[0][1])] if same and len(values) > 1 else values


def shown(value: Any) -> str:
    """A hyperparameter as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def method_of(preset: Preset) -> str:
    return getattr(preset, "method", Method.QLORA.value)


def preset_values(preset: Preset, typed: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A preset as the form's values, with what somebody typed that is not the preset's business."""
    typed = typed or {}
    names, bases = {one.name for one in PRESETS.values()}, {one.base_model for one in PRESETS.values()}
    values: dict[str, Any] = preset.parameters.to_json()
    values |= {key: typed[key] for key in ("prompt_name", "prompt_template", "examples") if key in typed}
    name, base = typed.get("name", ""), typed.get("base_model", "")
    values["name"] = name if name.strip() and name not in names else preset.name
    keep = not preset.base_model and base not in bases
    values["base_model"] = base if keep else preset.base_model
    values["revision"] = typed.get("revision", "") if keep else ""
    return values | {"method": method_of(preset)}


def recipe_values(source: Recipe) -> dict[str, Any]:
    """A recipe as the form's values, to make another like it."""
    defaults = {name: spec.default for name, spec in SPECS.items()}
    known = {name: value for name, value in source.parameters.items() if name in SPECS}
    return {
        **defaults,
        **known,
        "name": f"{source.name}, changed",
        "method": source.method,
        "base_model": source.base_model,
        "revision": source.revision,
        "prompt_name": source.prompt.name if source.prompt else "",
        "prompt_template": source.prompt_template,
        "examples": source.prompt.examples if source.prompt else [],
    }


def yaml_values(loaded: recipe_yaml.Loaded) -> dict[str, Any]:
    values = loaded.values()
    return values.pop("parameters") | values


def typed_values(data: QueryDict) -> dict[str, Any]:
    """What was posted, unchecked, to show it again with other fields around it."""
    values: dict[str, Any] = {name: data[name] for name in (*PLAIN, *SPECS) if name in data}
    for name, spec in SPECS.items():
        if spec.type is bool:
            values[name] = data.get(name, "") not in ("", "False", "false")
    return values | {"examples": _examples(data)}


def _examples(data: QueryDict) -> list[list[str]]:
    """[text, rewrite] of each row that has either; a row left empty is no example."""
    texts, rewrites = data.getlist("example_text"), data.getlist("example_rewrite")
    pairs = [list(pair) for pair in zip(texts, rewrites, strict=False)]
    return [pair for pair in pairs if any(part.strip() for part in pair)]


class NeedsForm(forms.Form):
    """What the estimate is made for."""

    device = forms.ChoiceField(
        required=False,
        choices=[("", "not chosen"), *((device.key, device.name) for device in checks.DEVICES.values())],
    )
    gib = forms.FloatField(
        label="GiB",
        required=False,
        min_value=0.5,
        max_value=10_000,
        widget=forms.NumberInput({"step": "any", "placeholder": "as the device has"}),
    )
    dataset = forms.ModelChoiceField(Dataset.objects.none(), required=False, empty_label="not chosen")

    def __init__(self, data: Any = None, *, project: Any, **kwargs: Any) -> None:
        super().__init__(data, prefix="for", **kwargs)
        self.fields["dataset"].queryset = Dataset.objects.filter(project=project)  # type: ignore[attr-defined]
