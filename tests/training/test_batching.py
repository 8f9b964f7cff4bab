"""However texts share a batch, each is learned from as if it were alone, and in the same order after a resumption."""

import copy

import pytest
import torch

from tests.training.engine_runs import Told, base_for, parameters_for, rows_of, train
from training.engine import batching, checkpoints, examples, loading, methods
from training.engine.order import Order, Progress
from training.parameters import BATCHINGS

ROWS = {"train": rows_of(), "validation": rows_of()[:5]}


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path


def trainer_for(tmp_path, wanted, attention="sdpa", **changes):
    """The real trainer over one batch of all rows, and what it told."""
    p = parameters_for("lora", batching=wanted, batch_size=len(ROWS["train"]), lora_dropout=0.0, **changes)
    told = Told()
    tokenizer = loading.load_tokenizer(base_for("lora"))
    model = loading.load_model(base_for("lora"), dtype=torch.float32, four_bit=False)
    model.set_attn_implementation(attention)
    built = examples.build(tokenizer, p, ROWS, told.reports())
    # As `choose` does on a GPU with FlashAttention, here with masks instead.
    job = methods.Job(p, tokenizer, model, built, tmp_path / wanted, torch.float32, wanted, Progress(), told.reports())
    torch.manual_seed(0)
    return methods.build(job), told


def loss_and_gradients(trainer):
    """Of one step over everything, from weights that are not the starting ones, where half of a LoRA has none."""
    generator = torch.Generator().manual_seed(1)
    weights = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    with torch.no_grad():
        for weight in weights.values():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    batches = list(trainer.get_train_dataloader())
    counted = sum(int((batch["labels"] != -100).sum()) for batch in batches)
    total = 0.0
    for batch in batches:
        loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=counted)
        loss.backward()
        total += float(loss)
    return total, {name: weight.grad for name, weight in weights.items()}, batches


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("wanted", ["by-length", "padding-free", "packed"])
def test_loss_and_gradients_are_those_of_padded_batches(wanted, attention, tmp_path):
    padded, _ = trainer_for(tmp_path, "padded", attention)
    other, _ = trainer_for(tmp_path, wanted, attention)
    expected, gradients, batches = loss_and_gradients(padded)
    assert (batches[0]["attention_mask"] == 0).sum() > 50, "the texts really differ in length"
    loss, found, batches = loss_and_gradients(other)
    assert ("attention_mask" in batches[0]) == (wanted == "by-length")
    assert loss == pytest.approx(expected, rel=1e-5)
    for name, gradient in gradients.items():
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("wanted", ["padding-free", "packed"])
def test_a_text_does_not_see_the_one_before_it_in_its_row(wanted, tmp_path):
    trainer, _ = trainer_for(tmp_path, wanted)
    batch = next(iter(trainer.get_train_dataloader()))
    second = int((batch["position_ids"][0] == 0).nonzero()[1])
    other = copy.deepcopy(batch)
    other["input_ids"][0, :second] = 7  # all of the first text
    model = trainer.model.eval()
    with torch.no_grad():
        before, after = (
            model(input_ids=one["input_ids"], position_ids=one["position_ids"], use_cache=False).logits[0, second:]
            for one in (batch, other)
        )
    assert torch.equal(before, after)


def test_the_validation_loss_is_the_same_however_it_is_batched(tmp_path):
    losses = []
    for wanted in BATCHINGS:
        for size in (2, 5):
            p = {"max_steps": 1, "eval_steps": 1, "learning_rate": 1e-9, "batch_size": size, "batching": wanted}
            losses.append(train("lora", tmp_path / f"{wanted}-{size}", **p)[0].figures["validation_loss"])
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-5)


@pytest.mark.parametrize("wanted", ["padded", "by-length", "packed"])
def test_going_on_from_any_checkpoint_keeps_the_order_of_the_data(wanted, tmp_path):
    # Ten pairs in batches of two, added up by two: checkpoints fall inside the first, second and third pass.
    how = {"batching": wanted, "batch_size": 2, "gradient_accumulation": 2, "max_steps": 7, "save_steps": 1}
    how |= {"max_length": 128, "eval_steps": 3}
    whole, _ = train("qlora", tmp_path / "whole", **how)
    orders = {whole.figures["data_order"]}
    steps = []
    for step in (6, 5):  # two checkpoints are kept: the last one is the end
        found = tmp_path / "whole" / f"checkpoint-{step}"
        if (found / checkpoints.COMPLETE).is_file():
            rest, told = train("qlora", tmp_path / f"rest-{step}", resume_from=found, **how)
            orders.add(rest.figures["data_order"])
            steps.append(told.steps[0])
            assert rest.figures["tokens"] == whole.figures["tokens"]
            assert rest.figures["validation_loss"] == whole.figures["validation_loss"]
    assert steps
    assert len(orders) == 1
    other, _ = train("qlora", tmp_path / "other", **how | {"max_steps": 6})
    assert other.figures["data_order"] not in orders, "the hash tells another order apart"


def test_an_order_holds_every_example_once_and_differs_between_passes_and_seeds():
    lengths = [number * 37 % 101 for number in range(100)]
    for group in (0, 8):
        order = Order(lengths, group, seed=1)
        first = list(order)
        assert sorted(first) == list(range(100))
        assert list(order) == first
        order.set_epoch(1)
        assert list(order) != first
        assert list(Order(lengths, group, seed=2)) != first


def test_batches_by_length_need_little_padding():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(10, 300, (400,), generator=generator).tolist()

    def padded(group):
        order = list(Order(lengths, group, seed=1))
        batches = [[lengths[index] for index in order[start : start + 8]] for start in range(0, 400, 8)]
        return sum(max(batch) * len(batch) for batch in batches) / sum(lengths)

    assert padded(0) > 1.6
    assert padded(8) < 1.1


def test_a_model_that_would_mix_texts_gets_batches_of_like_length_and_the_log_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(batching, "keeps_apart", lambda model: False)
    result, told = train("lora", tmp_path / "run", batching="packed", max_steps=1)
    assert result.figures["batching"] == "by-length"
    assert any("would let texts in one row see each other" in line for line in told.log)


def test_padding_free_batches_fall_back_to_like_length_without_flashattention(tmp_path):
    result, told = train("qlora", tmp_path / "run", batching="padding-free", max_steps=1)
    assert result.figures["batching"] == "by-length"
    assert any("padding-free batches are slow without FlashAttention" in line for line in told.log)


def test_a_model_that_ignores_positions_is_found_out():
    model = loading.load_model(base_for("lora"), dtype=torch.float32, four_bit=False)
    assert batching.keeps_apart(model)
    forward = model.forward
    model.forward = lambda *args, position_ids=None, **kwargs: forward(*args, **kwargs)
    assert not batching.keeps_apart(model)
