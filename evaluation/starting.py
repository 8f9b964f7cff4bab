"""Starting a study: draw the texts, lay out who sees what, write the protocol, and make every page.

This is the only place that joins slots with systems before a study is closed, and it does so in the database.
"""

import hashlib
import math
import random
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Avg, Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from annotation.models import Item, PairStatus
from evaluation import protocol, studies
from evaluation.design import assignment, forms, sampling
from evaluation.models import (
    CONTROLS,
    PER_PAGE,
    Allocation,
    Hypothesis,
    Layout,
    Output,
    ReviewTask,
    Slot,
    SlotOutput,
    Strata,
    Study,
    StudyItem,
    StudyStatus,
    System,
    SystemKind,
    TaskKind,
)
from evaluation.systems import rows_of
from training.models import Split

User = get_user_model()

MAX_SLOTS = 100_000  # starting happens in one request; this many take some ten seconds
# What a page takes, in seconds, as long as no pages of the layout were measured: to read a text, to rate one output on
# one criterion, to choose the better one, to guess about one page.
READ_SECONDS, RATE_SECONDS, CHOOSE_SECONDS, GUESS_SECONDS = 10, 5, 8, 20
MEASURED = 20
MAX_STRATA = 50  # kinds of text that a draft's page names
CHECK_LEVEL = (
    "This is a check that outputs are read, and no output. Please choose level {level} for every question about it."
)
CHECK_CHOICE = "This is a check that outputs are read, and no output. Please choose this one as the {best} one."


@dataclass
class Readiness:
    """Whether a study can start: how much would be rated, what stands in the way, and what to think about."""

    texts: int = 0  # that would be drawn
    complete: int = 0  # texts that every system has an output for
    incomplete: int = 0  # texts that only some of the systems have an output for
    missing: list[tuple[System, int, list[str]]] = field(default_factory=list)  # system, how many, first external ids
    size: assignment.Size | None = None
    options: list[assignment.Option] = field(default_factory=list)  # sizes that would work
    seconds_a_page: int = 0  # a guess, or the mean of earlier pages
    measured_on: int = 0  # how many earlier pages that is the mean of; 0 for a guess
    minutes: tuple[int, int] = (0, 0)  # of one reviewer: least, most; practice, checks, repeats and guesses included
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def readiness(study: Study) -> Readiness:
    """Count the texts and name everything that keeps the study from starting, without drawing anything."""
    systems = list(study.systems.all())
    ready = Readiness()
    if not studies.MIN_SYSTEMS <= len(systems) <= studies.MAX_SYSTEMS or study.reference not in systems:
        ready.problems.append(
            f"Choose {studies.MIN_SYSTEMS} to {studies.MAX_SYSTEMS} systems, the reference among them."
        )
        return ready
    try:
        studies.check_layout(study, len(systems))
        studies.check_normalisation(study.normalisation)
    except ValidationError as error:
        ready.problems += error.messages
        return ready
    if study.asks_criteria and not study.criteria.exists():
        ready.problems.append("There are no criteria to rate. Add one.")
    chosen = _chosen(study)
    if chosen:
        known = set(_items(study).filter(external_id__in=chosen).values_list("external_id", flat=True))
        if unknown := [external_id for external_id in chosen if external_id not in known]:
            where = "in that part of the dataset" if study.dataset_id else "in the project"
            ready.problems.append(f"{_count(len(unknown), 'chosen text')} not {where}: {_some(unknown)}.")
    pool = _pool(study, systems, chosen)
    complete = _complete(pool, systems)
    ready.complete = ready.texts = complete.count()
    ready.incomplete = pool.count() - ready.complete
    if ready.incomplete:
        for system in systems:
            lacking = pool.exclude(_has_output(system)).order_by("external_id")
            if count := lacking.count():
                ready.missing.append((system, count, list(lacking.values_list("external_id", flat=True)[:5])))
    wanted = 0 if chosen else study.number_of_items or 0
    spare = study.practice + study.checks
    if ready.missing and (chosen or not ready.complete or wanted > ready.complete):
        ready.problems += [_lacks(*row) for row in ready.missing]
    if not ready.complete and not ready.problems:
        ready.problems.append("The systems have no outputs yet. Generate or upload them.")
    elif wanted:
        ready.texts = min(wanted, ready.complete)
        if wanted > ready.complete:
            ready.problems.append(f"{wanted} texts are wanted; {ready.complete} have an output of every system.")
    elif not chosen and spare and ready.complete > spare:
        ready.texts = ready.complete - spare
    _check_spare(study, ready, systems)
    _check_size(study, ready, len(systems))
    ready.warnings += _warnings(study, systems)
    return ready


def _check_spare(study: Study, ready: Readiness, systems: list[System]) -> None:
    if not (wanted := study.practice + study.checks):
        return
    everything = _complete(_pool(study, systems, []), systems).count() if _chosen(study) else ready.complete
    if (spare := max(0, everything - ready.texts)) < wanted:
        ready.problems.append(
            f"Practice pages and attention checks need {_count(wanted, 'text')} outside the study that every system "
            f"has an output for; there {'is' if spare == 1 else 'are'} {spare}. Choose fewer texts, or fewer of them."
        )


def _check_size(study: Study, ready: Readiness, systems: int) -> None:
    reviewers = study.reviewers.count()
    if not reviewers:
        ready.problems.append("Nobody reviews yet. Add at least one reviewer.")
        return
    if not ready.texts:
        return
    plan = _plan(study, ready.texts, systems, reviewers)
    if found := assignment.check(plan):
        ready.problems += found
        low, high = PER_PAGE[Layout(study.layout)]
        ready.options = assignment.options(ready.texts, systems, reviewers, per_page=range(low, high + 1))
        return
    ready.size = assignment.size(plan)
    pages = ready.size.pages_per_reviewer[0]
    ready.problems += assignment.check_places(pages, checks=study.checks, repeats=study.repeats)
    extra = study.practice + study.checks + study.repeats
    ready.seconds_a_page, ready.measured_on = _seconds_a_page(study, plan.per_page)
    least, most = (
        ((pages + extra) * ready.seconds_a_page + min(study.guesses, pages) * GUESS_SECONDS) / 60
        for pages in ready.size.pages_per_reviewer
    )
    ready.minutes = (math.ceil(least), math.ceil(most))
    if (slots := ready.size.slots + extra * reviewers * plan.per_page) > MAX_SLOTS:
        ready.problems.append(
            f"That is {slots:,} outputs to rate; a study has at most {MAX_SLOTS:,}. Choose fewer texts."
        )


def _seconds_a_page(study: Study, per_page: int) -> tuple[int, int]:
    """How long a page takes: the mean of the project's newest pages of this layout, and how many they are; with fewer
    than MEASURED a guess from what is to be read and answered, and 0.
    """
    newest = ReviewTask.objects.filter(
        study__project_id=study.project_id, study__layout=study.layout, done_at__isnull=False, active_seconds__gt=0
    ).order_by("-pk")[:1_000]
    found = newest.aggregate(n=Count("pk"), mean=Avg("active_seconds"))
    if found["n"] >= MEASURED:
        return max(1, round(found["mean"])), found["n"]
    each = READ_SECONDS + (study.criteria.count() * RATE_SECONDS if study.asks_criteria else 0)
    return READ_SECONDS + per_page * each + (CHOOSE_SECONDS if study.asks_preference else 0), 0


def _others(study: Study) -> list[str]:
    """Reviewers who hold other roles in the project."""
    people = User.objects.filter(study_memberships__study=study, memberships__project_id=study.project_id)
    return [str(person) for person in people.distinct().order_by("username")]


def _warnings(study: Study, systems: list[System]) -> list[str]:
    """What does not keep a study from starting, and a reader of its report would ask about."""
    found = []
    for system in systems:
        if system.run is None or system.run.dataset_id is None:
            continue
        if study.dataset_id == system.run.dataset_id and study.part == Split.TEST:
            continue
        seen = system.run.dataset.rows.filter(split=Split.TRAIN, item=OuterRef("pk"))
        if count := _complete(_pool(study, systems, _chosen(study)), systems).filter(Exists(seen)).count():
            found.append(
                f"{system.name} was trained on {_count(count, 'text')} that may be drawn. "
                "Draw from the test split of its dataset instead."
            )
    if study.guesses and not study.tuned.exists():
        found.append("Reviewers will guess which outputs came from a tuned model; say which systems are tuned.")
    if people := _others(study):
        found.append(
            f"{_some(people)} {'has' if len(people) == 1 else 'have'} a role in the project besides, and may know "
            "the systems or their outputs. The report will say so."
        )
    found += _older_controls(systems, _complete(_pool(study, systems, _chosen(study)), systems))
    reviewers = study.reviewers.count()
    if reviewers == 1 or (reviewers and study.ratings_per_output == 1):
        found.append("Each output is rated once: nothing will be known about how far reviewers agree.")
    if study.asks_criteria and not study.criteria.exclude(hypothesis=Hypothesis.NONE).exists():
        found.append("No test is planned: every criterion is described only. Say what you expect of at least one.")
    return found


def _older_controls(systems: list[System], items: QuerySet[Item]) -> list[str]:
    """Of which texts a hidden system shows what an earlier study showed, and not what it would be today."""
    found = []
    for system in systems:
        if system.kind != SystemKind.REWRITE:  # a text itself never changes
            continue
        shown = Output.objects.filter(system=system, item__in=items.order_by().values("pk"))
        shown = shown.filter(Exists(SlotOutput.objects.filter(output=OuterRef("pk"))))
        if count := shown.exclude(text=F("item__pair__rewrite")).count():
            found.append(
                f"{system.name} shows an older rewrite for {_count(count, 'text')}: an earlier study showed it, so it "
                "stays as it was. The rewrite approved today reads otherwise."
            )
    return found


def _lacks(system: System, count: int, ids: list[str]) -> str:
    if system.kind == SystemKind.REWRITE:
        texts = _count(count, "text")
        return f"{texts} without an approved rewrite: {_some(ids, count)}. Approve them, or leave them out."
    return (
        f"{system.name} lacks an output for {_count(count, 'text')}: {_some(ids, count)}. "
        "Generate or upload the outputs, or leave these texts out."
    )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _some(names: list[str], total: int | None = None) -> str:
    more = (total or len(names)) - 5
    return ", ".join(names[:5]) + (f" and {more} more" if more > 0 else "")


# Which texts


def _chosen(study: Study) -> list[str]:
    lines = (line.strip() for line in study.chosen_ids.splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def _items(study: Study) -> QuerySet[Item]:
    """The texts that may be drawn at all."""
    items = Item.objects.filter(project_id=study.project_id)
    if study.dataset is not None:
        items = items.filter(pk__in=rows_of(study.dataset, study.part).values("item"))
    return items


def _pool(study: Study, systems: list[System], chosen: list[str]) -> QuerySet[Item]:
    """The chosen texts, or those that some system has an output for."""
    items = _items(study)
    if chosen:
        return items.filter(external_id__in=chosen)
    made = [system for system in systems if system.kind not in CONTROLS]
    some = Output.objects.filter(system__in=made, item=OuterRef("pk"), text__regex=r"\S")
    return items.filter(Exists(some)) if made else items


def _has_output(system: System) -> Q:
    """What an item must meet for the system to have something to show for it."""
    if system.kind == SystemKind.ORIGINAL:
        return Q(text__regex=r"\S")
    if system.kind == SystemKind.REWRITE:
        return Q(pair__status=PairStatus.APPROVED, pair__rewrite__regex=r"\S")
    return Q(Exists(Output.objects.filter(system=system, item=OuterRef("pk"), text__regex=r"\S")))


def _complete(pool: QuerySet[Item], systems: list[System]) -> QuerySet[Item]:
    for system in systems:
        pool = pool.filter(_has_output(system))
    return pool


@dataclass(frozen=True)
class Kinds:
    """largest: the largest kinds of text, at most MAX_STRATA, each with `stratum` and `n`. total: of all kinds."""

    largest: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0

    @property
    def more(self) -> int:
        return self.total - len(self.largest)


def strata_of(study: Study) -> Kinds:
    """How many texts of each stratum there are to draw from."""
    if not study.strata:
        return Kinds()
    systems = list(study.systems.all())
    rows = _complete(_pool(study, systems, _chosen(study)), systems).order_by().values(study.strata)
    rows = rows.annotate(n=Count("pk"))
    largest = [{"stratum": row[study.strata], "n": row["n"]} for row in rows.order_by("-n", study.strata)[:MAX_STRATA]]
    return Kinds(largest, len(largest) if len(largest) < MAX_STRATA else rows.count())


def _draw(study: Study, systems: list[System]) -> tuple[list[StudyItem], list[str]]:
    """The study's texts and its spare ones, unsaved; and what there was to say about the strata."""
    field_name = study.strata if study.strata != Strata.NONE else "project_id"

    def rows(items: QuerySet[Item]) -> list[tuple[int, str]]:
        found = _complete(items, systems).order_by("external_id").values_list("pk", field_name)
        return [(pk, str(stratum) if study.strata else "") for pk, stratum in found]

    chosen = _chosen(study)
    pool = rows(_pool(study, systems, chosen))
    wanted = study.practice + study.checks
    if chosen or not (study.number_of_items or wanted):
        drawn, notes = list(range(len(pool))), []
    else:
        sample = sampling.sample(
            [stratum for _, stratum in pool],
            study.number_of_items or len(pool) - wanted,
            _rng(study, "items"),
            "equal" if study.allocation == Allocation.EQUAL else "proportional",
        )
        drawn, notes = sample.indices, sample.notes
    items = [StudyItem(study=study, item_id=pool[place][0], stratum=pool[place][1]) for place in drawn]
    if wanted:
        taken = {row.item_id for row in items}
        rest = [pk for pk, _ in (rows(_pool(study, systems, [])) if chosen else pool) if pk not in taken]
        spare = _rng(study, "spare").sample(rest, wanted)
        items += [StudyItem(study=study, item_id=pk, spare=True) for pk in spare]
    return items, notes


# Who sees what


def rules_of(study: Study) -> forms.Normalisation:
    """In which form the study shows outputs."""
    openings = tuple(line for line in map(str.strip, study.openings.splitlines()) if line)
    return forms.Normalisation(openings=openings, **dict.fromkeys(study.normalisation, True))


def _plan(study: Study, items: int, systems: int, reviewers: int) -> assignment.Plan:
    return assignment.Plan(
        items=items,
        systems=systems,
        reviewers=reviewers,
        per_page=studies.per_page(study, systems),
        ratings_per_output=study.ratings_per_output or reviewers,
    )


def _rng(study: Study, purpose: str) -> random.Random:
    """A generator of its own for each purpose, so that one more reviewer does not change which texts are
    drawn.
    """
    return random.Random(f"{study.seed}/{purpose}")  # noqa: S311 - repeatable on purpose, nothing is kept secret by it


def _secret_rngs(
    study: Study, systems: list[System], reviewers: list[int], items: list[int]
) -> Callable[[str], random.Random]:
    """As `_rng`, repeatable on this server for the same seed and the same plan, but from the seed alone nobody can tell
    which output is whose; nor from another study with the same seed, once that is closed.
    """
    sizes = [study.layout, study.per_page, study.ratings_per_output]
    plan = [study.seed, sizes, [system.pk for system in systems], reviewers, items]
    digest = hashlib.sha256(repr(plan).encode()).hexdigest()
    return lambda purpose: random.Random(  # noqa: S311
        salted_hmac("evaluation.order", f"{digest}/{purpose}").hexdigest()
    )


@transaction.atomic
def start(study: Study, user) -> Study:
    """Freeze the study: its texts, who sees which outputs in which order, and the protocol that says so.

    Raises:
        ValidationError: it has started, or something is missing; every reason is named.
    """
    study = studies.locked_draft(study)
    ready = readiness(study)
    if ready.problems:
        raise ValidationError(ready.problems)
    systems = list(study.systems.order_by("pk"))
    reviewers = list(study.reviewers.order_by("user_id").values_list("user_id", flat=True))
    drawn, notes = _draw(study, systems)
    StudyItem.objects.bulk_create(drawn, batch_size=1_000)
    items = [row.item_id for row in drawn if not row.spare]
    spare = [row.item_id for row in drawn if row.spare]
    _write_controls(study, systems, items + spare)
    plan = _plan(study, len(items), len(systems), len(reviewers))
    secret_rng = _secret_rngs(study, systems, reviewers, items + spare)
    pages = assignment.assign(plan, secret_rng("assignment"))
    sequences = assignment.place(
        assignment.order(pages, secret_rng("order")),
        checks=study.checks,
        repeats=study.repeats,
        practice=study.practice,
        rng=secret_rng("places"),
    )
    maker = _Maker(study, systems, items, spare, plan.per_page, secret_rng("practice"))
    for number, reviewer in enumerate(reviewers):
        maker.make(reviewer, sequences[number], secret_rng(f"reviewer {number}"))
    protocol.write(study, user, _facts(study, plan, pages, notes))
    study.status, study.started_at = StudyStatus.RUNNING, timezone.now()
    study.save(update_fields=["status", "started_at"])
    return study


def _facts(study: Study, plan: assignment.Plan, pages: list[assignment.Page], notes: list[str]) -> dict[str, Any]:
    """What starting found, for the protocol. Who sees what is only hashed: the protocol may be read while it runs."""
    from evaluation.design import balance  # loads scipy, which the web process needs for nothing else

    rows = sorted((page.reviewer, page.item, page.systems) for page in pages)
    strata = study.drawn.filter(spare=False).order_by("item__external_id").values_list("item__external_id", "stratum")
    return {
        "items": [list(row) for row in strata],
        "sampling_notes": notes,
        "control_notes": _older_controls(
            list(study.systems.order_by("pk")),
            Item.objects.filter(pk__in=study.drawn.filter(spare=False).values("item")),
        ),
        "shown_as": rules_of(study).describe(),
        "sizes": {
            "texts": plan.items,
            "systems": plan.systems,
            "reviewers": plan.reviewers,
            "outputs_on_a_page": plan.per_page,
            "ratings_per_output": plan.ratings_per_output,
            "pages": len(pages),
        },
        "balance": balance.balance(pages, plan.systems, plan.reviewers).words,
        "assignment": hashlib.sha256(repr(rows).encode()).hexdigest(),
    }


# What the hidden systems show is written when the study starts. An output that a study has shown stays as it is.
CONTROL_OUTPUTS = {
    SystemKind.ORIGINAL: "SELECT id, text FROM annotation_item WHERE id = ANY(%(items)s)",
    SystemKind.REWRITE: (
        "SELECT item_id, rewrite FROM annotation_pair WHERE item_id = ANY(%(items)s) AND status = %(approved)s"
    ),
}
WRITE_CONTROLS = """
INSERT INTO evaluation_output (project_id, system_id, item_id, text, created_at)
SELECT %(project)s, %(system)s, made.* , now() FROM ({made}) AS made
ON CONFLICT (system_id, item_id) DO UPDATE SET text = EXCLUDED.text
WHERE NOT EXISTS (SELECT 1 FROM evaluation_slotoutput shown WHERE shown.output_id = evaluation_output.id)
"""


def _write_controls(study: Study, systems: list[System], items: list[int]) -> None:
    with connection.cursor() as cursor:
        for system in systems:
            if system.kind in CONTROLS:
                cursor.execute(
                    WRITE_CONTROLS.format(made=CONTROL_OUTPUTS[SystemKind(system.kind)]),
                    {
                        "project": study.project_id,
                        "system": system.pk,
                        "items": items,
                        "approved": PairStatus.APPROVED,
                    },
                )
                if Output.objects.filter(system=system, item__in=items).count() < len(items):
                    raise ValidationError("While the study started, a rewrite lost its approval. Start it once more.")


class _Maker:
    """Makes the pages of one study, reviewer by reviewer."""

    def __init__(
        self,
        study: Study,
        systems: list[System],
        items: list[int],
        spare: list[int],
        per_page: int,
        rng: random.Random,
    ) -> None:
        self.study, self.systems, self.items, self.per_page = study, systems, items, per_page
        self.practice, self.checks = spare[: study.practice], spare[study.practice :]
        self.rules = rules_of(study)
        self.levels = min((criterion.levels for criterion in study.criteria.all()), default=2)
        # Everybody practises on the same outputs.
        self.practised = [rng.sample(range(len(systems)), per_page) for _ in self.practice]

    def make(self, reviewer: int, sequence: list[assignment.Placed], rng: random.Random) -> None:
        """All pages of one reviewer."""
        wanted = [(placed, *self._what(placed, rng)) for placed in sequence]
        outputs = self._outputs({item for _, item, _ in wanted})
        tasks: dict[int, ReviewTask] = {}
        slots: list[Slot] = []
        links: list[SlotOutput] = []
        for place, (placed, item, systems) in enumerate(wanted):
            original = None if placed.original is None else tasks[placed.original]
            if original is not None and original.kind == TaskKind.SAME:
                continue  # a page that nobody was shown is not shown again
            task = ReviewTask(
                study=self.study, reviewer_id=reviewer, item_id=item, kind=placed.kind, repeats=original, position=0
            )
            tasks[place] = task
            shown = _alike(outputs[item, system] for system in systems)
            if placed.kind == TaskKind.CHECK:
                shown = self._with_check(shown, rng)
            elif placed.kind == TaskKind.RATING and len(shown) == 1 and not self.study.asks_criteria:
                now = timezone.now()
                task.kind, task.tie, task.done_at, task.updated_at = TaskKind.SAME, True, now, now
            for position, (text, pks) in enumerate(shown, start=1):
                slot = Slot(id=uuid.uuid4(), task=task, text=text, position=position)
                slots.append(slot)
                links += [SlotOutput(slot=slot, output_id=pk) for pk in pks]
                if placed.kind == TaskKind.CHECK and not pks:
                    task.expected = {"slot": str(slot.pk)} | self._expected(text)
        rated = [task for task in tasks.values() if task.kind == TaskKind.RATING]
        for task in rng.sample(rated, min(self.study.guesses, len(rated))):
            task.guess_wanted = True
        seen = [task for task in tasks.values() if task.kind != TaskKind.SAME]
        unseen = [task for task in tasks.values() if task.kind == TaskKind.SAME]
        for position, task in enumerate([*seen, *unseen], start=1):
            task.position = position
        _save(list(tasks.values()), slots, links)

    def _what(self, placed: assignment.Placed, rng: random.Random) -> tuple[int, Iterable[int]]:
        """The item, and the places of the systems in their order, that a page shows."""
        if placed.page is not None:
            return self.items[placed.page.item], placed.page.systems
        number = placed.number or 0
        if placed.kind == TaskKind.PRACTICE:
            return self.practice[number], self.practised[number]
        return self.checks[number], rng.sample(range(len(self.systems)), self.per_page)

    def _outputs(self, items: set[int]) -> dict[tuple[int, int], tuple[int, str]]:
        """(item, place of the system) -> (output, its text in the form that is shown)."""
        places = {system.pk: place for place, system in enumerate(self.systems)}
        found = {}
        pks = sorted(items)
        for first in range(0, len(pks), 500):
            rows = Output.objects.filter(system__in=self.systems, item__in=pks[first : first + 500])
            for item, system, pk, text, original in rows.values_list(
                "item_id", "system_id", "pk", "text", "item__text"
            ):
                found[item, places[system]] = (pk, forms.normalise(text, self.rules, original).text)
        return found

    def _with_check(self, shown: list[tuple[str, list[int]]], rng: random.Random) -> list[tuple[str, list[int]]]:
        """The page with the check in the place of an output; beside the only one where all outputs read alike, since
        there must be something to choose from.
        """
        if len(shown) == 1 < self.per_page:
            shown.append(self._check(rng))
            rng.shuffle(shown)
        else:
            shown[rng.randrange(len(shown))] = self._check(rng)
        return shown

    def _check(self, rng: random.Random) -> tuple[str, list[int]]:
        """An output that says what to choose, and stands for no system."""
        if self.study.asks_criteria:
            return CHECK_LEVEL.format(level=rng.randint(1, self.levels)), []
        return CHECK_CHOICE.format(best="best" if self.study.asks_worst else "better"), []

    def _expected(self, text: str) -> dict[str, Any]:
        for level in range(1, self.levels + 1):
            if text == CHECK_LEVEL.format(level=level):
                return {"level": level}
        return {"preferred": True}


def _alike(outputs: Iterable[tuple[int, str]]) -> list[tuple[str, list[int]]]:
    """Outputs in their order, those that a reader cannot tell apart as one."""
    groups: dict[str, tuple[str, list[int]]] = {}
    for pk, text in outputs:
        groups.setdefault(forms.appearance(text), (text, []))[1].append(pk)
    return list(groups.values())


def _save(tasks: list[ReviewTask], slots: list[Slot], links: list[SlotOutput]) -> None:
    first = [task for task in tasks if task.repeats is None]
    ReviewTask.objects.bulk_create(first, batch_size=1_000)
    ReviewTask.objects.bulk_create([task for task in tasks if task.repeats is not None], batch_size=1_000)
    # Rows are stored by their random ids, so that not even the order on disk follows the systems.
    Slot.objects.bulk_create(sorted(slots, key=lambda slot: slot.id), batch_size=1_000)
    SlotOutput.objects.bulk_create(sorted(links, key=lambda link: link.slot_id), batch_size=1_000)
