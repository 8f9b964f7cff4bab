"""What the trainer is given: which tokens count, in which number type the adapter is trained."""

import json
import shutil

import pytest
import torch
import transformers
import trl

from training import base_models
from training.engine import checkpoints, loading, watching
from training.engine import trainer as training
from training.parameters import PRESETS, RunParameters
from training.prompts import DEFAULT_TEMPLATE, render

PAIRS = [
    ("They are all lazy.", "Some of them work less."),
    ("Nobody likes you, 🙃.", "Not everybody likes you."),
    ("هؤلاء كسالى", "بعضهم يعمل أقل"),
]
CHAT = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def base(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path
    return base_models.scratch([DEFAULT_TEMPLATE, *(text for pair in PAIRS for text in pair)]).folder


@pytest.fixture
def chat_base(base, tmp_path):
    """The same model, with a chat template and without a padding token of its own."""
    folder = shutil.copytree(base, tmp_path / "chat")
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text()) | {"chat_template": CHAT}
    config.pop("pad_token", None)
    file.write_text(json.dumps(config))
    return folder


class Stop(Exception):
    pass


def trainer_for(base, folder, monkeypatch, **changes):
    """The trl trainer that `train` sets up, at the moment it would start."""
    seen = []

    def train(self, **options):
        seen.append(self)
        raise Stop

    monkeypatch.setattr(trl.SFTTrainer, "train", train)
    values = PRESETS["cpu-demo"].parameters.to_json() | changes
    parameters = RunParameters(
        **values, method="qlora", base_model="b", base_revision="r", is_scratch=True,
        prompt_template=DEFAULT_TEMPLATE, dataset_hash="h", seed=1,
    )  # fmt: skip
    log = []
    reports = training.Reports(
        tick=lambda: None,
        step=lambda *values: None,
        metric=lambda metric: None,
        samples=lambda samples: None,
        log=log.append,
    )
    with pytest.raises(Stop):
        training.train(
            parameters, {"train": [training.Row(*pair) for pair in PAIRS], "validation": []}, base, folder, reports
        )
    return seen[0], log


def parts(trainer, row):
    """What the model reads before the answer, and what its loss counts."""
    tokens, labels = row["input_ids"], row["labels"]
    counted = [token for token, label in zip(tokens, labels, strict=True) if label != -100]
    assert labels[-len(counted) :] == counted, "what counts is one stretch at the end"
    decode = trainer.processing_class.decode
    return decode(tokens[: -len(counted)]), decode(counted)


def test_the_loss_counts_the_rewrite_and_the_end_and_nothing_else(base, tmp_path, monkeypatch):
    trainer, _ = trainer_for(base, tmp_path / "run", monkeypatch)
    for (text, rewrite), row in zip(PAIRS, trainer.train_dataset, strict=True):
        assert parts(trainer, row) == (render(DEFAULT_TEMPLATE, text), f"{rewrite}<|end|>")


def test_a_chat_template_is_put_around_the_prompt_as_generation_does(chat_base, tmp_path, monkeypatch):
    trainer, _ = trainer_for(chat_base, tmp_path / "run", monkeypatch, max_length=400)
    tokenizer = loading.load_tokenizer(chat_base)
    for (text, rewrite), row in zip(PAIRS, trainer.train_dataset, strict=True):
        before, counted = parts(trainer, row)
        assert before == loading.prompt_text(tokenizer, render(DEFAULT_TEMPLATE, text))
        assert counted == f"{rewrite}<|end|>\n"


def test_a_tokenizer_without_padding_pads_with_its_end_and_still_learns_to_end(chat_base, tmp_path, monkeypatch):
    trainer, _ = trainer_for(chat_base, tmp_path / "run", monkeypatch, max_length=400)
    assert trainer.processing_class.pad_token == "<|end|>"
    batch = trainer.data_collator([trainer.train_dataset[0], trainer.train_dataset[1]])
    end = trainer.processing_class.eos_token_id
    assert all((row == end).sum() == 1 for row in batch["labels"]), "the end counts once, padding never"


def test_only_the_adapter_is_trained_in_float32_on_a_base_of_four_bits(base, tmp_path, monkeypatch):
    trainer, log = trainer_for(base, tmp_path / "run", monkeypatch, optimizer="paged_adamw_8bit")
    trained = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert {weight.dtype for weight in trained.values()} == {torch.float32}
    assert trainer.model.is_loaded_in_4bit
    if not torch.cuda.is_available():
        assert trainer.args.optim == "adamw_torch"
        assert any("needs a GPU" in line for line in log)


def test_target_modules_limit_where_the_adapter_is(base, tmp_path, monkeypatch):
    trainer, _ = trainer_for(base, tmp_path / "run", monkeypatch, target_modules="q_proj, v_proj")
    trained = {name.split(".")[-4] for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert trained == {"q_proj", "v_proj"}


def test_target_modules_that_the_base_does_not_have_are_named(base, tmp_path, monkeypatch):
    with pytest.raises(loading.TrainingError, match="no layers named nothing_like_it"):
        trainer_for(base, tmp_path / "run", monkeypatch, target_modules="nothing_like_it")


def test_a_maximum_length_beyond_the_base_is_refused(base, tmp_path, monkeypatch):
    with pytest.raises(loading.TrainingError, match="reads 2048 tokens at most"):
        trainer_for(base, tmp_path / "run", monkeypatch, max_length=4096)


def test_a_tokenizer_without_an_end_is_refused(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "endless")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(loading.TrainingError, match="no end token"):
        loading.load_tokenizer(folder)


def written(attempt, step):
    """A checkpoint as the trainer leaves one."""
    folder = attempt / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(b"weights" * step)
    checkpoints.mark_complete(folder, step)
    return folder


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    first, second = tmp_path / "attempt-1", tmp_path / "attempt-2"
    ten, twenty, thirty = written(first, 10), written(first, 20), written(second, 30)
    assert checkpoints.last_checkpoint([first, second]) == (thirty, 30)
    (thirty / checkpoints.COMPLETE).write_text("")  # cut off as it was written
    assert checkpoints.last_checkpoint([first, second]) == (twenty, 20)
    (twenty / checkpoints.COMPLETE).unlink()
    assert checkpoints.last_checkpoint([first, second]) == (ten, 10)
    assert checkpoints.last_checkpoint([tmp_path / "attempt-9"]) is None


@pytest.mark.parametrize("damage", ["cut off", "another bit", "missing"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, damage):
    ten, twenty = written(tmp_path, 10), written(tmp_path, 20)
    file = twenty / "optimizer.pt"
    content = bytearray(file.read_bytes())
    if damage == "cut off":
        file.write_bytes(content[:-1])
    elif damage == "another bit":
        content[3] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    assert checkpoints.last_checkpoint([tmp_path]) == (ten, 10)


def test_a_checkpoint_that_an_earlier_release_marked_without_its_files_is_whole(tmp_path):
    written(tmp_path, 10)
    twenty = written(tmp_path, 20)
    (twenty / checkpoints.COMPLETE).write_text('{"step": 20}')
    assert checkpoints.last_checkpoint([tmp_path]) == (twenty, 20)


def test_of_earlier_attempts_the_checkpoint_in_use_and_the_one_before_are_kept(tmp_path):
    first, second = tmp_path / "attempt-1", tmp_path / "attempt-2"
    ten, twenty, thirty, forty = (written(first, 10), written(first, 20), written(second, 30), written(second, 40))
    (forty / "optimizer.pt").write_bytes(b"")
    half = second / "checkpoint-50"
    half.mkdir()
    checkpoints.remove_others([first, second], thirty)
    assert [path.exists() for path in (ten, twenty, thirty, forty, half)] == [False, True, True, False, False]
    checkpoints.remove_others([first, second], None)
    assert not twenty.exists() and not thirty.exists()


def test_a_long_call_is_left_behind_when_someone_cancels():
    import threading

    released = threading.Event()

    def cancelled():
        raise Stop

    with pytest.raises(Stop):
        watching.watched(lambda: released.wait(30), cancelled, every=0.01)
    released.set()
    assert watching.watched(lambda: 7, lambda: None) == 7
    with pytest.raises(KeyError):
        watching.watched(lambda: {}["missing"], lambda: None)
