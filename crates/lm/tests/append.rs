//! Rows that join a context later compute what they compute in a context of their own. The expected logits are those of
//! transformers; the fixtures are in assets/golden/families.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use burn::tensor::Device;
use wheels_lm::{Context, LanguageModel, Positions, Pretrained, TokenBatch};

use support::{Row, assert_near, folder, golden, load, values};

/// A row while it is read: its tokens and the expected logits, and what has been read so far.
struct Reading<'a> {
    prompt: &'a [u32],
    tokens: &'a [u32],
    expected: Vec<f32>,
    read: usize,
    found: Vec<f32>,
}

impl<'a> Reading<'a> {
    fn new(row: &'a Row, at: usize) -> Self {
        let (prompt, tokens) = row.split(at);
        Self { prompt, tokens, expected: row.expected(at), read: 0, found: vec![] }
    }
}

fn prefill(model: &Pretrained, rows: &[Reading<'_>], capacity: usize) -> Context {
    let prompts: Vec<&[u32]> = rows.iter().map(|row| row.prompt).collect();
    model.prefill(&TokenBatch::new(&prompts, model.spec().pad), capacity)
}

/// Each row reads at most this number of tokens more.
fn read(model: &Pretrained, rows: &mut [Reading<'_>], counts: &[usize], context: &mut Context) {
    let (mut indices, mut parts) = (vec![], vec![]);
    for (index, (row, &count)) in rows.iter().zip(counts).enumerate() {
        let part = &row.tokens[row.read..row.tokens.len().min(row.read + count)];
        if !part.is_empty() {
            indices.push(index);
            parts.push(part);
        }
    }
    let tokens = TokenBatch::new(&parts, model.spec().pad);
    let hidden = model.hidden(&tokens, &indices, Positions::All, context);
    let logits = values(model.head(&hidden));
    let vocab = model.spec().vocab_size;
    for (part, &index) in indices.iter().enumerate() {
        let (first, count) = (part * tokens.width(), tokens.lengths()[part]);
        rows[index].found.extend(&logits[first * vocab..(first + count) * vocab]);
        rows[index].read += count;
    }
}

/// The fixtures of whole models.
fn fixtures() -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder("")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().join("golden.json").exists() && entry.path().join("model.safetensors").exists() {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
    assert!(names.len() > 20, "only {names:?}");
    names
}

#[test]
fn rows_that_join_later_have_the_logits_of_each_row_alone() {
    // With autodiff, burn computes the attention, as on a GPU.
    let devices = [Device::flex(), Device::flex().autodiff()];
    for (name, device) in fixtures().iter().flat_map(|name| devices.iter().map(move |device| (name, device))) {
        let (model, golden) = (Pretrained::load(folder(name), device).unwrap(), golden(name, "golden.json"));
        // The prompts of the rows differ in length. Each of them is once the longest that is dropped, and once the one
        // that joins.
        for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for (own, added) in [(2, 9), (9, 2)] {
                let [first, second, third] = order.map(|row| (&golden.rows[row], 1 + row));
                let mut rows = vec![Reading::new(first.0, first.1), Reading::new(second.0, second.1)];
                let mut context = prefill(&model, &rows, own);
                read(&model, &mut rows, &[1, 2], &mut context);

                let mut late = vec![Reading::new(third.0, third.1)];
                let mut other = prefill(&model, &late, added);
                read(&model, &mut late, &[1], &mut other);
                context.append(other);
                rows.append(&mut late);
                read(&model, &mut rows, &[2, 1, 0], &mut context);

                // A row leaves, and others join.
                context.select_rows(&[1, 2]);
                rows.remove(0);
                let mut late = vec![Reading::new(first.0, first.1), Reading::new(second.0, second.1)];
                context.append(prefill(&model, &late, added));
                rows.append(&mut late);
                for counts in [[0, 1, 2, 0], [1, 1, 1, 1], [99; 4]] {
                    read(&model, &mut rows, &counts, &mut context);
                }
                for row in rows {
                    assert_near(&row.found, &row.expected, &format!("{name}, order {order:?}"));
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "different models")]
fn contexts_of_different_models_cannot_be_joined() {
    let [llama, bart] = ["llama2", "bart"].map(load);
    let prompts = TokenBatch::new(&[[5, 6]], 0);
    llama.prefill(&prompts, 4).append(bart.prefill(&prompts, 4));
}
