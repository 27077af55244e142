//! What can go wrong with text.

use std::{io, path::PathBuf};

/// An error of this crate; its message says what was wrong, with the value, and what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}; choose a folder that you may write to", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A folder holds no tokenizer.json.
    #[error("no tokenizer.json in {}: name the folder of a model, or train a tokenizer and save it there", folder.display())]
    NoTokenizer {
        /// The folder that was searched.
        folder: PathBuf,
    },

    /// A tokenizer.json that does not parse.
    #[error("{} is not a tokenizer.json that can be read: {source}; is the file complete?", origin.display())]
    BadTokenizer {
        /// The file, or `<bytes>`.
        origin: PathBuf,
        /// What the parser said.
        source: tokenizers::Error,
    },

    /// A tokenizer without a token that every model here needs.
    #[error("the tokenizer has no {token}: prompts need <pad> and </s> as T5's tokenizers have them")]
    MissingToken {
        /// The token as text.
        token: &'static str,
    },

    /// A vocabulary too small for the bytes and the special tokens.
    #[error("a vocabulary of {vocab_size} tokens is too small: byte-level tokens need at least {least}")]
    SmallVocab {
        /// The size asked for.
        vocab_size: usize,
        /// The smallest size that works.
        least: usize,
    },

    /// Training a tokenizer on nothing.
    #[error("no text to train a tokenizer on: give at least one line")]
    NothingToTrain,

    /// Training a tokenizer failed.
    #[error("training the tokenizer failed: {source}")]
    Train {
        /// What the tokenizer said.
        source: tokenizers::Error,
    },

    /// A text could not be turned into tokens.
    #[error("cannot encode a text of {chars} characters: {source}")]
    Encode {
        /// The length of the text in characters.
        chars: usize,
        /// What the tokenizer said.
        source: tokenizers::Error,
    },

    /// Tokens could not be turned into text.
    #[error("cannot decode {tokens} tokens: {source}")]
    Decode {
        /// How many tokens.
        tokens: usize,
        /// What the tokenizer said.
        source: tokenizers::Error,
    },

    /// A token id that the tokenizer does not have.
    #[error(
        "token {id} is not in the vocabulary of {vocab_size} tokens: do the model and the tokenizer belong together?"
    )]
    UnknownId {
        /// The id.
        id: u32,
        /// The size of the vocabulary.
        vocab_size: usize,
    },

    /// A help token that the tokenizer does not have.
    #[error(
        "no help token called {name:?} ({}): add it with add_help_token before training the student",
        known_names(known)
    )]
    UnknownHelp {
        /// The expert's name.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },

    /// A name that cannot be part of a help token.
    #[error("{name:?} cannot name an expert: use lower-case letters, digits, '-' and '_', as in \"teacher\"")]
    HelpName {
        /// The name.
        name: String,
    },

    /// A help token that would not get the next free id.
    #[error("the help token {name:?} would get the id {id} in place of {expected}: the vocabulary has gaps")]
    HelpId {
        /// The expert's name.
        name: String,
        /// The id that the tokenizer chose.
        id: u32,
        /// The next free id.
        expected: u32,
    },

    /// A budget that makes no sense.
    #[error(
        "{given:?} is not a help budget, {reason}: write a whole percentage from 0% to 100% such as \"20%\", or a \
         number of tokens such as \"3 tokens\""
    )]
    Budget {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// Nothing to read in a prompt.
    #[error("the text is empty: give at least one word")]
    EmptyText,

    /// A prompt past its limit.
    #[error(
        "the text makes {tokens} tokens with its prompt and the limit is {limit}: split it into shorter texts, one or \
         two sentences each, or raise max_tokens if the model was trained on longer ones"
    )]
    TooLong {
        /// The length of the whole prompt in tokens, with prefix, budget and end mark.
        tokens: usize,
        /// The most tokens allowed.
        limit: usize,
    },

    /// A prompt.json that does not parse.
    #[error("{} is not a prompt format: {source}; fix it, or remove it for the default", path.display())]
    PromptFormat {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },

    /// A line of a dataset that cannot be used.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file, or the name given for a reader.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },

    /// A dataset without examples.
    #[error("{} holds no examples: expected one a line", path.display())]
    Empty {
        /// The file, or the name given for a reader.
        path: PathBuf,
    },

    /// A package list that is not there.
    #[error(
        "no list named *{wanted} in {}: run `apt-get update -o Acquire::Languages=en,{language}` as root on the \
         release wanted, or name another folder or suite",
        folder.display()
    )]
    NoLists {
        /// The folder of lists.
        folder: PathBuf,
        /// The end of the file's name.
        wanted: String,
        /// The language to ask for.
        language: String,
    },

    /// A compressed package list that cannot be unpacked.
    #[error(
        "cannot unpack {}: {reason}; unpack it by hand to a file of the same name without its last extension",
        path.display()
    )]
    Unpack {
        /// The file.
        path: PathBuf,
        /// What is missing or what failed.
        reason: String,
    },
}

/// What is wrong with a line of a dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// Bytes that are not UTF-8.
    #[error("invalid UTF-8 at byte {byte} of the line: convert the file to UTF-8")]
    InvalidUtf8 {
        /// Where in the line, counted from 1.
        byte: usize,
    },

    /// Broken JSON, or JSON without the right fields.
    #[error("{}: expected an object such as {{\"source\": \"...\", \"target\": \"...\"}}", json_problem(.0))]
    Json(#[source] serde_json::Error),

    /// The wrong number of columns.
    #[error("expected 2 columns with a tab between them (source, target), found {found}")]
    Columns {
        /// How many there are.
        found: usize,
    },

    /// An empty source or target.
    #[error("the {field} is empty")]
    EmptyField {
        /// The field.
        field: &'static str,
    },
}

/// The parser's message with the column in the line; its own line number is always 1 and would mislead.
fn json_problem(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rsplit_once(" at line ") {
        Some((problem, _)) => format!("{problem} (column {})", error.column()),
        None => message,
    }
}

fn known_names(known: &[String]) -> String {
    if known.is_empty() {
        "the tokenizer has none".to_owned()
    } else {
        format!("the tokenizer has {}", known.join(", "))
    }
}
