"""Draws the random weights of a fixture.

transformers starts a network near zero: flat logits, uniform attention, norms of 1 and biases of 0. Such a network hides
mistakes. Here, every tensor matters: attention scores, logits and biases are large, and no norm or bias is neutral.
"""

import torch

# The standard deviation of the logits of every fixture, over the positions.
LOGITS_DEVIATION = 3.0
# Buffers that transformers computes and does not save, by their names in Marian.
COMPUTED = ("embed_positions.weight",)


def names_in_file(model: torch.nn.Module, untied: bool) -> list[str]:
    """The names of the tensors that the weight file holds: of tied tensors only the first, and `lm_head` if untied."""
    computed = COMPUTED if model.config.model_type == "marian" else ()
    names, seen = [], set()
    for name, tensor in model.state_dict().items():
        if name.endswith(computed) or (tensor.data_ptr() in seen and not (untied and name == "lm_head.weight")):
            continue
        seen.add(tensor.data_ptr())
        names.append(name)
    return names


def deviation(name: str, shape: torch.Size, config, tied: bool) -> float:
    """The standard deviation of a weight matrix."""
    width = shape[-1] ** -0.5
    if "relative_attention_bias" in name:
        return 1.0
    if "embed_positions" in name:
        return 0.03
    if name.endswith(("shared.weight", "embed_tokens.weight")):
        if config.model_type in ("bart", "mbart"):
            # So small that the epsilon of layernorm_embedding matters.
            return 0.02
        if getattr(config, "scale_embedding", False):
            return 0.25
        # A tied table must be small beside what the layers add. Otherwise the decoder only repeats its input.
        return 0.25 if tied else 0.5
    if name.endswith((".q.weight", ".k.weight")):
        # T5 does not divide the scores by sqrt(d_kv).
        return 1.4 * config.d_kv**-0.25 * width
    if name.endswith(("q_proj.weight", "k_proj.weight")):
        return 1.5 * width
    if name.endswith(("gate_proj.weight", "up_proj.weight", ".wi.weight", ".wi_0.weight", ".wi_1.weight")):
        return 1.8 * width
    # The layers must add more than the residual holds. Otherwise a tied output only repeats the input.
    added = 2.5 if config.model_type in ("mbart", "m2m_100") else 1.0
    if name.endswith("fc2.weight"):
        return 2.0 * added * width
    if name.endswith("out_proj.weight"):
        return added * width
    return width


def bias(name: str, shape: torch.Size, config, generator: torch.Generator) -> torch.Tensor:
    value = 0.3 * torch.randn(shape, generator=generator)
    activation = getattr(config, "activation_function", None) or getattr(config, "hidden_act", None)
    if activation == "gelu" and name.endswith(("fc1.bias", "gate_proj.bias")):
        # Most activations are where gelu by erf and gelu by tanh differ most.
        value -= 1.5
    return value


def draw(model: torch.nn.Module, untied: bool, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Random values for every tensor of the weight file, sorted by name."""
    tied = not untied and model.config.tie_word_embeddings
    state = model.state_dict()
    drawn = {}
    for name in sorted(names_in_file(model, untied)):
        shape = state[name].shape
        if name == "final_logits_bias":
            value = torch.randn(shape, generator=generator)
        elif name.endswith(".bias"):
            value = bias(name, shape, model.config, generator)
        elif "norm" in name:
            value = 0.6 + torch.rand(shape, generator=generator)
            if "q_norm" in name or "k_norm" in name:
                value *= 1.3
        else:
            value = torch.randn(shape, generator=generator) * deviation(name, shape, model.config, tied)
        drawn[name] = value
    return drawn


def output_scale(drawn: dict[str, torch.Tensor], last: str) -> list[str]:
    """The tensors whose common factor is a factor of the logits: `lm_head`, or the last norm if the output is tied."""
    if "lm_head.weight" in drawn:
        return ["lm_head.weight"]
    return [name for name in (f"{last}.weight", f"{last}.bias") if name in drawn]


def last_norm(model: torch.nn.Module) -> str:
    """The name of the norm before the output layer."""
    names = dict(model.named_modules())
    last = getattr(model.config, "decoder_layers", 0) - 1
    for name in ("model.norm", "decoder.final_layer_norm", "model.decoder.layer_norm"):
        if name in names:
            return name
    return f"model.decoder.layers.{last}.final_layer_norm"


@torch.no_grad()
def scale_output(model: torch.nn.Module, drawn: dict[str, torch.Tensor], all_logits) -> None:
    """Gives the logits their deviation over the positions, and mean 0 where the last norm has a bias.

    `model` holds the weights `drawn`; `all_logits` computes its logits, [time, vocab].
    """
    last = last_norm(model)
    hidden = []
    hook = model.get_submodule(last).register_forward_hook(lambda module, given, out: hidden.append(out.flatten(0, -2)))
    logits = all_logits(model)
    hook.remove()
    factor = LOGITS_DEVIATION / (logits - logits.mean(0)).square().mean().sqrt().item()
    if f"{last}.bias" in drawn:
        # Else the same few ids would be the best at every position.
        mean = torch.cat(hidden).mean(0)
        drawn[f"{last}.bias"] -= mean - 0.2 * mean.std() * drawn[f"{last}.weight"].flip(0)
    for name in output_scale(drawn, last):
        drawn[name] *= factor
