//! Corpora from small package lists: `tests/corpora` is what the script that made the first corpora gives for them.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use wheels_text::{DebianArchive, DebianLists, Splits, TextError};

fn lists() -> DebianLists {
    DebianLists { folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lists"), ..DebianLists::default() }
}

fn archive() -> DebianArchive {
    lists().open().unwrap()
}

fn assert_saved_equals(splits: &Splits, name: &str, expected: [usize; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let paths = splits.save(&folder, name).unwrap();
    assert_eq!(splits.parts().map(|(_, part)| part.len()), expected);
    assert_eq!(paths.len(), 3);
    for path in paths {
        let file = path.file_name().unwrap();
        let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora").join(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), fs::read_to_string(expected).unwrap(), "{file:?}");
    }
}

#[test]
fn translations_pair_by_md5_and_split_by_source_package() {
    let archive = archive();
    assert_eq!((archive.packages(), archive.descriptions()), (4, 4));
    assert_saved_equals(&archive.translations("it").unwrap(), "debian-en-it", [3, 1, 2]);
}

#[test]
fn summaries_leave_lists_and_short_texts_out() {
    assert_saved_equals(&archive().summaries(), "debian-summary-en", [0, 0, 1]);
}

#[test]
fn a_missing_list_says_how_to_fetch_it() {
    let message = archive().translations("de").unwrap_err().to_string();
    assert!(message.contains("apt-get update -o Acquire::Languages=en,de"), "{message}");
    let trixie = DebianLists { suite: "trixie".to_owned(), ..lists() };
    assert!(matches!(trixie.open(), Err(TextError::NoLists { .. })));
    let nowhere = DebianLists { folder: "no/such/folder".into(), ..lists() };
    assert!(matches!(nowhere.open(), Err(TextError::Read { .. })));
}

#[test]
fn a_broken_compressed_list_is_an_error_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    for entry in lists().folder.read_dir().unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let german = "example.org_debian_dists_bookworm_main_i18n_Translation-de.xz";
    fs::write(folder.path().join(german), "this is no archive").unwrap();
    let copied = DebianLists { folder: folder.path().to_owned(), ..lists() };
    let message = copied.open().unwrap().translations("de").unwrap_err().to_string();
    assert!(message.contains(german) && message.contains("unpack"), "{message}");
}

/// `WHEELS_DEBIAN_CORPORA=DIR cargo test -p wheels-text -- --ignored` compares with the files in DIR.
#[test]
#[ignore = "needs apt's lists of bookworm in English and Italian, and corpora made from them"]
fn the_real_lists_give_the_known_corpora_byte_for_byte() {
    let known = std::env::var_os("WHEELS_DEBIAN_CORPORA").expect("WHEELS_DEBIAN_CORPORA names a folder");
    let archive = DebianLists::default().open().unwrap();
    let made = tempfile::tempdir().unwrap();
    let mut paths = archive.translations("it").unwrap().save(&made, "debian-en-it").unwrap();
    paths.extend(archive.summaries().save(&made, "debian-summary-en").unwrap());
    for path in paths {
        let file = path.file_name().unwrap();
        let expected = fs::read(Path::new(&known).join(file)).unwrap();
        assert!(fs::read(&path).unwrap() == expected, "{file:?} differs");
    }
}
