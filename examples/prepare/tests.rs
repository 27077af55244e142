//! The corpora that `prepare` makes from small package lists.
//!
//! `fixtures/corpora` holds the corpora that the original Python script made from `fixtures/lists`.
#![allow(clippy::unwrap_used)]

mod debian;
mod splits;
mod stanza;

use std::fs;
use std::path::{Path, PathBuf};

use debian::{DebianArchive, DebianError, DebianLists};
use splits::Splits;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prepare/fixtures").join(name)
}

fn lists_in(folder: impl Into<PathBuf>) -> DebianLists {
    DebianLists { folder: folder.into(), suite: "bookworm".to_owned(), architecture: "amd64".to_owned() }
}

fn archive() -> DebianArchive {
    lists_in(fixture("lists")).open().unwrap()
}

/// Checks the number of examples in each split (train, validation, test), and that the saved files equal the fixtures.
fn assert_saved_as_in_the_fixtures(splits: &Splits, name: &str, expected: [usize; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let paths = splits.save(folder.path(), name).unwrap();
    assert_eq!(splits.parts().map(|(_, part)| part.len()), expected);
    assert_eq!(paths.len(), 3);
    for path in paths {
        let file = path.file_name().unwrap();
        let expected = fixture("corpora").join(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), fs::read_to_string(expected).unwrap(), "{file:?}");
    }
}

#[test]
fn translations_are_paired_by_md5_and_split_by_source_package() {
    let archive = archive();
    assert_eq!((archive.packages(), archive.descriptions()), (4, 4));
    assert_saved_as_in_the_fixtures(&archive.translations("it").unwrap(), "debian-en-it", [3, 1, 2]);
}

#[test]
fn summaries_leave_out_lists_and_short_texts() {
    assert_saved_as_in_the_fixtures(&archive().summaries(), "debian-summary-en", [0, 0, 1]);
}

#[test]
fn a_missing_list_is_reported_with_the_command_that_downloads_it() {
    let message = archive().translations("de").unwrap_err().to_string();
    assert!(message.contains("apt-get update -o Acquire::Languages=en,de"), "{message}");
    let trixie = DebianLists { suite: "trixie".to_owned(), ..lists_in(fixture("lists")) };
    assert!(matches!(trixie.open(), Err(DebianError::NoLists { .. })));
    assert!(matches!(lists_in("no/such/folder").open(), Err(DebianError::Read { .. })));
}

#[test]
fn a_damaged_compressed_list_is_reported_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    for entry in fixture("lists").read_dir().unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let german = "example.org_debian_dists_bookworm_main_i18n_Translation-de.xz";
    fs::write(folder.path().join(german), "not an archive").unwrap();
    let message = lists_in(folder.path()).open().unwrap().translations("de").unwrap_err().to_string();
    assert!(message.contains(german) && message.contains("unpack it by hand"), "{message}");
}

/// Run it with `WHEELS_DEBIAN_CORPORA=DIR cargo test --test prepare -- --ignored`, with the known corpora in DIR.
#[test]
#[ignore = "needs apt's lists of bookworm in English and Italian, and corpora made from them"]
fn the_lists_of_this_machine_give_the_known_corpora() {
    let known = std::env::var_os("WHEELS_DEBIAN_CORPORA").expect("WHEELS_DEBIAN_CORPORA names a folder");
    let archive = lists_in("/var/lib/apt/lists").open().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut paths = archive.translations("it").unwrap().save(folder.path(), "debian-en-it").unwrap();
    paths.extend(archive.summaries().save(folder.path(), "debian-summary-en").unwrap());
    for path in paths {
        let file = path.file_name().unwrap();
        let expected = fs::read(Path::new(&known).join(file)).unwrap();
        assert!(fs::read(&path).unwrap() == expected, "{file:?} differs");
    }
}
