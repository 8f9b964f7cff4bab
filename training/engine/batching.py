"""How examples share a batch: what was asked for, and what this model and device can do rightly."""

import torch
import transformers
from transformers.utils import is_flash_attn_2_available

from training.engine.reports import Reports
from training.parameters import SFT, RunParameters

IN_ONE_ROW = ("padding-free", "packed")


def choose(parameters: RunParameters, model: transformers.PreTrainedModel, dtype: torch.dtype, reports: Reports) -> str:
    """The batching to use: the recipe's, or by-length where texts in one row would not be kept apart.

    Sets the model's attention to FlashAttention where several texts share a row and the device has it. The log says
    what was taken and why.
    """
    wanted = parameters.batching
    if parameters.method == "dpo":
        return "padded"
    if wanted not in IN_ONE_ROW:
        return wanted
    if parameters.method not in SFT or parameters.method == "prefix":
        reports.log(f"{wanted} batches are not for {parameters.method}: texts of like length are batched instead.")
        return "by-length"
    if torch.cuda.is_available() and dtype != torch.float32 and is_flash_attn_2_available():
        try:
            model.set_attn_implementation("flash_attention_2")
        except (ValueError, ImportError) as error:
            reports.log(f"FlashAttention does not work with this model: {str(error).splitlines()[0][:200]}")
    attention = model.config._attn_implementation
    if wanted == "padding-free" and attention != "flash_attention_2":
        # A row's attention would grow with the square of all its texts together, most of it masked away.
        reports.log("padding-free batches are slow without FlashAttention: texts of like length are batched instead.")
        return "by-length"
    if not keeps_apart(model):
        reports.log(
            f"With {attention} attention this model would let texts in one row see each other: texts of like length "
            "are batched instead."
        )
        return "by-length"
    if attention != "flash_attention_2":
        reports.log(f"{wanted} batches without FlashAttention: a mask keeps the texts of a row apart ({attention}).")
    return wanted


@torch.no_grad()
def keeps_apart(model: transformers.PreTrainedModel) -> bool:
    """Whether a text behind another in one row is read as if it were alone.

    Asked of the model itself: how positions become masks differs between architectures and kinds of attention.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        size = min(model.config.get_text_config().vocab_size, 1_000)
        first, second = (torch.arange(start, start + 24, device=device) * 7 % size for start in (1, 31))
        alone = model(input_ids=second[None], use_cache=False).logits[0].float()
        row, places = torch.cat([first, second])[None], torch.arange(24, device=device)
        separate = model(input_ids=row, position_ids=torch.cat([places, places])[None], use_cache=False)
        joined = model(input_ids=row, use_cache=False)
        apart, mixed = ((output.logits[0, 24:].float() - alone).abs().mean() for output in (separate, joined))
        return bool(apart < 0.1 * mixed)
    finally:
        model.train(was_training)
