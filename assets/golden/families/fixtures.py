"""The fixtures: a config.json each, how its file is stored, and the fields of the config that the logits must depend on."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

VOCAB = 96
# In the altered configs of `Fixture.fields`: the field is removed.
ABSENT = object()

Weights = dict[str, torch.Tensor]


@dataclass
class Fixture:
    name: str
    # config.json, as the library that saved the checkpoint writes it.
    config: dict
    # Alterations of config.json by name. Each must move the logits. Keys are paths with dots.
    fields: dict[str, dict]
    # generation_config.json. None: there is no such file.
    generation: dict | None = None
    # Alterations of generation_config.json (of config.json if there is none) that must change the generated ids.
    generation_fields: dict[str, dict] = field(default_factory=dict)
    # Ids before and after the random ids of a source.
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    # The random ids are at least `ordinary[0]` and less than `ordinary[1]`.
    ordinary: tuple[int, int] = (4, VOCAB - 4)
    # The file holds an `lm_head.weight` of its own.
    untied: bool = True
    # The installed transformers loads the checkpoint and saves it again, so that both JSON files are its own.
    resaved: bool = False
    # Changes what the file holds, after it is complete.
    edit: Callable[[Weights], Weights] = lambda weights: weights
    # The largest size of a shard. None: one file.
    shards: str | None = None
    # Also f16 and bf16 copies of the weights.
    copies: bool = False


def decoder_only(model_type: str, **fields) -> dict:
    architecture = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}[model_type]
    config = dict(
        architectures=[f"{architecture}ForCausalLM"],
        bos_token_id=1,
        eos_token_id=2,
        hidden_act="silu",
        hidden_size=32,
        initializer_range=0.02,
        intermediate_size=48,
        max_position_embeddings=64,
        model_type=model_type,
        num_attention_heads=4,
        num_hidden_layers=2,
        num_key_value_heads=2,
        # So large that it matters.
        rms_norm_eps=0.01,
        tie_word_embeddings=False,
        use_cache=True,
        vocab_size=VOCAB,
    )
    return config | fields


def altered(rope: str = "rope_parameters", theta: str | None = None, **paths) -> dict[str, dict]:
    """The alterations that every decoder-only fixture has, and one for each of `paths`."""
    theta = theta or f"{rope}.rope_theta"
    common = {"rms_norm_eps": {"rms_norm_eps": 1e-5}, "hidden_act": {"hidden_act": "gelu"}, "rope_theta": {theta: 3000.0}}
    return common | {path.replace("__", "."): {path.replace("__", "."): value} for path, value in paths.items()}


def heads(attention: int, key_value: int, size: int) -> dict:
    return dict(num_attention_heads=attention, num_key_value_heads=key_value, head_dim=size)


LLAMA3 = dict(
    factor=4.0,
    high_freq_factor=1.25,
    low_freq_factor=0.5,
    # Shorter than the rows. The four wavelengths are below, between and above the two limits, 6.4 and 16.
    original_max_position_embeddings=8,
)
LLAMA3_ENDS = [90, 91, 93]


def llama3(**rope) -> dict:
    return decoder_only("llama", eos_token_id=LLAMA3_ENDS, bos_token_id=89, num_key_value_heads=2, **rope)


def llama3_fields(path: str, theta: str) -> dict[str, dict]:
    return altered(path, theta) | {
        "rope factor": {f"{path}.factor": 8.0},
        "rope high_freq_factor": {f"{path}.high_freq_factor": 1.0},
        "rope low_freq_factor": {f"{path}.low_freq_factor": 0.25},
        "rope original_max": {f"{path}.original_max_position_embeddings": 16},
        "rope_type": {f"{path}.rope_type": "default"},
        "heads": heads(8, 4, 4),
    }


def smaller(**fields) -> dict:
    return decoder_only("llama", hidden_size=24, num_attention_heads=3, num_key_value_heads=3) | fields


LLAMA = [
    Fixture(
        "llama2",
        # As the first checkpoints have it: no rope_theta, no num_key_value_heads, no head_dim, no biases.
        {key: value for key, value in decoder_only("llama").items() if key != "num_key_value_heads"}
        | dict(pretraining_tp=1, rope_scaling=None, torch_dtype="float32", transformers_version="4.31.0"),
        altered(theta="rope_theta") | {"heads": dict(num_attention_heads=2)},
        generation=dict(_from_model_config=True, bos_token_id=1, eos_token_id=2, transformers_version="4.31.0"),
        generation_fields={"eos_token_id": {"eos_token_id": 5}},
        prefix=(1,),
    ),
    Fixture(
        "llama3",
        llama3(rope_parameters=LLAMA3 | dict(rope_theta=10.0, rope_type="llama3")),
        llama3_fields("rope_parameters", "rope_parameters.rope_theta"),
        resaved=True,
        generation=dict(bos_token_id=89, eos_token_id=LLAMA3_ENDS),
        generation_fields={"eos_token_id": {"eos_token_id": 5}},
        prefix=(89,),
        ordinary=(0, 89),
    ),
    Fixture(
        "llama3-transformers4",
        llama3(
            rope_scaling=LLAMA3 | dict(rope_type="llama3"),
            rope_theta=10.0,
            attention_bias=False,
            attention_dropout=0.0,
            mlp_bias=False,
            pretraining_tp=1,
            torch_dtype="float32",
            transformers_version="4.43.0",
        ),
        llama3_fields("rope_scaling", "rope_theta"),
        generation=dict(
            bos_token_id=89,
            do_sample=True,
            eos_token_id=LLAMA3_ENDS,
            temperature=0.6,
            top_p=0.9,
            transformers_version="4.43.0",
        ),
        generation_fields={"eos_token_id": {"eos_token_id": 5}},
        prefix=(89,),
        ordinary=(0, 89),
    ),
    Fixture(
        "llama-linear",
        smaller(
            rope_scaling=dict(type="linear", factor=2.5),
            rope_theta=10000.0,
            torch_dtype="float32",
            transformers_version="4.38.0",
        ),
        altered("rope_scaling", "rope_theta", rope_scaling__factor=2.0, rope_scaling__type="default")
        | {"heads": heads(6, 6, 4)},
        prefix=(1,),
    ),
    Fixture(
        # Only what yarn needs: attention_factor is 0.1 ln(factor) + 1, beta_fast 32 and beta_slow 1.
        "llama-yarn",
        smaller(
            max_position_embeddings=2048,
            rope_parameters=dict(
                rope_type="yarn", factor=4.0, original_max_position_embeddings=512, rope_theta=100.0
            ),
        ),
        altered(
            rope_parameters__factor=2.0,
            rope_parameters__attention_factor=1.0,
            rope_parameters__beta_fast=8.0,
            rope_parameters__beta_slow=4.0,
            rope_parameters__original_max_position_embeddings=64,
            rope_parameters__truncate=False,
            rope_parameters__rope_type="linear",
        )
        | {"heads": heads(6, 6, 4)},
        resaved=True,
        prefix=(1,),
    ),
    Fixture(
        "llama-yarn-options",
        smaller(
            num_key_value_heads=1,
            rope_parameters=dict(
                rope_type="yarn",
                attention_factor=0.8,
                beta_fast=0.35,
                beta_slow=0.05,
                factor=4.0,
                # Shorter than the rows.
                original_max_position_embeddings=8,
                rope_theta=100.0,
            ),
        ),
        altered(
            rope_parameters__factor=2.0,
            rope_parameters__attention_factor=ABSENT,
            rope_parameters__beta_fast=ABSENT,
            rope_parameters__beta_slow=ABSENT,
            rope_parameters__original_max_position_embeddings=16,
            rope_parameters__truncate=False,
            rope_parameters__rope_type="linear",
        ),
        resaved=True,
        prefix=(1,),
    ),
    Fixture(
        # The older `type`, no original length (it is max_position_embeddings), and a ramp that is not truncated.
        "llama-yarn-mscale",
        smaller(
            rope_scaling=dict(
                type="yarn", factor=2.0, beta_fast=4.0, mscale=1.5, mscale_all_dim=0.5, truncate=False
            ),
            rope_theta=100.0,
            torch_dtype="float32",
            transformers_version="4.48.0",
        ),
        altered(
            "rope_scaling",
            "rope_theta",
            rope_scaling__factor=3.0,
            rope_scaling__beta_fast=ABSENT,
            rope_scaling__beta_slow=2.0,
            rope_scaling__mscale=ABSENT,
            rope_scaling__mscale_all_dim=ABSENT,
            rope_scaling__truncate=ABSENT,
            rope_scaling__original_max_position_embeddings=32,
            max_position_embeddings=32,
            rope_scaling__attention_factor=1.0,
            rope_scaling__type="linear",
        )
        | {"mscale with mscale_all_dim": {"rope_scaling.mscale": 1.0, "rope_scaling.mscale_all_dim": 1.0}},
        prefix=(1,),
    ),
    Fixture(
        "mistral",
        decoder_only(
            "mistral",
            hidden_size=24,
            # Not hidden_size / num_attention_heads, which is 6.
            head_dim=12,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0),
            sliding_window=4,
        ),
        altered(sliding_window=5) | {"sliding_window null": {"sliding_window": None}, "heads": heads(8, 4, 6)},
        resaved=True,
        generation=dict(bos_token_id=1, eos_token_id=2),
        prefix=(1,),
    ),
    Fixture(
        "smollm2",
        decoder_only(
            "llama",
            attention_bias=False,
            attention_dropout=0.0,
            hidden_size=36,
            is_llama_config=True,
            mlp_bias=False,
            num_attention_heads=6,
            num_key_value_heads=2,
            pad_token_id=2,
            pretraining_tp=1,
            rope_interleaved=False,
            rope_scaling=None,
            rope_theta=100000,
            tie_word_embeddings=True,
            torch_dtype="float32",
            transformers_version="4.42.3",
        ),
        altered(theta="rope_theta") | {"heads": heads(18, 6, 2)},
        generation=dict(
            _from_model_config=True, bos_token_id=1, eos_token_id=2, pad_token_id=2, transformers_version="4.42.3"
        ),
        generation_fields={"eos_token_id": {"eos_token_id": 5}},
        prefix=(1,),
        untied=False,
        copies=True,
    ),
    Fixture(
        # As published: a window that is not used, and more end ids in generation_config.json than in config.json.
        "qwen2",
        decoder_only(
            "qwen2",
            attention_dropout=0.0,
            bos_token_id=91,
            eos_token_id=93,
            hidden_size=24,
            max_window_layers=0,
            rope_theta=1000000.0,
            sliding_window=4,
            tie_word_embeddings=True,
            torch_dtype="float32",
            transformers_version="4.43.1",
            use_sliding_window=False,
        ),
        altered(theta="rope_theta", use_sliding_window=True) | {"heads": dict(num_attention_heads=2, num_key_value_heads=1)},
        generation=dict(
            bos_token_id=91,
            do_sample=True,
            eos_token_id=[93, 91],
            pad_token_id=91,
            temperature=0.7,
            top_k=20,
            top_p=0.8,
            transformers_version="4.43.1",
        ),
        generation_fields={"eos_token_id": {"eos_token_id": 93}},
        ordinary=(0, 90),
        untied=False,
    ),
    Fixture(
        # Layer 0 sees everything, layer 1 the last four positions.
        "qwen2-window",
        decoder_only(
            "qwen2",
            bos_token_id=None,
            eos_token_id=93,
            layer_types=["full_attention", "sliding_attention"],
            max_window_layers=1,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0),
            sliding_window=4,
            use_sliding_window=True,
        ),
        altered(sliding_window=5)
        | {
            "use_sliding_window": {"use_sliding_window": False, "layer_types": ABSENT},
            "max_window_layers 0": {"max_window_layers": 0, "layer_types": ABSENT},
            "max_window_layers 2": {"max_window_layers": 2, "layer_types": ABSENT},
            "layer_types": {"layer_types": ["sliding_attention", "full_attention"]},
            "heads": dict(num_attention_heads=8, num_key_value_heads=4),
        },
        resaved=True,
        generation=dict(eos_token_id=93),
        ordinary=(0, 90),
    ),
    Fixture(
        # The same kind without layer_types, as transformers saved it before 4.53.
        "qwen2-window-transformers4",
        decoder_only(
            "qwen2",
            attention_dropout=0.0,
            bos_token_id=91,
            eos_token_id=93,
            hidden_size=24,
            max_window_layers=1,
            rope_theta=1000.0,
            sliding_window=4,
            torch_dtype="float32",
            transformers_version="4.40.1",
            use_sliding_window=True,
        ),
        altered(theta="rope_theta", sliding_window=5, use_sliding_window=False)
        | {
            "max_window_layers 0": {"max_window_layers": 0},
            "max_window_layers 2": {"max_window_layers": 2},
            "heads": dict(num_attention_heads=2, num_key_value_heads=1),
        },
        ordinary=(0, 90),
    ),
    Fixture(
        "qwen3",
        decoder_only(
            "qwen3",
            attention_bias=False,
            bos_token_id=91,
            eos_token_id=93,
            hidden_size=24,
            # Not hidden_size / num_attention_heads, which is 6.
            head_dim=12,
            max_window_layers=2,
            rope_parameters=dict(rope_type="default", rope_theta=1000000.0),
            sliding_window=None,
            tie_word_embeddings=True,
            use_sliding_window=False,
        ),
        altered(),
        resaved=True,
        generation=dict(bos_token_id=91, eos_token_id=[93, 91], pad_token_id=91),
        ordinary=(0, 90),
        untied=False,
    ),
    Fixture(
        "llama-bias",
        decoder_only(
            "llama",
            attention_bias=True,
            mlp_bias=True,
            hidden_act="gelu",
            rope_parameters=dict(rope_type="default", rope_theta=500000.0),
        ),
        altered(attention_bias=False, mlp_bias=False)
        | {"hidden_act": {"hidden_act": "gelu_new"}, "heads": heads(8, 4, 4)},
        resaved=True,
        generation=dict(bos_token_id=1, eos_token_id=2),
        prefix=(1,),
    ),
]


def bart_like(model_type: str, **fields) -> dict:
    name = {"bart": "BartForConditionalGeneration", "mbart": "MBartForConditionalGeneration", "marian": "MarianMTModel"}
    config = dict(
        architectures=[name.get(model_type, "M2M100ForConditionalGeneration")],
        activation_dropout=0.0,
        attention_dropout=0.0,
        classifier_dropout=0.0,
        d_model=24,
        decoder_attention_heads=4,
        decoder_ffn_dim=32,
        decoder_layerdrop=0.0,
        decoder_layers=2,
        dropout=0.1,
        encoder_attention_heads=3,
        encoder_ffn_dim=24,
        encoder_layerdrop=0.0,
        encoder_layers=2,
        init_std=0.02,
        is_encoder_decoder=True,
        max_position_embeddings=32,
        model_type=model_type,
        tie_word_embeddings=True,
        use_cache=True,
        vocab_size=VOCAB,
    )
    return config | fields


BART_FIELDS = {
    "encoder heads": dict(encoder_attention_heads=4),
    "decoder heads": dict(decoder_attention_heads=3),
}

BART = [
    Fixture(
        # No generation_config.json: `generate` takes its fields from config.json.
        "bart",
        bart_like(
            "bart",
            activation_function="gelu",
            bos_token_id=0,
            decoder_start_token_id=2,
            eos_token_id=2,
            forced_bos_token_id=0,
            forced_eos_token_id=2,
            num_hidden_layers=2,
            normalize_before=False,
            normalize_embedding=True,
            pad_token_id=1,
            scale_embedding=False,
            torch_dtype="float32",
            transformers_version="4.12.0",
        ),
        BART_FIELDS
        | {
            "activation_function relu": dict(activation_function="relu"),
            "activation_function gelu_new": dict(activation_function="gelu_new"),
            "scale_embedding": dict(scale_embedding=True),
        },
        generation_fields={
            "forced_bos_token_id": dict(forced_bos_token_id=None),
            "forced_eos_token_id": dict(forced_eos_token_id=None),
            "decoder_start_token_id": dict(decoder_start_token_id=0),
        },
        prefix=(0,),
        suffix=(2,),
        untied=False,
        copies=True,
    ),
    Fixture(
        # generation_config.json has what config.json has not: the first id, 93, and a second end id.
        "mbart",
        bart_like(
            "mbart",
            activation_function="gelu",
            bos_token_id=0,
            decoder_layers=1,
            decoder_start_token_id=2,
            eos_token_id=2,
            forced_eos_token_id=2,
            pad_token_id=1,
            scale_embedding=True,
        ),
        BART_FIELDS
        | {
            "activation_function relu": dict(activation_function="relu"),
            "activation_function gelu_new": dict(activation_function="gelu_new"),
            "scale_embedding": dict(scale_embedding=False),
        },
        resaved=True,
        generation=dict(
            bos_token_id=0,
            decoder_start_token_id=2,
            eos_token_id=[2, 5],
            forced_bos_token_id=93,
            forced_eos_token_id=2,
            pad_token_id=1,
        ),
        generation_fields={
            "forced_bos_token_id": dict(forced_bos_token_id=ABSENT),
            "forced_eos_token_id": dict(forced_eos_token_id=ABSENT),
            "eos_token_id": dict(eos_token_id=2),
            "decoder_start_token_id": dict(decoder_start_token_id=94),
        },
        prefix=(94,),
        suffix=(2,),
        ordinary=(6, 92),
        untied=False,
    ),
    Fixture(
        "marian",
        bart_like(
            "marian",
            activation_function="swish",
            add_bias_logits=False,
            add_final_layer_norm=False,
            bad_words_ids=[[95]],
            bos_token_id=0,
            decoder_start_token_id=95,
            decoder_vocab_size=VOCAB,
            eos_token_id=0,
            forced_eos_token_id=0,
            max_length=32,
            normalize_before=False,
            normalize_embedding=False,
            num_beams=4,
            num_hidden_layers=2,
            pad_token_id=95,
            scale_embedding=True,
            share_encoder_decoder_embeddings=True,
            static_position_embeddings=True,
            torch_dtype="float32",
            transformers_version="4.22.0",
        ),
        BART_FIELDS
        | {
            "activation_function relu": dict(activation_function="relu"),
            "activation_function gelu": dict(activation_function="gelu"),
            "scale_embedding": dict(scale_embedding=False),
        },
        generation=dict(
            bad_words_ids=[[95]],
            bos_token_id=0,
            decoder_start_token_id=95,
            eos_token_id=0,
            forced_eos_token_id=0,
            max_length=32,
            num_beams=4,
            pad_token_id=95,
            renormalize_logits=True,
            transformers_version="4.32.0",
        ),
        generation_fields={
            "bad_words_ids": dict(bad_words_ids=ABSENT),
            "forced_eos_token_id": dict(forced_eos_token_id=ABSENT),
        },
        suffix=(0,),
        ordinary=(2, 95),
        untied=False,
    ),
    Fixture(
        "m2m100",
        bart_like(
            "m2m_100",
            activation_function="relu",
            bos_token_id=0,
            decoder_start_token_id=2,
            eos_token_id=2,
            pad_token_id=1,
            scale_embedding=True,
        ),
        BART_FIELDS
        | {
            "activation_function": dict(activation_function="gelu"),
            "scale_embedding": dict(scale_embedding=False),
            # The first position is pad_token_id + 1.
            "pad_token_id": dict(pad_token_id=3),
        },
        resaved=True,
        generation=dict(bos_token_id=0, decoder_start_token_id=2, eos_token_id=2, pad_token_id=1),
        generation_fields={"decoder_start_token_id": dict(decoder_start_token_id=94)},
        prefix=(93,),
        suffix=(2,),
        ordinary=(4, 92),
        untied=False,
    ),
]


def t5_like(model_type: str, **fields) -> dict:
    name = {"t5": "T5", "mt5": "MT5", "umt5": "UMT5"}[model_type]
    config = dict(
        architectures=[f"{name}ForConditionalGeneration"],
        classifier_dropout=0.0,
        d_ff=32,
        d_kv=6,
        d_model=24,
        decoder_start_token_id=0,
        dense_act_fn="gelu_new",
        dropout_rate=0.1,
        eos_token_id=1,
        feed_forward_proj="gated-gelu",
        initializer_factor=1.0,
        is_encoder_decoder=True,
        is_gated_act=True,
        layer_norm_epsilon=0.01,
        model_type=model_type,
        num_decoder_layers=2,
        num_heads=4,
        num_layers=2,
        pad_token_id=0,
        # Shorter than the rows.
        relative_attention_max_distance=16,
        relative_attention_num_buckets=8,
        tie_word_embeddings=False,
        use_cache=True,
        vocab_size=VOCAB,
    )
    return config | fields


T5_FIELDS = {
    "layer_norm_epsilon": dict(layer_norm_epsilon=1e-6),
    "relative_attention_max_distance": dict(relative_attention_max_distance=32),
}
GATED_FIELDS = T5_FIELDS | {
    "feed_forward_proj gated-silu": dict(feed_forward_proj="gated-silu", dense_act_fn="silu"),
    "dense_act_fn gelu": dict(dense_act_fn="gelu"),
}
T5_RELU = dict(dense_act_fn="relu", feed_forward_proj="relu", is_gated_act=False, tie_word_embeddings=True)
T5_RELU_FIELDS = T5_FIELDS | {"feed_forward_proj gelu": dict(feed_forward_proj="gelu", dense_act_fn="gelu")}
OLD = dict(torch_dtype="float32", transformers_version="4.23.1")
T5_GENERATION = dict(_from_model_config=True, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0)
# `tie_word_embeddings` of the file says whether outputs are scaled, where `scale_decoder_outputs` is absent.
SCALED_BY_TIE = {"scaling": dict(tie_word_embeddings=True)}
SCALED_BY_FIELD = {"scaling": dict(scale_decoder_outputs=True)}


def only(stored: str) -> Callable[[Weights], Weights]:
    """Stores the shared embedding under another of its names only."""

    def edit(weights: Weights) -> Weights:
        return {stored if name == "shared.weight" else name: value for name, value in weights.items()}

    return edit


def t5(name: str, config: dict, fields: dict[str, dict], **more) -> Fixture:
    return Fixture(
        name,
        config,
        fields,
        **(dict(generation=T5_GENERATION, suffix=(1,), ordinary=(2, VOCAB)) | more),
    )


T5 = [
    t5(
        "t5-v1.0",
        t5_like("t5", **T5_RELU, n_positions=512, output_past=True, **OLD),
        T5_RELU_FIELDS | {"scaling": dict(tie_word_embeddings=False)},
        # No generation_config.json: `generate` takes its ids from config.json.
        generation=None,
        generation_fields={"eos_token_id": dict(eos_token_id=5), "decoder_start_token_id": dict(decoder_start_token_id=2)},
        untied=False,
        copies=True,
    ),
    t5("t5-v1.1", t5_like("t5", **OLD), GATED_FIELDS | SCALED_BY_TIE),
    t5("t5-v1.1-transformers5", t5_like("t5"), GATED_FIELDS | SCALED_BY_FIELD, resaved=True),
    t5(
        "t5-gated-silu",
        # A shallower decoder, and an inner size that is not d_model.
        t5_like(
            "t5",
            d_ff=24,
            d_kv=10,
            dense_act_fn="silu",
            feed_forward_proj="gated-silu",
            num_decoder_layers=1,
            num_heads=2,
            **OLD,
        ),
        T5_FIELDS
        | SCALED_BY_TIE
        | {"feed_forward_proj gated-gelu": dict(feed_forward_proj="gated-gelu", dense_act_fn="gelu_new")},
    ),
    t5("mt5", t5_like("mt5", tokenizer_class="T5Tokenizer", **OLD), GATED_FIELDS),
    t5("mt5-transformers5", t5_like("mt5"), GATED_FIELDS, resaved=True),
    t5("umt5", t5_like("umt5", scalable_attention=True, **OLD), GATED_FIELDS | SCALED_BY_TIE),
    t5("umt5-transformers5", t5_like("umt5"), GATED_FIELDS | SCALED_BY_FIELD, resaved=True),
    t5(
        "t5-decoder-embed-only",
        t5_like("t5", **T5_RELU, **OLD),
        T5_RELU_FIELDS | {"scaling": dict(tie_word_embeddings=False)},
        untied=False,
        edit=only("decoder.embed_tokens.weight"),
    ),
    t5(
        "t5-lm-head-only",
        t5_like("t5", **T5_RELU, **OLD),
        T5_RELU_FIELDS | {"scaling": dict(tie_word_embeddings=False)},
        untied=False,
        edit=only("lm_head.weight"),
    ),
    t5("t5-sharded", t5_like("t5"), GATED_FIELDS | SCALED_BY_FIELD, resaved=True, shards="30KB"),
]

# In the order in which they are made.
FIXTURES = LLAMA + BART + T5
