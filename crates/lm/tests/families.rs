//! Every family computes what Hugging Face's transformers computes. The fixtures and the scripts that made them are in
//! assets/golden/families.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use serde_json::json;
use wheels_lm::{FloatFormat, LanguageModel, LmError, ModelSize, Positions, Pretrained, TokenBatch};

use support::{
    BART, Golden, Row, assert_golden, assert_near, bart, config, folder, golden, load, load_edited, load_with, logits,
    values, worst,
};

/// The greedy continuations of all rows in one ragged batch.
fn greedy(model: &Pretrained, golden: &Golden) -> Vec<Vec<u32>> {
    let prompts: Vec<&[u32]> = golden.rows.iter().map(|row| row.source.as_slice()).collect();
    let mut context = model.prefill(&TokenBatch::new(&prompts, model.spec().pad), 3);
    let mut last = context.starts();
    let mut texts = vec![vec![]; prompts.len()];
    for _ in 0..golden.rows[0].greedy.as_ref().unwrap().len() {
        let logits = values(model.forward(&TokenBatch::column(&last), &mut context).logits);
        for (row, logits) in logits.chunks(model.spec().vocab_size).enumerate() {
            let open = (0..logits.len() as u32).filter(|id| !golden.suppressed.contains(id));
            let best = open.max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize])).unwrap();
            texts[row].push(best);
            last[row] = best;
        }
    }
    texts
}

/// Everything that must hold for a fixture. `ignored` are the fields of its config that the model does not read.
fn check(name: &str) {
    let (model, golden) = (load(name), golden(name, "golden.json"));
    assert_golden(&model, &golden, name);
    let texts = greedy(&model, &golden);
    for (row, text) in golden.rows.iter().zip(texts) {
        assert_eq!(Some(text), row.greedy, "{name}");
    }

    // Rows that continue at different positions, with rolled back tokens, give the logits of each row alone.
    let pad = model.spec().pad;
    let at = [1, 3, 2];
    let split: Vec<_> = golden.rows.iter().zip(at).map(|(row, at)| row.split(at)).collect();
    let prompts: Vec<&[u32]> = split.iter().map(|(prompt, _)| *prompt).collect();
    let mut context = model.prefill(&TokenBatch::new(&prompts, pad), 2);
    let mut found = vec![Vec::new(); split.len()];
    let mut read = vec![0; split.len()];
    for round in [&[0, 1, 2][..], &[2], &[1, 0], &[0, 1, 2], &[0, 1, 2]] {
        let steps = |row: usize| (split[row].1.len() - read[row]).min(2 + row);
        let rows: Vec<usize> = round.iter().copied().filter(|&row| steps(row) > 0).collect();
        let detour: Vec<[u32; 2]> = rows.iter().map(|_| [5, 7]).collect();
        model.hidden(&TokenBatch::new(&detour, pad), &rows, Positions::All, &mut context);
        for &row in &rows {
            context.truncate(row, read[row]);
        }
        let parts: Vec<&[u32]> = rows.iter().map(|&row| &split[row].1[read[row]..read[row] + steps(row)]).collect();
        let counts: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        let tokens = TokenBatch::new(&parts, pad);
        let hidden = model.hidden(&tokens, &rows, Positions::Last(&counts), &mut context);
        let logits = values(model.head(&hidden));
        let mut start = 0;
        for (&row, count) in rows.iter().zip(counts) {
            let size = count * model.spec().vocab_size;
            found[row].extend_from_slice(&logits[start..start + size]);
            start += size;
            read[row] += count;
        }
    }
    for ((row, found), at) in golden.rows.iter().zip(&found).zip(at) {
        assert_near(found, &row.expected(at)[..found.len()], name);
    }

    // Without a cache, several rows at once.
    let mut context = model.prefill(&TokenBatch::new(&prompts, pad), 0);
    let texts: Vec<&[u32]> = split.iter().map(|(_, tokens)| *tokens).collect();
    let counts: Vec<usize> = texts.iter().map(|text| text.len()).collect();
    let hidden = model.hidden(&TokenBatch::new(&texts, pad), &[0, 1, 2], Positions::Last(&counts), &mut context);
    let expected: Vec<f32> = golden.rows.iter().zip(at).flat_map(|(row, at)| row.expected(at)).collect();
    assert_near(&values(model.head(&hidden)), &expected, name);

    let scratch = tempfile::tempdir().unwrap();
    model.save(scratch.path(), FloatFormat::F32).unwrap();
    let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
    assert_eq!(logits(&again, &golden.rows[0], 1, 0), logits(&model, &golden.rows[0], 1, 0), "{name}: saved");
    fs::copy(folder(name).join("config.json"), scratch.path().join("config.json")).unwrap();
    let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
    assert_golden(&again, &golden, &format!("{name}: saved weights with the config of transformers"));
}

/// The half precision files of a fixture.
fn check_halves(name: &str) {
    for format in ["f16", "bf16"] {
        let scratch = tempfile::tempdir().unwrap();
        fs::copy(folder(name).join("config.json"), scratch.path().join("config.json")).unwrap();
        let weights = folder(name).join(format!("model.{format}.safetensors"));
        fs::copy(weights, scratch.path().join("model.safetensors")).unwrap();
        let model = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
        assert_golden(&model, &golden(name, &format!("golden.{format}.json")), &format!("{name} in {format}"));
    }
}

const LLAMA: [&str; 14] = [
    "llama2",
    "llama3",
    "llama3-transformers4",
    "llama-linear",
    "llama-yarn",
    "llama-yarn-options",
    "llama-yarn-mscale",
    "llama-bias",
    "smollm2",
    "mistral",
    "qwen2",
    "qwen2-window",
    "qwen2-window-transformers4",
    "qwen3",
];

const T5: [&str; 11] = [
    "t5-v1.0",
    "t5-v1.1",
    "t5-v1.1-transformers5",
    "t5-gated-silu",
    "mt5",
    "mt5-transformers5",
    "umt5",
    "umt5-transformers5",
    "t5-decoder-embed-only",
    "t5-lm-head-only",
    "t5-sharded",
];

#[test]
fn llama_computes_what_transformers_computes() {
    for name in LLAMA {
        check(name);
    }
    check_halves("smollm2");
}

#[test]
fn t5_computes_what_transformers_computes() {
    for name in T5 {
        check(name);
    }
    check_halves("t5-v1.0");
}

/// A config that says that head and table are shared, beside a file in which they differ. transformers 5 does the same,
/// with a warning.
#[test]
fn a_head_that_differs_from_the_table_is_used_whatever_the_config_says() {
    let (scratch, golden) = (tempfile::tempdir().unwrap(), golden("llama2", "golden.json"));
    let mut fields = config("llama2");
    fields.insert("tie_word_embeddings".into(), json!(true));
    fs::write(scratch.path().join("config.json"), serde_json::to_string(&fields).unwrap()).unwrap();
    fs::copy(folder("llama2").join("model.safetensors"), scratch.path().join("model.safetensors")).unwrap();
    assert_golden(&Pretrained::load(scratch.path(), &Device::flex()).unwrap(), &golden, "a shared head");
}

#[test]
fn smaller_models_keep_the_vocabulary_and_open_again() {
    let model = load("llama3").with_vocab_size(90);
    let device = Device::flex();
    let size = ModelSize { width: 16, layers: 3, decoder_layers: None };
    for (smaller, blocks) in
        [(model.resized(size, &device).unwrap(), 3), (model.clone().with_every_nth_block(2), 1), (model.clone(), 2)]
    {
        assert_eq!(smaller.spec().vocab_size, 90);
        let row = &golden("llama3", "golden.json").rows[0];
        let before = logits(&smaller, row, 1, 0);
        assert_eq!(before.len(), 90 * row.source.len());
        let scratch = tempfile::tempdir().unwrap();
        smaller.save(scratch.path(), FloatFormat::F32).unwrap();
        let again = Pretrained::load(scratch.path(), &device).unwrap();
        let Pretrained::Llama(llama) = &again else { panic!("another family") };
        assert_eq!((llama.config().num_hidden_layers, again.spec().vocab_size), (blocks, 96), "all rows are saved");
        assert_eq!(logits(&again.with_vocab_size(90), row, 1, 0), before);
    }
    let odd = ModelSize { width: 20, ..size };
    assert!(model.resized(odd, &device).unwrap_err().to_string().contains("a multiple of 8"));
}

#[test]
fn a_missing_or_cut_shard_is_named_and_a_whole_file_wins_over_an_old_index() {
    let scratch = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder("t5-sharded")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), scratch.path().join(file.file_name())).unwrap();
    }
    let open = || Pretrained::load(scratch.path(), &Device::flex());
    assert_golden(&open().unwrap(), &golden("t5-sharded", "golden.json"), "a copy");

    let name = "model-00002-of-00004.safetensors";
    let shard = scratch.path().join(name);
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    let cut = open().unwrap_err();
    assert!(matches!(cut, LmError::Safetensors { .. }) && cut.to_string().contains(name), "{cut}");
    fs::remove_file(&shard).unwrap();
    for missing in [open().map(drop).unwrap_err(), Pretrained::inspect(scratch.path()).map(drop).unwrap_err()] {
        assert!(matches!(missing, LmError::MissingShard { .. }) && missing.to_string().contains(name), "{missing}");
    }

    for file in ["config.json", "model.safetensors"] {
        fs::copy(folder("t5-v1.1").join(file), scratch.path().join(file)).unwrap();
    }
    assert!(scratch.path().join("model.safetensors.index.json").exists());
    assert_golden(&open().unwrap(), &golden("t5-v1.1", "golden.json"), "a whole file beside an old index");
}

#[test]
fn the_bart_family_computes_what_transformers_computes() {
    for name in BART {
        check(name);
    }
    check_halves("bart");
}

/// The prefix, copies of the table and the bias are all optional.
#[test]
fn files_of_the_bare_model_and_with_copies_are_read() {
    for name in BART {
        let expected = logits(&load(name), &golden(name, "golden.json").rows[0], 1, 0);
        for kept in [["shared", "decoder.embed_tokens"], ["encoder.embed_tokens", "decoder.embed_tokens"]] {
            let model = load_edited(name, &config(name), |weights| {
                let table = weights.remove("model.shared.weight").unwrap();
                let bare = |name: String| name.strip_prefix("model.").map_or(name.clone(), str::to_owned);
                *weights = std::mem::take(weights).into_iter().map(|(name, weight)| (bare(name), weight)).collect();
                for copy in kept {
                    weights.insert(format!("{copy}.weight"), table.clone());
                }
                weights.insert("lm_head.weight".into(), table);
                weights.insert("encoder.version".into(), (vec![1], vec![3.0]));
            });
            assert_eq!(logits(&model, &golden(name, "golden.json").rows[0], 1, 0), expected, "{name}");
        }
    }
}

#[test]
fn tables_of_their_own_are_used_and_saved() {
    for name in BART {
        let row = &golden(name, "golden.json").rows[0];
        let before = logits(&load(name), row, 1, 0);
        for tied in [true, false] {
            let mut fields = config(name);
            fields.insert("tie_word_embeddings".into(), json!(tied));
            let head = load_edited(name, &fields, |weights| {
                let (shape, table) = weights["model.shared.weight"].clone();
                let doubled = table.iter().map(|number| 2.0 * number).collect();
                weights.insert("lm_head.weight".into(), (shape, doubled));
                if let Some((_, bias)) = weights.get_mut("final_logits_bias") {
                    bias.iter_mut().for_each(|bias| *bias *= 2.0);
                }
            });
            let found = logits(&head, row, 1, 0);
            let doubled: Vec<f32> = before.iter().map(|logit| 2.0 * logit).collect();
            assert_near(&found, &doubled, name);
            let table = load_edited(name, &config(name), |weights| {
                let (shape, mut table) = weights["model.shared.weight"].clone();
                table.reverse();
                weights.insert("model.encoder.embed_tokens.weight".into(), (shape, table));
            });
            assert!(worst(&logits(&table, row, 1, 0), &before) > 0.01, "{name}");
            for model in [head, table] {
                let scratch = tempfile::tempdir().unwrap();
                model.save(scratch.path(), FloatFormat::F32).unwrap();
                let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
                assert_eq!(logits(&again, row, 1, 0), logits(&model, row, 1, 0), "{name}");
                let grown = logits(&again.with_vocab_size(98), row, 1, 0);
                assert_near(&grown[..96], &logits(&model, row, 1, 0)[..96], name);
            }
        }
    }
}

#[test]
fn a_new_token_has_the_mean_of_all_logits() {
    for name in BART {
        let model = load(name);
        let row = &golden(name, "golden.json").rows[1];
        let before = logits(&model, row, 1, 0);
        let grown = model.clone().with_vocab_size(98);
        let scratch = tempfile::tempdir().unwrap();
        grown.save(scratch.path(), FloatFormat::F32).unwrap();
        assert_eq!(Pretrained::load(scratch.path(), &Device::flex()).unwrap().spec().vocab_size, 98);
        let narrow = logits(&model.with_vocab_size(90), row, 1, 0);
        for ((old, new), narrow) in before.chunks(96).zip(logits(&grown, row, 1, 0).chunks(98)).zip(narrow.chunks(90)) {
            let mean = old.iter().sum::<f32>() / 96.0;
            assert_near(&[old, &[mean, mean]].concat(), new, name);
            assert_near(&old[..90], narrow, name);
        }
    }
}

#[test]
fn smaller_models_of_the_bart_family_open_again() {
    let device = Device::flex();
    for name in BART {
        let model = load(name);
        let size = ModelSize { width: 48, layers: 3, decoder_layers: Some(1) };
        for (smaller, layers) in
            [(model.resized(size, &device).unwrap(), (3, 1)), (model.clone().with_every_nth_block(2), (1, 1))]
        {
            let scratch = tempfile::tempdir().unwrap();
            smaller.save(scratch.path(), FloatFormat::F32).unwrap();
            let again = Pretrained::load(scratch.path(), &device).unwrap();
            let config = bart(&again).config();
            assert_eq!((config.encoder_layers, config.decoder_layers), layers);
            assert!(!config.other.contains_key("num_hidden_layers"), "transformers would read it as encoder_layers");
            let row = &golden(name, "golden.json").rows[0];
            assert_eq!(logits(&again, row, 1, 0), logits(&smaller, row, 1, 0));
        }
        let odd = ModelSize { width: 28, ..size };
        assert!(matches!(model.resized(odd, &device), Err(LmError::ModelSize { .. })));
    }
}

#[test]
fn dropout_is_repeated_by_its_seed() {
    for name in BART {
        let row = &golden(name, "golden.json").rows[0];
        let train = |model: Pretrained, seed| logits(&model.with_dropout(seed), row, 1, 0);
        let plain = logits(&load(name), row, 1, 0);
        assert_eq!(train(load(name), 1), train(load(name), 1));
        assert!(worst(&train(load(name), 1), &train(load(name), 2)) > 0.1);
        let off = [("dropout", json!(0.0)), ("attention_dropout", json!(0.0)), ("activation_dropout", json!(0.0))];
        assert_eq!(train(load_with(name, &off).unwrap(), 1), plain);
        for (rate, _) in &off {
            let mut one = off.clone();
            one.iter_mut().find(|(field, _)| field == rate).unwrap().1 = json!(0.3);
            assert!(worst(&train(load_with(name, &one).unwrap(), 1), &plain) > 0.1, "{name}: {rate}");
        }
    }
}

#[test]
fn padding_tokens_in_a_text_have_no_position_in_m2m100() {
    let model = load("m2m100");
    let (prompt, text) = ([93, 8, 1, 9, 2], [2, 7, 1, 1, 40, 5]);
    let row = Row { source: prompt.to_vec(), target: text.to_vec(), logits: vec![], greedy: None };
    let whole = logits(&model, &row, 1, 0);
    let mut context = model.prefill(&TokenBatch::new(&[prompt], 1), 2);
    let mut found = vec![];
    for token in text {
        found.extend(values(model.forward(&TokenBatch::column(&[token]), &mut context).logits));
    }
    assert_near(&found, &whole, "with a cache");
}

#[test]
fn learned_positions_limit_the_length() {
    let limits = BART.map(|name| load(name).spec().max_positions);
    assert_eq!(limits, [Some(32), Some(32), None, None]);
    for name in BART {
        // Padding may be longer than the table.
        let model = load(name);
        let long: Vec<u32> = (0..32).map(|id| 4 + id).collect();
        let mut context = model.prefill(&TokenBatch::new(&[&long[..], &[5, 2]], 1), 1);
        let text = TokenBatch::new(&[&long[..30], &[2]], 1);
        model.forward(&text, &mut context);
        model.forward(&TokenBatch::new(&[&[6, 7][..], &[8]], 1), &mut context);
    }
}

#[test]
#[should_panic(expected = "a row has 33 tokens, and the model has 32 positions")]
fn a_prompt_that_is_too_long_panics() {
    load("bart").prefill(&TokenBatch::new(&[vec![5; 33]], 1), 0);
}

#[test]
#[should_panic(expected = "a row has 33 tokens, and the model has 32 positions")]
fn a_text_that_becomes_too_long_panics() {
    let model = load("mbart");
    let mut context = model.prefill(&TokenBatch::column(&[5]), 4);
    for _ in 0..33 {
        model.forward(&TokenBatch::column(&[5]), &mut context);
    }
}

/// Saves every fixture for assets/golden/families/check_saved.py, if `WHEELS_SAVED` names a folder.
#[test]
fn saved_folders_for_transformers() {
    let Some(saved) = std::env::var_os("WHEELS_SAVED") else {
        eprintln!("SKIPPED: WHEELS_SAVED does not name a folder");
        return;
    };
    for name in LLAMA.iter().chain(&T5).chain(&BART) {
        load(name).save(Path::new(&saved).join(name), FloatFormat::F32).unwrap();
    }
}
