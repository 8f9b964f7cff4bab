"""What would tell a reviewer which system wrote an output: searches, comparisons and a test of association.

`Planted` puts each kind of leak into real answers, so that the tests can show that they would find it.
"""

import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from django.db import connection

from evaluation.models import ReviewTask, Slot, System

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
ATTRIBUTE = re.compile(r"([\w-]+)=\"([^\"]*)\"")
# The length is that of the body, which is compared itself; the others are the clock's.
CHANGING = {"Content-Length", "Date", "Expires"}
# What nothing that answers a reviewer may read: who wrote what, and what a page is for.
UNREAD_TABLES = ("evaluation_slotoutput", "evaluation_output", "evaluation_system", "evaluation_studyitem")


def sent(response) -> str:
    """Everything that reaches the browser: status, headers, cookies, body."""
    body = b"".join(response.streaming_content) if response.streaming else response.content
    headers = [f"{name}: {value}" for name, value in response.headers.items()]
    cookies = [
        morsel.OutputString() for name, morsel in response.cookies.items() if name not in ("csrftoken", "sessionid")
    ]
    return "\n".join([str(response.status_code), *headers, *cookies, "", body.decode("utf-8", "replace")])


class Traces:
    """Words that must not appear. Numbers count only where no letter or digit touches them."""

    def __init__(self, words: Iterable[str]) -> None:
        parts = [rf"(?<![\w.]){re.escape(word)}(?!\w)" if word.isdigit() else re.escape(word) for word in words]
        self.pattern = re.compile("|".join(sorted(set(parts), key=len, reverse=True)))

    def found_in(self, text: str) -> set[str]:
        return set(self.pattern.findall(text)) | set(self.pattern.findall(html.unescape(text)))


@dataclass(frozen=True)
class Seen:
    """One page as one reviewer got it."""

    task: ReviewTask
    slots: Sequence[Slot]  # in their order
    systems: Sequence[int]  # the first system that each slot stands for; 0 for none
    text: str
    headers: Mapping[str, str]
    queries: Sequence[str]

    def plain(self) -> str:
        """The page with its texts, random ids and secrets replaced by their places."""
        found = self.text
        for written in (lambda text: html.escape(text), lambda text: json.dumps(text)[1:-1], lambda text: text):
            for text in (self.task.item.text, *(slot.text for slot in self.slots)):
                found = found.replace(written(text), "[text]")  # one of them may be the text itself
        for place, slot in enumerate(self.slots):
            found = found.replace(str(slot.pk), f"[slot {place}]")
        found = found.replace(str(self.task.token), "[task]").replace(self.task.reviewer.username, "[reviewer]")
        return re.sub(r"(csrfmiddlewaretoken\" value=\"|X-CSRFToken\": \")\w+", r"\1", found)

    def steady_headers(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name not in CHANGING}

    def attributes(self) -> list[dict[str, str]]:
        """Of each slot, the attributes of the markup around its text, by name and place."""
        page, found = html.unescape(self.text), []
        start = page.find(self.task.item.text) + len(self.task.item.text)  # outputs stand below the text
        if "</section>" not in page:
            return [{} for _ in self.slots]
        for slot in self.slots:
            place = page.find(slot.text, start)
            after = page.find("</section>", place)
            part = page[start:place] + page[place + len(slot.text) : after]
            part = part.replace(str(slot.pk), "[own]").replace(slot.letter, "[letter]")
            seen: dict[str, str] = {}
            for name, value in ATTRIBUTE.findall(part):
                seen[f"{name} {sum(key.startswith(f'{name} ') for key in seen)}"] = value
            found.append(seen)
            start = after
        return found


def different(pages: Sequence[Seen]) -> list[str]:
    """Lines that are on one page and not on another, their texts and ids aside; and headers."""
    first, *rest = pages
    lines = set(first.plain().splitlines())
    found = set()
    for page in rest:
        if page.plain() != first.plain():
            found |= lines ^ set(page.plain().splitlines()) or {"the order of lines"}
        if page.steady_headers() != first.steady_headers():
            found |= {str(pair) for pair in set(page.steady_headers().items()) ^ set(first.steady_headers().items())}
    return sorted(found)


def shared_ids(pages: Sequence[Seen]) -> set[str]:
    """Ids that stand on more than one page: each slot's and each task's is its own."""
    counts: dict[str, int] = {}
    for page in pages:
        for found in set(UUID.findall(page.text)):
            counts[found] = counts.get(found, 0) + 1
    return {found for found, count in counts.items() if count > 1}


def tells(values: Sequence[object], systems: Sequence[int], pages: Sequence[int], draws: int = 400) -> bool:
    """Whether something about slots goes with the system: their mutual information, in bits, against what it is when
    systems are shuffled within each page. True where chance gives as much in fewer than 1 of `draws` shuffles.

    Args:
        values, systems, pages: of each slot; the slots of a page stand together.
    """
    codes = np.unique([str(value) for value in values], return_inverse=True)[1]
    if codes.max() == 0:
        return False
    labels = np.unique(systems, return_inverse=True)[1]
    groups = [np.flatnonzero(np.asarray(pages) == page) for page in dict.fromkeys(pages)]
    rng = np.random.default_rng(7)

    def information(labels: np.ndarray) -> float:
        counts = np.zeros((codes.max() + 1, labels.max() + 1))
        np.add.at(counts, (codes, labels), 1)
        joint = counts / counts.sum()
        apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        there = joint > 0
        return float((joint[there] * np.log2(joint[there] / apart[there])).sum())

    observed, shuffled = information(labels), labels.copy()
    alone = all(len(group) == 1 for group in groups)
    for _ in range(draws):
        if alone:  # one output a page: shuffled over all pages
            shuffled = rng.permutation(labels)
        else:
            for group in groups:
                shuffled[group] = rng.permutation(labels[group])
        if information(shuffled) >= observed - 1e-9:
            return False
    return True


def about_ids(ids: Sequence[str]) -> dict[str, object]:
    """What could be read off random ids: a digit, and whether they ascend."""
    return {"digit": [found[0] for found in ids], "rank": [sorted(ids).index(found) for found in ids]}


def telling(pages: Sequence[Seen]) -> set[str]:
    """The names of whatever about slots goes with their system: attributes, ids and their order, places, lengths of the
    page beyond its texts.
    """
    rows: list[tuple[int, int, dict[str, object]]] = []
    for number, page in enumerate(pages):
        ids = [str(slot.pk) for slot in page.slots]
        facts = about_ids(ids)
        extra = len(page.plain())
        for place, attributes in enumerate(page.attributes()):
            own = {name: facts[name][place] for name in facts} | {"place": place, "length": extra}
            rows.append((number, page.systems[place], own | attributes))
    rows = [row for row in rows if row[1]]
    names = sorted({name for _, _, facts in rows for name in facts})
    systems, places = [row[1] for row in rows], [row[0] for row in rows]
    return {name for name in names if tells([row[2].get(name, "") for row in rows], systems, places)}


def reads_more(pages: Sequence[Seen]) -> list[str]:
    """Queries that one page asks and another does not, and those that read what nothing here may read."""
    shapes = [[re.sub(r"'[^']*'|\b\d+\b", "?", query) for query in page.queries] for page in pages]
    found = [shape for other in shapes for shape in set(other) ^ set(shapes[0])]
    found += [query for shape in shapes for query in shape if any(f'"{table}"' in query for table in UNREAD_TABLES)]
    return sorted(set(found))


class Planted:
    """Middleware that leaks: for tests of the tests. `kind` says what."""

    kind = ""

    def __init__(self, get_response: Callable) -> None:
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        if response.streaming or b"[planted]" in response.content:
            return response
        text = response.content.decode()
        found = Slot.objects.filter(pk__in=set(UUID.findall(text))).prefetch_related("outputs").order_by("position")
        slots = [slot for slot in found if slot.outputs.all()]
        if not slots:
            return response
        outputs = [slot.outputs.all()[0] for slot in slots]
        stable = [hashlib.sha256(str(output.system_id).encode()).hexdigest()[:6] for output in outputs]
        match self.kind:
            case "name":
                text += f"<!-- {System.objects.get(pk=outputs[0].system_id).name} -->"
            case "id":
                text += f"<!-- {outputs[-1].pk} -->"
            case "header":
                response["Server-Timing"] = f"render;dur={outputs[0].system_id % 7}"
            case "etag":
                response["ETag"] = f'"{hashlib.sha256(str(outputs[0].pk).encode()).hexdigest()}"'
            case "class":
                for slot, mark in zip(slots, stable, strict=True):
                    text = text.replace(f'id="output-{slot.letter}"', f'id="output-{slot.letter}" class="v{mark}"')
            case "length":
                text += " " * (int(stable[0], 16) % 50)
            case "task kind":
                text += f"<!-- {slots[0].task.kind[:1]} -->"
            case "query":
                with connection.cursor() as cursor:
                    cursor.execute('SELECT count(*) FROM "evaluation_output"')
            case "shared id":
                text += f"<!-- {slots[0].task.study.tasks.first().token} -->"
        response.content = text.encode()
        if response.has_header("Content-Length"):
            response["Content-Length"] = str(len(response.content))
        return response
