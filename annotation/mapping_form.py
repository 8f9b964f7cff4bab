"""The form in which a lead says what the columns of a file mean, filled with the guess."""

from typing import Any, cast

from django import forms
from django.http import QueryDict

from annotation import mapping
from annotation.mapping import LABEL, OTHER_TARGETS, TEXT_TARGETS, label_key
from annotation.models import ItemImport


class MappingForm(forms.Form):
    """A select for each column; for columns of labels one for each value; one for each annotator.

    When somebody makes a column one of labels, the form comes back once with its values, so that each can be given
    its level: then `is_valid` is false and `asks_again` true.
    """

    asks_again = False

    def __init__(self, data=None, *, job: ItemImport) -> None:
        super().__init__(data)
        self.job, self.found = job, job.inspection or {}
        self.guess = self.found["guess"]
        dimensions = list(job.project.dimensions.all())
        self.levels = {dimension.key: dimension.levels for dimension in dimensions}
        self.names = {dimension.key: dimension.name for dimension in dimensions}
        self.with_people = bool(self.found["people"])
        self._targets = self._choices(dimensions)
        self._labels = [
            ("", "None: keep it"),
            *(
                (
                    dimension.name,
                    [(f"{dimension.key}:{level}", f"{dimension.name}: {level}") for level in dimension.levels],
                )
                for dimension in dimensions
            ),
        ]
        for number, column in enumerate(self.found["columns"]):
            self._add_column(number, column)
        known = mapping.known_people(job.project)
        people = sorted({user.username for user in known.values()}, key=str.casefold)
        for number, person in enumerate(self.found["people"]):
            self.fields[f"person-{number}"] = forms.ChoiceField(
                label=person["name"],
                choices=[("", "Nobody here: a closed account"), *((name, name) for name in people)],
                initial=self.guess["people"].get(person["name"], ""),
                required=False,
            )
        if len(self.found["splits"]) > 1:
            self.fields["splits"] = forms.MultipleChoiceField(
                label="Splits to import",
                choices=[
                    (split["name"], f"{split['name']} ({split['count']:,} rows)") for split in self.found["splits"]
                ],
                initial=self.guess["splits"],
                widget=forms.CheckboxSelectMultiple,
                error_messages={"required": "Choose at least one split."},
            )
        if self.with_people:
            self.fields["incomplete"] = forms.ChoiceField(
                label="Annotations that lack a label for a dimension",
                choices=[("take", "Import them all the same"), ("reject", "Reject their rows")],
                initial=self.guess.get("incomplete", "take"),
            )

    def _choices(self, dimensions) -> list:
        groups = [
            ("The text", list(TEXT_TARGETS.items())),
            ("Labels", [(f"{LABEL}{dimension.key}", f"Label: {dimension.name}") for dimension in dimensions]),
        ]
        groups.append(("The annotation", list(mapping.ANNOTATION_TARGETS.items())))
        return [*groups, ("Other", list(OTHER_TARGETS.items()))]

    def _add_column(self, number: int, column: dict[str, Any]) -> None:
        name = column["name"]
        guessed = self.guess["columns"].get(name, mapping.KEPT)
        self.fields[f"column-{number}"] = forms.ChoiceField(label=name, choices=self._targets, initial=guessed)
        target = self.data.get(f"column-{number}", guessed) if self.is_bound else guessed
        key = label_key(target)
        if not column["values"] or (key is None and target != "labels"):
            return
        choices = [value["value"] for value in column["values"]]
        if target == guessed and name in self.guess["values"]:
            levels = self.guess["values"][name]
        else:
            levels = mapping.guess_values(choices, target, self.levels, self.names, True)
        self.fields[f"shown-{number}"] = forms.CharField(widget=forms.HiddenInput, initial=target, required=False)
        options = (
            self._labels
            if key is None
            else [("", "None: keep it"), *((level, level) for level in self.levels.get(key, []))]
        )
        for place, value in enumerate(choices):
            self.fields[f"value-{number}-{place}"] = forms.ChoiceField(
                label=value, choices=options, initial=levels.get(value, ""), required=False
            )
        if self.is_bound and self.data.get(f"shown-{number}") != target:
            # Never seen with this target: fill in the guess, and ask.
            self.asks_again = True
            filled = cast(QueryDict, self.data).copy()
            filled[f"shown-{number}"] = target
            for place, value in enumerate(choices):
                filled[f"value-{number}-{place}"] = levels.get(value, "")
            self.data = filled

    def is_valid(self) -> bool:
        return super().is_valid() and not self.asks_again

    def columns(self):
        """For the template: each column with its field and the fields of its values."""
        for number, column in enumerate(self.found["columns"]):
            values = [
                {**value, "field": self[f"value-{number}-{place}"]}
                for place, value in enumerate(column["values"])
                if f"value-{number}-{place}" in self.fields
            ]
            shown = self[f"shown-{number}"] if f"shown-{number}" in self.fields else None
            yield {**column, "field": self[f"column-{number}"], "values": values, "shown": shown}

    def people(self):
        for number, person in enumerate(self.found["people"]):
            yield {**person, "field": self[f"person-{number}"]}

    def mapping(self) -> dict[str, Any]:
        """What was answered, as imports.confirm takes it."""
        cleaned = self.cleaned_data
        columns, values = {}, {}
        for number, column in enumerate(self.found["columns"]):
            columns[column["name"]] = cleaned[f"column-{number}"]
            chosen = {
                value["value"]: cleaned[f"value-{number}-{place}"]
                for place, value in enumerate(column["values"])
                if f"value-{number}-{place}" in cleaned
            }
            if chosen:
                values[column["name"]] = chosen
        people = {person["name"]: cleaned[f"person-{n}"] for n, person in enumerate(self.found["people"])}
        answer: dict[str, Any] = {"columns": columns, "values": values, "people": people}
        for name in ("splits", "incomplete"):
            if name in cleaned:
                answer[name] = cleaned[name]
        return answer
