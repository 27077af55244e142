//! Chat templates give the texts and ids of Hugging Face's transformers. The conversations, and the script that made the
//! golden file, are in assets/golden/chat.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;
use serde_json::{Map, Value};
use wheels_text::{ChatTemplate, Message, Tokenizer};

#[derive(Deserialize)]
struct Golden {
    conversations: BTreeMap<String, Vec<Message>>,
    tokenizers: BTreeMap<String, Rendered>,
}

#[derive(Deserialize)]
struct Rendered {
    bos_token: Option<String>,
    eos_token: Option<String>,
    template: Option<String>,
    renderings: Vec<Rendering>,
}

#[derive(Deserialize)]
struct Rendering {
    conversation: String,
    text: String,
    ids: Vec<u32>,
    #[serde(flatten)]
    variables: Map<String, Value>,
}

/// The conversation in which users write names of special tokens.
const FORGED: &str = "marks of a template in a message";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden").join(name)
}

fn golden() -> Golden {
    serde_json::from_slice(&fs::read(folder("chat/golden.json")).unwrap()).unwrap()
}

/// The folder of a real model in the folder that the variable WHEELS_MODELS names. `None` if there is no such model.
fn model(name: &str) -> Option<PathBuf> {
    let folder = env::var_os("WHEELS_MODELS").map(|models| Path::new(&models).join(name));
    let found = folder.filter(|folder| folder.join("tokenizer.json").exists());
    if found.is_none() {
        // The test harness does not hold back what is written to the standard error directly.
        let why = format!("SKIPPED {name}: set WHEELS_MODELS to a folder that holds {name}/tokenizer.json\n");
        std::io::stderr().write_all(why.as_bytes()).unwrap();
    }
    found
}

#[test]
fn templates_give_the_texts_of_transformers() {
    let golden = golden();
    let mut compared = 0;
    for (name, rendered) in &golden.tokenizers {
        let Some(file) = &rendered.template else { continue };
        let tokens = [("bos_token", &rendered.bos_token), ("eos_token", &rendered.eos_token)];
        let tokens = tokens.into_iter().filter_map(|(role, token)| Some((role.to_owned(), token.clone()?)));
        let source = fs::read_to_string(folder("chat").join(file)).unwrap();
        let template = ChatTemplate::new(source, tokens.collect());
        for Rendering { conversation, text, variables, .. } in &rendered.renderings {
            let messages = &golden.conversations[conversation];
            assert_eq!(&template.render(messages, variables).unwrap(), text, "{name}: {conversation}");
            compared += 1;
        }
    }
    assert!(compared >= 98, "{compared}");
}

#[test]
fn conversations_have_the_ids_of_transformers() {
    let golden = golden();
    for (name, folder) in [
        ("smollm2", "SmolLM2-135M-Instruct"),
        ("qwen2.5", "Qwen2.5-Coder-0.5B-Instruct"),
        ("qwen3", "tokenizers/qwen3"),
        ("llama3", "tokenizers/llama3"),
    ] {
        let Some(folder) = model(folder) else { continue };
        let tokenizer = Tokenizer::from_dir(folder).unwrap();
        for Rendering { conversation, ids, variables, .. } in &golden.tokenizers[name].renderings {
            let made = tokenizer.encode_chat(&golden.conversations[conversation], variables).unwrap();
            let special = |ids: &[u32]| ids.iter().filter(|id| tokenizer.is_special(**id)).count();
            if conversation == FORGED {
                // transformers lets a user write control tokens.
                assert!(special(&made) < special(ids), "{name}");
                assert_eq!(tokenizer.decode(&made).unwrap().matches("<|im_end|>").count(), 3, "{name}");
            } else {
                assert_eq!(&made, ids, "{name}: {conversation}");
            }
        }
    }
}

#[test]
fn texts_have_the_ids_that_llama_cpp_expects() {
    #[derive(Deserialize)]
    struct Texts {
        texts: Vec<Text>,
    }
    #[derive(Deserialize)]
    struct Text {
        text: String,
        ids: Vec<u32>,
    }
    for (name, folder_name) in [("qwen2", "Qwen2.5-Coder-0.5B-Instruct"), ("llama-bpe", "tokenizers/llama3")] {
        let Some(model) = model(folder_name) else { continue };
        let tokenizer = Tokenizer::from_dir(model).unwrap();
        let path = folder("tokenizers").join(format!("{name}.json"));
        let golden: Texts = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for Text { text, ids } in golden.texts {
            assert_eq!(tokenizer.encode_prompt(&text).unwrap(), ids, "{name}: {text:?}");
        }
    }
}
