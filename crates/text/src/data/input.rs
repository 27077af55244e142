//! The bytes of a file, unpacked if they are compressed with gzip.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::TextError;

/// The number of bytes at the start of a file by which its format is recognised.
const HEAD: u64 = 64 * 1024;
const GZIP: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A reader with bytes before it that were already read from it.
type Replay<R> = Chain<Cursor<Vec<u8>>, R>;

/// The name of a file, and whether it is compressed, for error messages.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) path: PathBuf,
    gzip: bool,
}

impl Origin {
    pub(super) fn read_error(&self, source: io::Error) -> TextError {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let path = self.path.clone();
        match source.kind() {
            InvalidData | InvalidInput | UnexpectedEof if self.gzip => TextError::Gzip { path, source },
            _ => TextError::Read { path, source },
        }
    }
}

/// The unpacked bytes of a file, without a byte-order mark.
pub(super) type Input<R> = Replay<Unpacked<Replay<R>>>;

/// Recognises gzip, and unpacks it. Also gives the first unpacked bytes, by which the format is recognised.
pub(super) fn unpack<R: BufRead>(reader: R, path: &Path) -> Result<(Origin, Vec<u8>, Input<R>), TextError> {
    let mut origin = Origin { path: path.to_owned(), gzip: false };
    let (start, reader) = split_head(reader, GZIP.len() as u64).map_err(|error| origin.read_error(error))?;
    origin.gzip = start == GZIP;
    let reader = Cursor::new(start).chain(reader);
    let reader = match origin.gzip {
        true => Unpacked::Gzip(BufReader::new(MultiGzDecoder::new(reader))),
        false => Unpacked::Plain(reader),
    };
    let (mut head, reader) = split_head(reader, HEAD).map_err(|error| origin.read_error(error))?;
    if let Some((format, remedy)) = unsupported(&head) {
        return Err(TextError::Unsupported { path: origin.path, format, remedy });
    }
    if head.starts_with(BYTE_ORDER_MARK) {
        head.drain(..BYTE_ORDER_MARK.len());
    }
    Ok((origin, head.clone(), Cursor::new(head).chain(reader)))
}

fn split_head<R: BufRead>(mut reader: R, length: u64) -> io::Result<(Vec<u8>, R)> {
    let mut head = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut head)?;
    Ok((head, reader))
}

/// A reader that may have to be unpacked.
pub(super) enum Unpacked<R> {
    Plain(R),
    Gzip(BufReader<MultiGzDecoder<R>>),
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
        }
    }
}

impl<R: BufRead> BufRead for Unpacked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(reader) => reader.fill_buf(),
            Self::Gzip(reader) => reader.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Plain(reader) => reader.consume(amount),
            Self::Gzip(reader) => reader.consume(amount),
        }
    }
}

/// What a file is that people give by mistake, and what to do with it.
fn unsupported(head: &[u8]) -> Option<(&'static str, &'static str)> {
    const UNPACK: &str = "unpack it, or compress it with gzip instead";
    const EXPORT: &str = "convert it to JSON lines, for example with the method to_json of Python's datasets library";
    const KINDS: [(&[u8], &str, &str); 10] = [
        (b"PAR1", "a Parquet file", EXPORT),
        (b"ARROW1", "an Arrow file", EXPORT),
        (b"SQLite format 3", "an SQLite database", "export its table as CSV"),
        (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", UNPACK),
        (b"\xfd7zXZ\0", "compressed with xz", UNPACK),
        (
            b"PK\x03\x04",
            "a ZIP archive or a spreadsheet",
            "unpack the archive, or save the spreadsheet as CSV in UTF-8",
        ),
        (b"\xff\xfe", "encoded in UTF-16", "convert it to UTF-8"),
        (b"\xfe\xff", "encoded in UTF-16", "convert it to UTF-8"),
        (b"version https://git-lfs", "a pointer of Git LFS", "download the file itself with git lfs pull"),
        (b"<!DOCTYPE html", "a web page", "download the file itself"),
    ];
    let kind =
        KINDS.into_iter().find(|(start, ..)| head.get(..start.len()).is_some_and(|h| h.eq_ignore_ascii_case(start)));
    kind.map(|(_, format, remedy)| (format, remedy))
}
