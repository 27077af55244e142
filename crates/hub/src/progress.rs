//! What a download reports.

/// How far the download of one file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The name of the file in the model's folder.
    pub file: &'a str,
    /// The part that is on the disk, bytes. A download that continues does not begin at 0.
    pub done: u64,
    /// The size of the file, bytes, if the server has said it.
    pub total: Option<u64>,
}
