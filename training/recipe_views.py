"""Pages about recipes and prompts. Trainers write, leads look on. Nothing here loads a model."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access
from annotation.forms import show_errors
from annotation.models import Project, Role
from annotation.pagination import page_by_id
from training import checks, recipe_yaml, recipes
from training.models import Dataset, PromptVersion, Recipe, Run
from training.parameters import METHODS, PRESETS, Hyperparameters
from training.recipe_forms import (
    SPECS,
    NeedsForm,
    RecipeForm,
    method_of,
    preset_values,
    recipe_values,
    shown,
    typed_values,
    yaml_values,
)

READERS = (Role.LEAD, Role.TRAINER)


def may_train(request: HttpRequest, project: Project) -> bool:
    """Whether to show what only trainers may do; the views check again."""
    return request.user.is_superuser or Role.TRAINER in access.roles_in(request.user, project.pk)


@require_http_methods(["GET", "POST"])
def new_recipe(request: HttpRequest, pk: int) -> HttpResponse:
    """A recipe, from a preset (`?preset=`) or from another recipe (`?like=`).

    Posted with `fill`, the form comes back filled in and nothing is saved: from a preset, from YAML, with a stored
    prompt, or for another method.
    """
    project = access.project_for(request.user, pk, Role.TRAINER)
    context: dict[str, Any] = {"project": project, "yaml": "", "filled": [], "note": ""}
    status = 200
    if request.method == "GET":
        form = RecipeForm(values=_first_values(request, project, context))
    elif fill := request.POST.get("fill", ""):
        form, status = _filled(request, project, fill, context)
    else:
        form, status = RecipeForm(request.POST), 422
        context["yaml"] = request.POST.get("yaml", "")
        if form.is_valid():
            try:
                return redirect(recipes.create_recipe(project=project, user=request.user, **form.recipe()))
            except ValidationError as error:
                show_errors(form, error)
    context |= {"form": form, "presets": PRESETS.values(), "prompt_names": _prompt_names(project)}
    if request.htmx:  # type: ignore[attr-defined]
        response = render(request, "training/_recipe_fields.html", context, status=status)
        response["HX-Trigger"] = "recipeChanged"
        return response
    context |= {
        "needs": NeedsForm(project=project, initial=usual(project)),
        "differences": differences(),
    }
    return render(request, "training/recipe_form.html", context, status=status)


def _first_values(request: HttpRequest, project: Project, context: dict[str, Any]) -> dict[str, Any]:
    like = request.GET.get("like", "")
    found = Recipe.objects.filter(project=project).select_related("prompt")
    source = found.filter(pk=like).first() if like.isdecimal() and len(like) < 19 else None
    if source:
        context |= {"source": source, "filled": labels(source.filled)}
        return recipe_values(source)
    preset = PRESETS.get(request.GET.get("preset", ""), PRESETS["cpu-demo"])
    context["preset"] = preset.key
    return preset_values(preset)


def _filled(request: HttpRequest, project: Project, fill: str, context: dict[str, Any]) -> tuple[RecipeForm, int]:
    typed = typed_values(request.POST)
    context["yaml"] = request.POST.get("yaml", "")
    if fill == "preset":
        preset = PRESETS.get(request.POST.get("preset", ""), PRESETS["cpu-demo"])
        context["note"] = f"Filled in from {preset.name}. {preset.source}"
        context["preset"] = preset.key
        return RecipeForm(values=preset_values(preset, typed)), 200
    if fill == "yaml":
        try:
            loaded = recipes.read_yaml(context["yaml"])
        except ValidationError as error:
            context["yaml_errors"] = error.messages
            return RecipeForm(values=typed), 422
        context |= {"yaml": "", "note": "Filled in from the YAML.", "filled": labels(loaded.filled)}
        values = yaml_values(loaded)
        return RecipeForm(values=values | {"name": values["name"] or typed.get("name", "")}), 200
    if fill == "prompt":
        name = request.POST.get("prompt_name", "").strip()
        newest = PromptVersion.objects.filter(project=project, name=name).order_by("-version").first()
        if newest is None:
            context["note"] = f"There is no prompt named {name} yet: saving the recipe stores it." if name else ""
        else:
            typed |= {"prompt_template": newest.template, "examples": newest.examples}
            context["note"] = f"Took the words of {newest}."
    return RecipeForm(values=typed), 200


def labels(names: list[str]) -> list[tuple[str, str]]:
    """(label, default) of hyperparameters that were filled in."""
    defaults = Hyperparameters()
    return [(recipes.label(name), shown(getattr(defaults, name, METHODS["qlora"]))) for name in names]


def _prompt_names(project: Project) -> list[str]:
    names = PromptVersion.objects.filter(project=project).order_by("name").values_list("name", flat=True)
    return list(names.distinct()[:100])


def usual(project: Project) -> dict[str, Any]:
    """The device that ran last, and the newest dataset: what the next run is most likely for."""
    last = Run.objects.filter(project=project).exclude(device="").only("device").first()
    device = checks.device_named(last.device) if last else None
    return {"device": device.key if device else "", "dataset": Dataset.objects.filter(project=project).first()}


def differences() -> list[tuple[str, list[str]]]:
    """(label, value in each preset) of what the presets do not agree on."""
    presets = list(PRESETS.values())
    rows = [("Method", [method_of(preset) for preset in presets])]
    rows.append(("Base model", [preset.base_model or "server's default" for preset in presets]))
    for name, spec in SPECS.items():
        values = [
            shown(getattr(preset.parameters, name)) if method_of(preset) in spec.metadata["methods"] else "–"
            for preset in presets
        ]
        if len(set(values)) > 1:
            rows.append((spec.metadata["label"], values))
    return rows


@require_POST
def recipe_check(request: HttpRequest, pk: int) -> HttpResponse:
    """What the recipe on the form needs, and whether it can work. Nothing is saved."""
    project = access.project_for(request.user, pk, Role.TRAINER)
    form, needs = RecipeForm(request.POST), NeedsForm(request.POST, project=project)
    context: dict[str, Any] = {"project": project, "live": True}
    try:
        if not form.is_valid():
            raise ValidationError({name: list(errors) for name, errors in form.errors.items()})
        values = form.recipe()
        recipes.check_base(values["base_model"].strip(), values["revision"].strip())
        parameters = recipes.check_parameters(values["parameters"])
        recipes.check_prompt(values["prompt_template"], values["examples"])
    except ValidationError as error:
        context["unusable"] = [
            f"{recipes.label(name)}: {message}" for name, messages in error.message_dict.items() for message in messages
        ]
        return render(request, "training/_recipe_needs.html", context)
    context |= needs_context(needs, values | {"parameters": parameters}, look=True)
    context["recipe_yaml"] = recipe_yaml.dump(**{**values, "parameters": parameters.to_json()})
    return render(request, "training/_recipe_needs.html", context)


@require_GET
def run_check(request: HttpRequest, pk: int) -> HttpResponse:
    """What a run of the chosen recipe on the chosen dataset needs."""
    project = access.project_for(request.user, pk, Role.TRAINER)
    chosen = request.GET.get("recipe", "")
    found = Recipe.objects.filter(project=project).select_related("prompt")
    recipe = found.filter(pk=chosen).first() if chosen.isdecimal() and len(chosen) < 19 else None
    context: dict[str, Any] = {"project": project}
    if recipe:
        data = request.GET.copy()
        data["for-dataset"] = request.GET.get("dataset", "")
        context |= stored_needs(recipe, NeedsForm(data, project=project), look=True)
    return render(request, "training/_recipe_needs.html", context)


def stored_needs(recipe: Recipe, needs: NeedsForm, *, look: bool) -> dict[str, Any]:
    """`needs_context` of a stored recipe, which may be from another version."""
    try:
        parameters = recipes.check_parameters(recipe.parameters)
    except ValidationError as error:
        reasons = [f"{recipes.label(name)}: {words[0]}" for name, words in error.message_dict.items()]
        return {"unusable": ["This recipe is from another version; make one like it.", *reasons]}
    values = {
        "method": recipe.method,
        "base_model": recipe.base_model,
        "revision": recipe.revision,
        "parameters": parameters,
        "prompt_template": recipe.prompt_template,
        "examples": recipe.prompt.examples if recipe.prompt else [],
    }
    return needs_context(needs, values, look=look)


MEMORY_LABELS = {
    "weights": "Weights of the base",
    "adapter": "Adapter, gradients, optimiser",
    "activations": "Activations",
    "logits": "Logits over the vocabulary",
    "rest": "CUDA and the allocator",
}


def needs_context(needs: NeedsForm, values: dict[str, Any], *, look: bool) -> dict[str, Any]:
    needs.is_valid()  # a device or dataset that is not there counts as not chosen
    chosen = needs.cleaned_data
    found = recipes.examine(
        method=values["method"],
        base_model=values["base_model"].strip(),
        revision=values["revision"].strip(),
        parameters=values["parameters"],
        template=values["prompt_template"],
        examples=values["examples"],
        dataset=chosen.get("dataset"),
        device=chosen.get("device") or "",
        gib=chosen.get("gib"),
        look=look,
    )
    memory = found.report.memory
    full = values["method"] == "seq2seq" and values["parameters"].full_finetuning
    names = MEMORY_LABELS | ({"adapter": "Gradients, optimiser"} if full else {})
    return {
        "found": found,
        "dataset": chosen.get("dataset"),
        "findings": [(one, recipes.label(one.field)) for one in found.report.findings],
        "memory": memory and [(names[name], size / checks.GIB) for name, size in memory.parts.items()],
        "trained": found.report.facts
        and found.report.facts.linears
        and checks.trained_weights(found.report.facts, values["method"], values["parameters"]),
    }


@require_GET
def recipe(request: HttpRequest, pk: int) -> HttpResponse:
    """A recipe in full, what it needs, and its runs."""
    rows = Recipe.objects.select_related("project", "created_by", "prompt")
    found = access.object_for(request.user, rows, pk, *READERS)
    needs = NeedsForm(
        {f"for-{name}": getattr(value, "pk", value) for name, value in usual(found.project).items() if value},
        project=found.project,
    )
    context = {
        "project": found.project,
        "recipe": found,
        "groups": facts(found),
        "filled": labels(found.filled),
        "yaml": found.to_yaml(),
        "runs": found.runs.select_related("dataset")[:20],
        "may_train": may_train(request, found.project),
        "pinnable": recipes.pinnable(found),
        "pinned": recipes.is_pinned(found.revision),
        **stored_needs(found, needs, look=False),
    }
    return render(request, "training/recipe.html", context)


def facts(found: Recipe) -> list[tuple[str, list[tuple[str, str]]]]:
    """(group, [(label, value)]) of what the recipe's method uses; what this version does not know comes last."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, spec in SPECS.items():
        if found.method in spec.metadata["methods"]:
            value = found.parameters.get(name, spec.default)
            groups.setdefault(spec.metadata["group"], []).append((spec.metadata["label"], shown(value)))
    if unknown := [(name, shown(value)) for name, value in found.parameters.items() if name not in SPECS]:
        groups["Not known to this version"] = unknown
    return list(groups.items())


@require_GET
def recipe_file(request: HttpRequest, pk: int) -> HttpResponse:
    """The recipe as a YAML file."""
    found = access.object_for(request.user, Recipe.objects.select_related("prompt"), pk, *READERS)
    return yaml_response(found)


def yaml_response(found: Recipe) -> HttpResponse:
    response = HttpResponse(found.to_yaml(), content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{slugify(found.name) or "recipe"}.yaml"'
    return response


@require_POST
def recipe_pin(request: HttpRequest, pk: int) -> HttpResponse:
    """Fix the recipe to the commit that is known of its base model."""
    found = access.object_for(request.user, Recipe.objects.all(), pk, Role.TRAINER)
    try:
        recipes.pin(found)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    else:
        messages.success(request, f"Pinned to {found.revision}.")
    return redirect(found)


@require_GET
def prompts(request: HttpRequest, pk: int) -> HttpResponse:
    """The project's prompts with all their versions, newest first."""
    project = access.project_for(request.user, pk, *READERS)
    versions = PromptVersion.objects.filter(project=project).select_related("created_by").prefetch_related("recipes")
    context = {
        "project": project,
        "page": page_by_id(versions, request.GET.get("after"), descending=True),
        "may_train": may_train(request, project),
    }
    return render(request, "training/prompts.html", context)
