//! Log-probs of tokens and of their alternatives.

use training_wheels::decode::{Distribution, Experts};
use training_wheels::lm::{LanguageModel, Positions, TokenBatch};

use super::job::ScoredToken;

/// The positions of a prompt whose logits are in memory together.
const CHUNK: usize = 64;

/// The log-probs of a distribution, nats, in the order of the tokens.
pub(crate) struct LogProbs {
    logits: Vec<f32>,
    /// The log-sum-exp of the logits.
    total: f64,
}

impl LogProbs {
    pub(crate) fn new(distribution: &Distribution<'_>) -> Self {
        let (logits, best) = (distribution.logits(), distribution.best());
        let total = f64::from(logits[best as usize]) - distribution.log_prob(best);
        Self { logits: logits.to_vec(), total }
    }

    /// A token with its log-prob, and the `count` most likely tokens. Its offset is 0.
    pub(crate) fn score(&self, id: u32, count: usize) -> ScoredToken {
        let log_prob = |id: u32| self.logits.get(id as usize).map(|&logit| f64::from(logit) - self.total);
        let mut ids: Vec<u32> = (0..self.logits.len() as u32).collect();
        let falling = |a: &u32, b: &u32| self.logits[*b as usize].total_cmp(&self.logits[*a as usize]).then(a.cmp(b));
        if count < ids.len() {
            ids.select_nth_unstable_by(count, falling);
            ids.truncate(count);
        }
        ids.sort_unstable_by(falling);
        let top = ids.into_iter().filter_map(|id| Some((id, log_prob(id)?))).filter(|(_, nats)| nats.is_finite());
        ScoredToken { id, log_prob: log_prob(id).filter(|nats| nats.is_finite()), top: top.collect(), offset: 0 }
    }
}

/// The tokens of a prompt, each with its log-prob after those before it. The first one has none. Help tokens, which no
/// prompt has, are left out of the distributions.
///
/// # Errors
/// If the model's logits cannot be read, or are not finite.
pub(crate) fn of_prompt(
    model: &dyn LanguageModel,
    prompt: &[u32],
    help_token: Option<u32>,
    count: usize,
) -> Result<Vec<ScoredToken>, String> {
    let first = prompt.iter().take(1).map(|&id| ScoredToken { id, log_prob: None, top: vec![], offset: 0 });
    let mut scored: Vec<ScoredToken> = first.collect();
    let [start, read @ .., _] = prompt else { return Ok(scored) };
    let vocabulary = help_token.into_iter().fold(Experts::new(), Experts::with_closed_token).vocabulary(model.spec());
    let pad = model.spec().pad;
    let mut context = model.prefill(&TokenBatch::new(&[[*start]], pad), 0);
    let tokens = [&context.starts(), read].concat();
    let hidden = model.hidden(&TokenBatch::new(&[tokens], pad), &[0], Positions::All, &mut context);
    let mut next = prompt[1..].iter();
    for hidden in hidden.chunks(CHUNK) {
        let logits = model.head(&hidden);
        let [_, width] = logits.dims();
        let values = logits.try_into_vec_as();
        let mut values: Vec<f32> = values.map_err(|error| format!("the logits cannot be read: {error}"))?;
        for (row, &id) in values.chunks_exact_mut(width).zip(next.by_ref()) {
            let distribution = Distribution::read(row, &vocabulary, &[]).ok_or("the logits are NaN or infinite")?;
            scored.push(LogProbs::new(&distribution).score(id, count));
        }
    }
    Ok(scored)
}
