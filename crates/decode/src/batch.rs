//! A batch of texts that are written in step.

use crate::desk::{Call, Counter};
use crate::reader::{Passage, Reader};
use crate::row::{Decision, Row};
use crate::{
    Advice, BudgetedDecoder, Case, DecodeError, DecodeStats, Hindsight, Law, Observer, Policy, Trajectory, Vocabulary,
};

/// Texts that are written together, each a word or a piece of advice in every round.
pub(crate) struct Batch<'a> {
    policy: &'a Policy<'a>,
    vocabulary: &'a Vocabulary,
    student: Reader<'a>,
    desk: Counter<'a>,
    rows: Vec<Row>,
    finished: Vec<(usize, Trajectory)>,
    stats: DecodeStats,
}

impl<'a> Batch<'a> {
    /// Reads the prompts of the cases.
    ///
    /// # Errors
    /// If an expert at the desk does not fit the student or a prompt.
    pub(crate) fn open(
        decoder: &'a BudgetedDecoder<'a>,
        policy: &'a Policy<'a>,
        hindsight: Hindsight,
        vocabulary: &'a Vocabulary,
        cases: &[Case<'a>],
    ) -> Result<Self, DecodeError> {
        let desk = decoder.desk.open(cases, vocabulary)?;
        let prompts: Vec<&[u32]> = cases.iter().map(|case| policy.side.of(case.prompt)).collect();
        let longest = cases.iter().map(|case| decoder.limit(case.prompt)).max().unwrap_or(0);
        let row =
            |case: &Case<'_>| Row::new(case, policy.asking, decoder.enforcement, hindsight, decoder.limit(case.prompt));
        Ok(Self {
            policy,
            vocabulary,
            student: Reader::open(policy.model, &prompts, longest),
            desk,
            rows: cases.iter().map(row).collect(),
            finished: Vec::with_capacity(cases.len()),
            stats: DecodeStats::default(),
        })
    }

    /// Writes all texts to their ends, and returns each with its prompt's place.
    ///
    /// # Errors
    /// If a model's logits are damaged or an expert fails.
    pub(crate) fn write(
        mut self,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<(usize, Trajectory)>, DecodeStats), DecodeError> {
        self.retire();
        while !self.rows.is_empty() {
            self.round(observer)?;
            self.retire();
        }
        let stats = DecodeStats { student: self.student.used(), teacher: self.desk.used(), ..self.stats };
        Ok((self.finished, stats))
    }

    /// Every row reads what is new to it, decides, and goes on: one forward of the student, at most one question round
    /// for each expert.
    fn round(&mut self, observer: &mut dyn Observer) -> Result<(), DecodeError> {
        let texts: Vec<Passage<'_>> = self.rows.iter().enumerate().map(passage).collect();
        let mut logits = self.student.read(&texts)?;
        let laws = self.laws(&mut logits)?;
        let known: Vec<usize> = self.rows.iter().map(|row| row.steps.len()).collect();

        let mut decisions = Vec::with_capacity(laws.len());
        for (row, law) in self.rows.iter_mut().zip(&laws) {
            observer.law(row.prompt_index, law);
            let mut decision = row.decide(law, self.vocabulary);
            if decision.expert.is_none() {
                row.speak(self.policy, law, decision, self.vocabulary.eos());
                if row.closes_with_a_call(self.vocabulary) {
                    decision = Decision::closing(law.expert());
                }
            }
            self.stats.help_asked += u64::from(decision.asks);
            decisions.push(decision);
        }

        let answers = self.consult(&decisions, &laws)?;
        for (place, row) in self.rows.iter_mut().enumerate() {
            let (decision, advice) = (decisions[place], &answers[place]);
            let mut kept = known[place];
            if let Some(expert) = decision.expert {
                let (closing, declined) = (row.is_finished(), advice.tokens.is_empty());
                if declined && !closing {
                    row.speak(self.policy, &laws[place], decision, self.vocabulary.eos());
                } else if declined || closing && advice.back == 0 {
                    row.stand(advice.cost);
                } else {
                    kept = kept.min(row.text().len().saturating_sub(advice.back));
                    row.follow(expert, advice, decision, self.vocabulary)?;
                    self.stats.redrafted += advice.back as u64;
                }
            }
            if kept < known[place] {
                observer.taken_back(row.prompt_index, kept);
            }
            for step in &row.steps[kept..] {
                observer.step(row.prompt_index, step);
            }
        }
        Ok(())
    }

    /// The rows' logits, read as laws.
    fn laws<'l>(&self, logits: &'l mut [f32]) -> Result<Vec<Law<'l>>, DecodeError> {
        let rows = logits.chunks_exact_mut(self.vocabulary.size()).zip(&self.rows);
        rows.map(|(logits, row)| {
            let damaged = || DecodeError::Logits { row: row.prompt_index, step: row.text().len() };
            Law::read(logits, self.vocabulary, row.text()).ok_or_else(damaged)
        })
        .collect()
    }

    /// The advice for each row; empty for those that call nobody.
    fn consult(&mut self, decisions: &[Decision], laws: &[Law<'_>]) -> Result<Vec<Advice>, DecodeError> {
        let rows = self.rows.iter().zip(decisions).enumerate();
        let calls: Vec<Call<'_>> = rows
            .filter_map(|(place, (row, decision))| {
                decision.expert.map(|expert| Call { expert, question: row.question(place, &laws[place]) })
            })
            .collect();
        self.desk.answer(&calls, self.rows.len())
    }

    /// Takes finished rows out, so that no forward carries them.
    fn retire(&mut self) {
        let going: Vec<usize> = (0..self.rows.len()).filter(|&place| !self.rows[place].is_finished()).collect();
        if going.len() == self.rows.len() {
            return;
        }
        if !going.is_empty() {
            self.student.select_rows(&going);
            self.desk.select_rows(&going);
        }
        for row in self.rows.extract_if(.., |row| row.is_finished()) {
            self.stats.tokens += row.steps.len() as u64;
            self.stats.help_given += row.ledger.spent() as u64;
            self.finished.push((row.prompt_index, row.into_trajectory()));
        }
    }
}

/// What a student reads: the text, to write what comes after it.
fn passage((place, row): (usize, &Row)) -> Passage<'_> {
    Passage { row: place, text: row.text(), from: row.text().len() }
}
