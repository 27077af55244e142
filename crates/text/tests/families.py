#!/usr/bin/env python3
"""Makes families.json beside this file: tiny tokenizers in the form of six model families, and what transformers does with them.

    python families.py

It was run with transformers 5.24.0 and tokenizers 0.23.3. Each entry holds the files of a model's folder, and for some texts
the ids that `tokenizer(text)` and `apply_chat_template` give.
"""

import json
import tempfile
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

LINES = [
    "hello world, hello editor",
    "a text editor for the terminal",
    "un editor di testo per il terminale",
    "user assistant system: hello 12 345",
    "<s> </s> <|end|> [INST] say it in the text",
]
TEXTS = ["hello world", "", "  two  spaces ", "però è già: 日本 😀", "line\n\tline\n", "12 345", "<editor> it", "text<think>"]
CHATS = [
    [("user", "hello world")],
    [("system", "say it"), ("user", " hello\n"), ("assistant", "hello <editor>"), ("user", "12 345 😀")],
]

INST = (
    "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set content = system + message['content'] if loop.index0 == 0 else message['content'] %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
IM = (
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n"
    "    {%- if enable_thinking is defined and not enable_thinking %}\n        {{- '<think></think>\\n' }}\n    {%- endif %}\n"
    "{%- endif %}\n"
)
BARS = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def special(name: str, **flags: bool) -> AddedToken:
    return AddedToken(name, normalized=False, special=True, **flags)


def byte_level(specials: list[AddedToken]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


def sentence_piece(specials: list[AddedToken]) -> Tokenizer:
    """BPE over characters, with bytes for all others: SentencePiece's BPE, as in Llama 2."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    replace, strip = decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)
    tokenizer.decoder = decoders.Sequence([replace, decoders.ByteFallback(), decoders.Fuse(), strip])
    names = specials + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=340, special_tokens=names, show_progress=False))
    # The bytes are pieces of the model, and no added tokens.
    made = json.loads(tokenizer.to_str())
    made["added_tokens"] = [token for token in made["added_tokens"] if not token["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(made))


def unigram(specials: list[AddedToken]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=specials, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


def template(tokenizer: Tokenizer, single: str, names: list[str]) -> None:
    tokens = [(name, tokenizer.token_to_id(name)) for name in names]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=tokens)


def families() -> dict[str, tuple[Tokenizer, dict]]:
    """Each tokenizer with the other files of its folder."""
    made = {}

    bart = byte_level([special("<s>"), special("<pad>"), special("</s>"), special("<unk>")])
    bart.add_special_tokens([special("<mask>", lstrip=True)])
    bart.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    roles = dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")
    config = dict(model_type="bart", is_encoder_decoder=True, eos_token_id=2, pad_token_id=1)
    made["bart"] = bart, {"special_tokens_map.json": roles, "config.json": config}

    llama = sentence_piece([special("<unk>"), special("<s>"), special("</s>")])
    llama.add_special_tokens([special("<|stop|>")])
    llama.add_tokens([AddedToken("<editor>", normalized=False)])
    template(llama, "<s> $A", ["<s>"])
    flags = dict(__type="AddedToken", lstrip=False, rstrip=False, single_word=False, normalized=False)
    names = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    named = {role: flags | dict(content=name) for role, name in names.items()}
    stop = llama.token_to_id("<|stop|>")
    config = dict(model_type="llama", eos_token_id=2, pad_token_id=-1)
    made["llama2"] = llama, {
        "tokenizer_config.json": named | dict(chat_template=INST),
        "config.json": config,
        "generation_config.json": dict(eos_token_id=[2, stop]),
    }

    t5 = unigram([special("<pad>"), special("</s>"), special("<unk>")])
    template(t5, "$A </s>", ["</s>"])
    roles = dict(eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    made["t5"] = t5, {"tokenizer_config.json": roles}

    nllb = unigram([special("<s>"), special("<pad>"), special("</s>"), special("<unk>")])
    nllb.add_special_tokens([special("eng_Latn"), special("ita_Latn")])
    template(nllb, "eng_Latn $A </s>", ["eng_Latn", "</s>"])
    roles = dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    extra = dict(additional_special_tokens=["eng_Latn", "ita_Latn"])
    config = dict(model_type="m2m_100", is_encoder_decoder=True, eos_token_id=2, pad_token_id=1)
    made["nllb"] = nllb, {"tokenizer_config.json": roles | extra, "config.json": config}

    qwen = byte_level([special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>")])
    qwen.normalizer = normalizers.NFC()
    qwen.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    roles = dict(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    named = [dict(name="tool_use", template="{{ raise_exception('tools') }}"), dict(name="default", template=IM)]
    made["qwen2"] = qwen, {
        "tokenizer_config.json": roles | dict(bos_token=None, chat_template=named),
        "config.json": dict(model_type="qwen2", eos_token_id=0),
        "generation_config.json": dict(eos_token_id=[2, 0]),
    }

    phi = sentence_piece([special("<unk>"), special("<s>"), special("<|endoftext|>")])
    bars = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    phi.add_special_tokens([special(name, rstrip=True) for name in bars])
    template(phi, "$A", [])
    roles = dict(bos_token="<s>", eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<unk>")
    made["phi3"] = phi, {
        "tokenizer_config.json": roles,
        "chat_template.jinja": BARS,
        "config.json": dict(model_type="phi3", eos_token_id=2),
    }
    return made


def expected(folder: Path, chats: bool) -> dict:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    texts = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        texts.append(dict(text=text, ids=ids, decoded=tokenizer.decode(ids, skip_special_tokens=True)))
    rendered = []
    for chat in CHATS if chats else []:
        messages = [dict(role=role, content=content) for role, content in chat]
        for variables in [{}, dict(add_generation_prompt=False), dict(enable_thinking=False)]:
            ids = tokenizer.apply_chat_template(messages, return_dict=False, **(dict(add_generation_prompt=True) | variables))
            rendered.append(dict(messages=messages, variables=variables, ids=ids))
    ids = dict(pad=tokenizer.pad_token_id, eos=tokenizer.eos_token_id)
    return ids | dict(special=sorted(set(tokenizer.all_special_ids)), texts=texts, chats=rendered)


def main() -> None:
    golden = {}
    for name, (tokenizer, more) in families().items():
        files = {"tokenizer.json": json.loads(tokenizer.to_str())} | more
        content = {
            file: data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
            for file, data in files.items()
        }
        with tempfile.TemporaryDirectory() as folder:
            for file, text in content.items():
                (Path(folder) / file).write_text(text, encoding="utf-8")
            chats = any("chat_template" in file or "chat_template" in text for file, text in content.items())
            golden[name] = dict(files=content) | expected(Path(folder), chats)
    lines = [f"{json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in golden.items()]
    path = Path(__file__).resolve().with_suffix(".json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
