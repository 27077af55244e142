//! Answers of a language model, and of a text that was written before.

use serde_json::{Map, Value, json};
use wheels_lm::{LanguageModel, TokenBatch};
use wheels_text::Tokenizer;

use super::Handler;

/// What a server of a model can do.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// It takes prompts as token ids.
    pub ids: bool,
    /// It can echo prompts with their log-probs.
    pub echo: bool,
    /// It has vLLM's `prompt_logprobs`.
    pub prompt_logprobs: bool,
    /// It can name tokens by their ids.
    pub names_ids: bool,
    /// It has log-probs.
    pub logprobs: bool,
    /// Its answers have the end-of-text token.
    pub shows_end: bool,
    /// The log-probs of a prompt are those of the next position, as in llama-cpp-python 0.3.
    pub shifted: bool,
    /// It reads a text after a prompt as a part of another prompt, and begins again, as an encoder-decoder would.
    pub restarts: bool,
}

impl Dialect {
    pub const VLLM: Self = Self {
        ids: true,
        echo: true,
        prompt_logprobs: true,
        names_ids: true,
        logprobs: true,
        shows_end: true,
        shifted: false,
        restarts: false,
    };
    /// Tokens are named by their texts, and the end of a text is not shown.
    pub const PLAIN: Self = Self { prompt_logprobs: false, names_ids: false, shows_end: false, ..Self::VLLM };
}

/// A server of a language model. The prompt of an encoder-decoder ends with its end-of-text token.
pub fn model_handler(
    model: impl LanguageModel + Send + Sync + 'static,
    tokenizer: Tokenizer,
    dialect: Dialect,
) -> Handler {
    Box::new(move |path, body| {
        if path != "/v1/completions" {
            return Err(404);
        }
        let Some(ids) = body["prompt"].as_array().filter(|_| dialect.ids) else { return Err(400) };
        let asks = |name: &str| body[name].as_bool().unwrap_or(false);
        let wanted = |name: &str| body[name].as_u64().map(|k| k as usize);
        let unknown = asks("return_tokens_as_token_ids") && !dialect.names_ids
            || asks("echo") && !dialect.echo
            || wanted("prompt_logprobs").is_some() && !dialect.prompt_logprobs;
        if unknown {
            return Err(400);
        }
        let ids: Vec<u32> = ids.iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let writer =
            Writer { model: &model, tokenizer: &tokenizer, dialect, by_id: asks("return_tokens_as_token_ids") };
        Ok(writer.complete(&ids, body, asks("echo"), wanted("prompt_logprobs")))
    })
}

struct Writer<'a> {
    model: &'a dyn LanguageModel,
    tokenizer: &'a Tokenizer,
    dialect: Dialect,
    by_id: bool,
}

impl Writer<'_> {
    fn complete(&self, ids: &[u32], body: &Value, echo: bool, prompt_logprobs: Option<usize>) -> Value {
        let max_tokens = body["max_tokens"].as_u64().unwrap() as usize;
        let top = body["logprobs"].as_u64().filter(|_| self.dialect.logprobs).map(|k| k as usize);
        let prompt = ids.iter().position(|id| self.model.spec().ends(*id)).map_or(ids.len(), |end| end + 1);
        let mut text = if self.dialect.restarts { vec![] } else { ids[prompt..].to_vec() };
        let written = text.len();
        let mut ended = false;
        while text.len() < written + max_tokens && !ended {
            let rows = self.log_probs(&ids[..prompt], &text);
            let best = best(rows.last().unwrap(), 1)[0];
            ended = self.model.spec().ends(best);
            if !ended || self.dialect.shows_end {
                text.push(best);
            }
        }
        let rows = self.log_probs(&ids[..prompt], &text);
        let shown: Vec<u32> = if echo { [&ids[..prompt], &text].concat() } else { text[written..].to_vec() };
        let first = if echo { 0 } else { prompt + written };
        let (mut tokens, mut own, mut most) = (vec![], vec![], vec![]);
        for (index, &id) in shown.iter().enumerate() {
            // A row of the text, if the position is not in the prompt.
            let shift = usize::from(self.dialect.shifted && first + index < ids.len());
            let row = (first + index).checked_sub(prompt).map(|position| &rows[position + shift]);
            tokens.push(json!(self.name(id)));
            own.push(row.map_or(Value::Null, |row| json!(row[id as usize])));
            most.push(row.map_or(Value::Null, |row| {
                let named = best(row, top.unwrap_or(0)).into_iter().map(|id| (self.name(id), json!(row[id as usize])));
                Value::Object(named.collect::<Map<_, _>>())
            }));
        }
        let mut choice = json!({
            "index": 0,
            "text": self.tokenizer.decode(&shown).unwrap(),
            "finish_reason": if ended { "stop" } else { "length" },
        });
        if top.is_some() {
            choice["logprobs"] = json!({ "tokens": tokens, "token_logprobs": own, "top_logprobs": most });
        }
        if let Some(k) = prompt_logprobs {
            let mut positions = vec![Value::Null; prompt];
            for (&id, row) in ids[prompt..].iter().zip(&rows) {
                let listed = best(row, k).into_iter().chain([id]);
                let listed = listed.map(|id| (id.to_string(), json!({ "logprob": row[id as usize], "rank": 1 })));
                positions.push(Value::Object(listed.collect()));
            }
            choice["prompt_logprobs"] = json!(positions);
        }
        let (read, wrote) = (ids.len(), text.len() - written);
        let usage = json!({ "prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote });
        json!({ "id": "cmpl-1", "object": "text_completion", "choices": [choice], "usage": usage })
    }

    /// The log-probs of all tokens after each prefix of a text.
    fn log_probs(&self, prompt: &[u32], text: &[u32]) -> Vec<Vec<f64>> {
        let pad = self.model.spec().pad;
        let mut context = self.model.prefill(&TokenBatch::new(&[prompt], pad), 0);
        let tokens = [&context.starts(), text].concat();
        let logits = self.model.forward(&TokenBatch::new(&[tokens], pad), &mut context).logits;
        let [_, _, width] = logits.dims();
        let logits: Vec<f64> = logits.into_data().iter::<f64>().collect();
        let mut rows = Vec::new();
        for row in logits.chunks(width) {
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total = max + row.iter().map(|logit| (logit - max).exp()).sum::<f64>().ln();
            rows.push(row.iter().map(|logit| (logit - total).min(0.0)).collect());
        }
        rows
    }

    fn name(&self, id: u32) -> String {
        match self.by_id {
            true => format!("token_id:{id}"),
            false if self.tokenizer.is_special(id) => self.tokenizer.token(id).unwrap(),
            false => self.tokenizer.decode(&[id]).unwrap(),
        }
    }
}

/// The most likely ids. Of equal ones, the lower one comes first.
fn best(row: &[f64], k: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..row.len() as u32).collect();
    ids.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]).then(a.cmp(&b)));
    ids.truncate(k);
    ids
}

/// A server that goes on with `target` wherever a prompt stops in it, as a model with another tokenizer would: its tokens
/// have three bytes. It has `/completions` or else `/chat/completions`.
pub fn script_handler(target: &'static str, chat: bool) -> Handler {
    Box::new(move |path, body| {
        let prompt = match (path, chat) {
            ("/v1/completions", false) => body["prompt"].as_str().ok_or(400_u16)?.to_owned(),
            ("/v1/chat/completions", true) => {
                let last = body["messages"].as_array().and_then(|messages| messages.last()).ok_or(400_u16)?;
                match last["role"].as_str() {
                    Some("assistant") => last["content"].as_str().unwrap().to_owned(),
                    _ => String::new(),
                }
            }
            _ => return Err(404),
        };
        // The longest beginning of the target with which the prompt ends.
        let starts = (0..=target.len()).filter(|at| target.is_char_boundary(*at));
        let at = starts.filter(|at| prompt.ends_with(&target[..*at])).max().unwrap_or(0);
        let most = 3 * body["max_tokens"].as_u64().unwrap() as usize;
        let rest = &target.as_bytes()[at..];
        let text = String::from_utf8_lossy(&rest[..rest.len().min(most)]).into_owned();
        let reason = if rest.len() <= most { "stop" } else { "length" };
        let read = if body["continue_final_message"] == true { 10 } else { 15 };
        let usage = json!({ "prompt_tokens": read, "completion_tokens": text.len().div_ceil(3) });
        let choice = match chat {
            true => json!({ "message": { "role": "assistant", "content": text }, "finish_reason": reason }),
            false => json!({ "text": text, "finish_reason": reason }),
        };
        Ok(json!({ "choices": [choice], "usage": usage }))
    })
}
