//! The errors of this crate.

use std::io;
use std::path::PathBuf;

use crate::LineProblem;

/// An error of this crate.
///
/// Each message says what was wrong, with the value, and what to try. The cause is in
/// [`source`](std::error::Error::source) and not in the message, so a program should print both.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A file or folder cannot be read.
    #[error("cannot read {}; check the path and its permissions", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}; choose a folder that is writable and has free space", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A folder has no tokenizer.json.
    #[error(
        "there is no tokenizer.json in {}; give the folder of a model, or train a tokenizer and save it there",
        folder.display()
    )]
    NoTokenizer {
        /// The folder that was searched.
        folder: PathBuf,
    },
    /// A tokenizer.json cannot be parsed.
    #[error("{} is not a valid tokenizer.json; check that the file is complete", origin.display())]
    BadTokenizer {
        /// The file, or `<bytes>`.
        origin: PathBuf,
        /// The parser's error.
        source: tokenizers::Error,
    },
    /// A folder has the files of a tokenizer, but no tokenizer.json.
    #[error(
        "there is no tokenizer.json in {0}, only {source_file}; make one in Python (pip install transformers \
         sentencepiece protobuf): AutoTokenizer.from_pretrained('{0}').save_pretrained('{0}')",
        folder.display()
    )]
    SlowTokenizer {
        /// The folder.
        folder: PathBuf,
        /// A file from which tokenizer.json can be made.
        source_file: &'static str,
    },
    /// A folder has the files of a tokenizer that transformers cannot convert to a tokenizer.json.
    #[error(
        "there is no tokenizer.json in {}, and transformers cannot make one for {family}; use a conversion of the model \
         that has a tokenizer.json, or another model",
        folder.display()
    )]
    NoConverter {
        /// The folder.
        folder: PathBuf,
        /// The family of the model, such as `Marian`.
        family: &'static str,
    },
    /// A file of a model that should be a JSON object cannot be parsed.
    #[error("{} is not a valid JSON object; check that the file is complete", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// No file says which token ends a text.
    #[error(
        "no token ends a text: {} has neither an eos_token in tokenizer_config.json nor an eos_token_id in \
         generation_config.json; add one of them",
        folder.display()
    )]
    NoEnd {
        /// The folder. Empty if the tokenizer was not read from a folder.
        folder: PathBuf,
    },
    /// The token that ends a text is not in the vocabulary.
    #[error("{}: eos_token is {token:?}, which is not in tokenizer.json; use files of one model", path.display())]
    UnknownEndToken {
        /// The file.
        path: PathBuf,
        /// The token.
        token: String,
    },
    /// The id that ends a text is not in the vocabulary.
    #[error(
        "{}: eos_token_id has {id}, and tokenizer.json only {vocab_size} tokens; use files of one model",
        path.display()
    )]
    UnknownEnd {
        /// The file.
        path: PathBuf,
        /// The id.
        id: u32,
        /// The size of the vocabulary.
        vocab_size: usize,
    },
    /// A field that should have token ids has something else.
    #[error("{}: {field} is {value}; it must be a token id, a list of token ids, or null", path.display())]
    TokenIds {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value, as JSON.
        value: String,
    },
    /// The post-processor of a tokenizer fails.
    #[error("the post_processor of the tokenizer.json cannot be used; check that the file is complete")]
    PostProcessor {
        /// The tokenizer's error.
        source: tokenizers::Error,
    },
    /// The model has no chat template.
    #[error(
        "the model has no chat template (or several, and none is named \"default\"); use the tokenizer_config.json or \
         chat_template.jinja of a chat model, or prompts without turns"
    )]
    NoChatTemplate,
    /// The chat template refuses the messages.
    #[error("the chat template refuses the messages: {reason}")]
    ChatRefused {
        /// The template's own message.
        reason: String,
    },
    /// The chat template cannot be rendered.
    #[error("the chat template cannot be rendered; check the chat_template of the tokenizer")]
    ChatTemplate {
        /// The error, with its line in the template.
        source: minijinja::Error,
    },
    /// The budget should stand in the system turn, and there is none.
    #[error(
        "the template states the budget in the system turn, but has no system text; set chat.system, or budget to \
         \"before\", in prompt.json"
    )]
    NoSystemTurn,
    /// An example has earlier messages, and prompts are single texts.
    #[error(
        "the example is a conversation with {turns} earlier messages, and this model's prompts are single texts; use a \
         chat model and its chat template, or examples of one question and one answer"
    )]
    Turns {
        /// The number of messages before the source.
        turns: usize,
    },
    /// A model has no prefix for a task.
    #[error("{} has no prefix for the task {task:?} ({})", path.display(), known_tasks(known))]
    UnknownTask {
        /// The file.
        path: PathBuf,
        /// The task.
        task: String,
        /// The tasks that have a prefix.
        known: Vec<String>,
    },
    /// The vocabulary size that was requested is too small for the 256 bytes and the special tokens.
    #[error(
        "a vocabulary of {vocab_size} tokens is too small; the bytes and the special tokens of a byte-level tokenizer \
         need at least {least}"
    )]
    SmallVocab {
        /// The size requested.
        vocab_size: usize,
        /// The smallest valid size.
        least: usize,
    },
    /// There is no text to train a tokenizer on.
    #[error("there is no text to train a tokenizer on; give at least one line")]
    NothingToTrain,
    /// A tokenizer cannot be trained.
    #[error("the tokenizer cannot be trained; try other settings or other text")]
    Train {
        /// The tokenizer's error.
        source: tokenizers::Error,
    },
    /// A text cannot be encoded as tokens.
    #[error("the tokenizer cannot encode a text of {chars} characters; check its tokenizer.json")]
    Encode {
        /// The length of the text, characters.
        chars: usize,
        /// The tokenizer's error.
        source: tokenizers::Error,
    },
    /// Tokens cannot be decoded to text.
    #[error("the tokenizer cannot decode a text of {tokens} tokens; check its tokenizer.json")]
    Decode {
        /// The number of tokens.
        tokens: usize,
        /// The tokenizer's error.
        source: tokenizers::Error,
    },
    /// A token id is not in the vocabulary.
    #[error(
        "token {id} is not in the vocabulary of {vocab_size} tokens; use the tokenizer that the model was trained with"
    )]
    UnknownId {
        /// The id.
        id: u32,
        /// The size of the vocabulary.
        vocab_size: usize,
    },
    /// The tokenizer has no help token for an expert.
    #[error(
        "there is no help token for the expert {name:?} ({}); add it with add_help_token before training the student",
        known_names(known)
    )]
    UnknownHelp {
        /// The expert's name.
        name: String,
        /// The names that have a help token.
        known: Vec<String>,
    },
    /// An expert's name has characters that a help token cannot have.
    #[error(
        "{name:?} is not a valid name for an expert; use lower-case letters, digits, '-' and '_', as in \"teacher\""
    )]
    HelpName {
        /// The name.
        name: String,
    },
    /// A new help token did not get the next free id.
    #[error(
        "the help token for {name:?} would get the id {id} instead of {expected}, because the vocabulary has gaps; use \
         a tokenizer whose ids are contiguous"
    )]
    HelpId {
        /// The expert's name.
        name: String,
        /// The id that the tokenizer chose.
        id: u32,
        /// The next free id: the size of the vocabulary.
        expected: u32,
    },
    /// A text is not a help budget.
    #[error(
        "{given:?} is not a help budget because {reason}; write a whole percentage from 0% to 100% such as \"20%\", or \
         a number of tokens such as \"3 tokens\""
    )]
    Budget {
        /// The text.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A source text is empty.
    #[error("the text is empty; give at least one word")]
    EmptyText,
    /// A prompt is longer than its template allows.
    #[error(
        "the text with its budget and prefix has {tokens} tokens, and the limit is {limit}; split it into texts of one \
         or two sentences, or raise max_tokens if the model was trained on longer texts"
    )]
    TooLong {
        /// The length of the whole prompt, tokens: budget, prefix, text and special tokens.
        tokens: usize,
        /// The maximum length, tokens.
        limit: usize,
    },
    /// A prompt.json cannot be parsed.
    #[error("{} is not a valid prompt template; fix it, or remove the file to use the default", path.display())]
    PromptTemplate {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// A generation_config.json, or the settings for generation in a config.json, cannot be parsed.
    #[error(
        "the settings for generation in {} are not valid; fix them, or remove them to use the defaults",
        path.display()
    )]
    GenerationConfig {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// A number in a generation_config.json, or a setting for generation in a config.json, is out of its range.
    #[error("{}: {field} is {value}; it must be {range}", path.display())]
    GenerationValue {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
        /// The valid values.
        range: &'static str,
    },
    /// A file is of a kind that cannot be read as a dataset.
    #[error("{} is {format}; {remedy}", path.display())]
    Unsupported {
        /// The file, or the name given for a reader.
        path: PathBuf,
        /// What it is.
        format: &'static str,
        /// What to do with it.
        remedy: &'static str,
    },
    /// A file that is compressed with gzip cannot be unpacked.
    #[error("{} cannot be unpacked; check it with gzip -t, and download it again if it is incomplete", path.display())]
    Gzip {
        /// The file, or the name given for a reader.
        path: PathBuf,
        /// The decoder's error.
        source: io::Error,
    },
    /// A file is not one complete JSON list.
    #[error(
        "{}:{line}: {reason}; write one JSON list of objects, and if the file is incomplete, download it again",
        path.display()
    )]
    List {
        /// The file, or the name given for a reader.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// The fields of the source and the target are unknown.
    #[error(
        "{}:{line}: name the fields of the source and the target with `DatasetOptions::with_source` and \
         `DatasetOptions::with_target`",
        path.display()
    )]
    Fields {
        /// The file, or the name given for a reader.
        path: PathBuf,
        /// The number of the line of the first object, from 1.
        line: usize,
        /// The fields of this object, and the options that name two of them.
        #[source]
        problem: Box<LineProblem>,
    },
    /// The options name the field of the target, and not that of the source.
    #[error(
        "the field of the target is {target:?}, and that of the source is missing; give `DatasetOptions::with_source` too"
    )]
    NoSourceField {
        /// The field of the target.
        target: String,
    },
    /// A line of a dataset is not a valid example.
    #[error("{}:{line}: invalid example; {}", path.display(), line_remedy(problem))]
    Line {
        /// The file, or the name given for a reader.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with the line.
        #[source]
        problem: Box<LineProblem>,
    },
    /// Invalid lines were skipped, and they are more than half of all lines.
    #[error(
        "{} has {bad} invalid lines of {total}, the first of them in line {line}; check the format of the file and the \
         names of its fields",
        path.display()
    )]
    MostlyBad {
        /// The file, or the name given for a reader.
        path: PathBuf,
        /// The number of invalid lines.
        bad: usize,
        /// The number of lines that are not blank.
        total: usize,
        /// The number of the first invalid line, from 1.
        line: usize,
        /// What is wrong with the first invalid line.
        #[source]
        problem: Box<LineProblem>,
    },
    /// A dataset has no examples.
    #[error(
        "{} has no examples; write one JSON object with \"source\" and \"target\" per line, or a table with these two \
         names in its first row",
        path.display()
    )]
    Empty {
        /// The file, or the name given for a reader.
        path: PathBuf,
    },
}

/// What to do about an invalid line. A wrong name of a field makes every line invalid.
fn line_remedy(problem: &LineProblem) -> &'static str {
    match problem {
        LineProblem::MissingField { .. } => {
            "check the names of the fields, or skip lines without them with `DatasetOptions::with_skip_bad`"
        }
        LineProblem::NotMessages { .. } => {
            "give `DatasetOptions::with_target` too, unless the source is a conversation"
        }
        _ => "repair it, or skip such lines with `DatasetOptions::with_skip_bad`",
    }
}

fn known_names(known: &[String]) -> String {
    if known.is_empty() {
        "the tokenizer has no help tokens".to_owned()
    } else {
        format!("the tokenizer has {}", known.join(", "))
    }
}

fn known_tasks(known: &[String]) -> String {
    if known.is_empty() {
        "it has none for any task; set the prefix itself".to_owned()
    } else {
        format!("it has one for {}", known.join(", "))
    }
}
