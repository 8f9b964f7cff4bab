"""From an output back: its system, run, recipe, prompt and dataset, then the text's own place in that dataset, the
annotations its pair was made from, and the people who did each step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import Q, QuerySet

from annotation.models import Annotation, Event, Pair, PairStatus
from evaluation.models import Output, System, SystemKind
from training import lineage
from training.datasets import text_key
from training.lineage import Product
from training.models import Dataset, DatasetRow, Preference, PreferenceSource, PromptVersion, Recipe, Run, Split

MOST = 50  # annotations of one text; an item has no more annotators than that
ABSENT, UNKNOWN, EXAMPLE = "absent", "unknown", "example"


@dataclass(frozen=True)
class Step:
    """Somebody and what they did."""

    what: str
    user: object


@dataclass(frozen=True)
class Became:
    """A preference that a closed study made of the output: whether it was preferred, and to or by which output."""

    preference: Preference
    chosen: bool
    other: int

    @property
    def study(self) -> int:
        return self.preference.origin["study"]


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where an output came from. What does not apply, or is not known, is None or empty.

    prompt: what the output was generated with; of older systems, what its run was trained with.
    seen: how the model had met this text before: train, validation, test or absent (of its run's dataset), example (its
    prompt shows it with a rewrite), unknown (outputs made elsewhere, or a model that was not trained here).
    same_text: the row is not of this item but of another one with the same text.
    annotations: those that the pair was made from when the dataset was frozen.
    withdrawn: how many pairs of each split are not approved any more.
    became: preferences that closed studies made of this output.
    """

    output: Output
    run: Run | None = None
    recipe: Recipe | None = None
    prompt: PromptVersion | None = None
    dataset: Dataset | None = None
    withdrawn: dict[str, int] = field(default_factory=dict)
    seen: str = UNKNOWN
    row: DatasetRow | None = None
    same_text: bool = False
    annotations: Sequence[Annotation] = ()
    approved_by: object | None = None
    became: Sequence[Became] = ()

    @property
    def trained(self) -> bool:
        """Whether the system is a model that was trained here."""
        return self.dataset is not None

    @property
    def contaminated(self) -> bool:
        """The model learnt from this text, or was shown its rewrite: its output proves nothing about new texts."""
        return self.seen in (Split.TRAIN, EXAMPLE)

    @property
    def pair(self) -> Pair | None:
        """The pair in the dataset, or that the preference there was made of."""
        return pair_of(self.row) if self.row else None

    @property
    def pair_withdrawn(self) -> bool:
        return self.pair is not None and self.pair.status != PairStatus.APPROVED

    @property
    def pair_changed(self) -> bool:
        """The pair reads otherwise now than in the dataset."""
        return self.row is not None and self.pair is not None and lineage.changed(self.row, self.pair)

    @property
    def people(self) -> list[Step]:
        """Everybody on the way, from the output back."""
        steps = [Step("made the system", self.output.system.created_by)]
        if self.run and self.trained:
            steps.append(Step("started the run", self.run.created_by))
        if self.recipe:
            steps.append(Step("wrote the recipe", self.recipe.created_by))
        if self.dataset:
            steps.append(Step("froze the dataset", self.dataset.created_by))
        if self.approved_by:
            steps.append(Step("approved the pair", self.approved_by))
        return steps + [Step("annotated the text", annotation.annotator) for annotation in self.annotations]

    @property
    def people_by_name(self) -> dict[str, list[str]]:
        """What each of them did."""
        found: dict[str, list[str]] = {}
        for step in self.people:
            found.setdefault(str(step.user), []).append(step.what)
        return found


def outputs_shown_to(user) -> "QuerySet[Output]":
    """Outputs without those of systems that this person is rating blind, with what a lineage starts from."""
    hidden = System.objects.all().hidden_from(user)
    return Output.objects.exclude(system__in=hidden.values("pk")).select_related(
        "project", "item", "system__created_by", "system__run__created_by", "system__run__dataset__created_by",
        "system__run__recipe__created_by", "system__run__recipe__prompt", "system__prompt", "system__endpoint",
    )  # fmt: skip


def of(output: Output) -> Lineage:
    """Follow an output of `outputs_shown_to` back. At most six queries, whatever the size of the dataset."""
    system = output.system
    run = system.run
    shown = shown_in(system.examples, output)
    if run is None or system.kind != SystemKind.RUN:
        return Lineage(
            output=output, run=run, prompt=system.prompt, seen=EXAMPLE if shown else UNKNOWN, became=became(output)
        )
    row, same_text = find(run.dataset, output)
    pair = pair_of(row) if row else None
    seen = row.split if row else ABSENT
    if seen != Split.TRAIN and (shown or shown_in(run.parameters.get("examples"), output)):
        seen = EXAMPLE
    recipe = run.recipe
    return Lineage(
        output=output,
        run=run,
        recipe=recipe,
        prompt=system.prompt or (recipe.prompt if recipe else None),
        dataset=run.dataset,
        withdrawn=lineage.withdrawn_by_split(run.dataset),
        seen=seen,
        row=row,
        same_text=same_text,
        annotations=annotations_of(pair, run.dataset) if pair else (),
        approved_by=approved_by(pair, run.dataset) if pair else None,
        became=became(output),
    )


def became(output: Output) -> list[Became]:
    """The newest preferences that closed studies made of the output."""
    of_studies = Preference.objects.filter(item=output.item_id, source=PreferenceSource.STUDY)
    rows = of_studies.filter(Q(origin__chosen=output.pk) | Q(origin__rejected=output.pk)).order_by("-pk")[:MOST]
    return [
        Became(
            row,
            row.origin["chosen"] == output.pk,
            row.origin["rejected" if row.origin["chosen"] == output.pk else "chosen"],
        )
        for row in rows
    ]


def shown_in(examples: Iterable[Sequence[str]] | None, output: Output) -> bool:
    """Whether one of a prompt's (text, rewrite) examples is the output's text."""
    return any(example[0].strip() == output.item.text.strip() for example in examples or ())


def pair_of(row: DatasetRow) -> Pair | None:
    if row.preference and row.preference.source == PreferenceSource.PAIRS and row.item:
        return getattr(row.item, "pair", None)
    return row.pair


def find(dataset: Dataset, output: Output) -> tuple[DatasetRow | None, bool]:
    """The row of the output's text, and whether it is of another item with the same text. One in train comes first.

    Texts are the same as they are for splits: case and white space aside.
    """
    same = Q(item=output.item_id) | Q(text_key=text_key(output.item.text))
    rows = dataset.rows.filter(same).select_related("pair__settled_by", "preference", "item__pair__settled_by")
    row = rows.order_by(lineage.DISTANCE, "position").first()
    return row, row is not None and row.item_id != output.item_id


def annotations_of(pair: Pair, dataset: Dataset) -> list[Annotation]:
    """What the pair was made from when the dataset was frozen; later ones are left out."""
    found = Annotation.objects.filter(pairs=pair, created_at__lte=dataset.created_at)
    return list(found.select_related("annotator").order_by("pk")[:MOST])


def approved_by(pair: Pair, dataset: Dataset) -> object | None:
    """Who had approved the pair when the dataset was frozen. The pair itself knows only who settled it last."""
    events = Event.objects.filter(item=pair.item_id, action="pair.approved", at__lte=dataset.created_at)
    event = events.select_related("actor").order_by("-pk").first()
    if event is not None:
        return event.actor
    return pair.settled_by if pair.status == PairStatus.APPROVED else None


def products(user, run_ids: Sequence[int]) -> Iterable[tuple[int, Product]]:
    """The systems of runs, without those that this person is rating blind."""
    found = System.objects.shown_to(user).filter(run__in=run_ids).order_by("-pk")[: lineage.MOST]
    for system in found:
        kind = "System" if system.kind == SystemKind.RUN else "System on its base model"
        yield system.run_id, Product(kind, system.name, system.get_absolute_url())
