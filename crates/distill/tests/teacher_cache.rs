//! The files of a teacher's cache.

#[path = "support/cache.rs"]
mod cache;
mod support;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::Device;
use wheels_distill::{
    CacheContent, CacheManifest, DistillError, TeacherCache, TeacherCacheConfig, TeacherCacheWriter, TokenPair,
    TokenPairs, Workers, weights_digest,
};
use wheels_lm::T5;

use cache::{open, top_4, whole, write};
use support::{HELP, MODELS, PAIRS, VOCAB, model};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The content of each file of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        files.insert(name, fs::read(path).expect("a file"));
    }
    files
}

/// The message of an error.
fn refused<T>(result: Result<T, DistillError>) -> String {
    match result {
        Ok(_) => panic!("it is accepted"),
        Err(error) => error.to_string(),
    }
}

/// Pairs of which only some can be read.
struct Failing {
    left: AtomicUsize,
}

impl TokenPairs for Failing {
    fn count(&self) -> usize {
        PAIRS.count()
    }

    fn lengths(&self, index: usize) -> (usize, usize) {
        PAIRS.lengths(index)
    }

    fn pair(&self, index: usize) -> Result<Cow<'_, TokenPair>, DistillError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            let source = std::io::Error::other("the disk is gone");
            return Err(DistillError::Io { action: "read", path: "data".into(), source });
        }
        PAIRS.pair(index)
    }
}

#[test]
fn an_interrupted_cache_goes_on_and_ends_with_the_same_bytes() {
    for config in [top_4(), top_4().with_content(CacheContent::HiddenStates)] {
        let (at_once, resumed) = (folder(), folder());
        let manifest = write(&config, &*PAIRS, at_once.path()).expect("a cache");
        assert!(manifest.shards.len() > 4, "{manifest:?}");
        // The pairs are read once for their digests.
        for readable in [55, 65] {
            let pairs = Failing { left: AtomicUsize::new(readable) };
            assert!(refused(write(&config, &pairs, resumed.path())).contains("cannot read data"));
            let message = refused(open(resumed.path()));
            assert!(message.contains("of 40 pairs") && message.contains("again"), "{message}");
        }
        let found = write(&config, &*PAIRS, resumed.path()).expect("a cache");
        assert_eq!(found, manifest);
        assert!(files(resumed.path()) == files(at_once.path()), "the files differ");

        let alone = folder();
        let writer = TeacherCacheWriter::new(config, &*PAIRS, &MODELS.teacher, &[0, HELP]);
        let mut seen = vec![];
        writer
            .write(alone.path(), &Workers::new(1).expect("a thread"), &mut |progress| seen.push(progress))
            .expect("a cache");
        assert!(files(alone.path()) == files(at_once.path()), "the number of workers changes nothing");
        assert!(seen.is_sorted_by_key(|progress| progress.tokens) && seen.len() > 5, "{seen:?}");
        let tokens = manifest.tokens;
        assert!(seen[0].tokens == 0 && seen.last().is_some_and(|last| (last.tokens, last.total) == (tokens, tokens)));
    }
}

#[test]
fn the_size_of_a_token_is_that_of_its_numbers() {
    let sizes = [
        (TeacherCacheConfig::new().with_content(CacheContent::TopK(8)), 8 * (2 + 2) + 2),
        (TeacherCacheConfig::new().with_content(CacheContent::TopK(8)).with_half_precision(false), 8 * (2 + 4) + 4),
        (TeacherCacheConfig::new(), 2 * VOCAB as usize),
        (TeacherCacheConfig::new().with_content(CacheContent::HiddenStates), 2 * 8),
    ];
    for (config, expected) in sizes {
        let scratch = folder();
        let manifest = write(&config, &*PAIRS, scratch.path()).expect("a cache");
        assert_eq!(manifest.bytes_per_token, expected, "{config:?}");
        let tokens: usize = PAIRS.0.iter().map(|pair| pair.target.len()).sum();
        let on_disk: usize =
            files(scratch.path()).iter().filter(|file| file.0 != "cache.json").map(|f| f.1.len()).sum();
        assert_eq!((manifest.tokens, manifest.bytes()), (tokens, on_disk));
        assert!(manifest.bytes() > tokens * expected);
    }
}

#[test]
fn a_damaged_cache_is_refused_and_made_whole_again() {
    let scratch = folder();
    let shard = scratch.path().join("shard-00002.safetensors");
    write(&top_4(), &*PAIRS, scratch.path()).expect("a cache");
    let whole = files(scratch.path());
    let content = fs::read(&shard).expect("a shard");
    let mut flipped = content.clone();
    flipped[content.len() - 3] ^= 1;
    for (damaged, reason) in [
        (Some(&content[..content.len() - 5]), "and should have"),
        (Some(flipped.as_slice()), "its checksum differs"),
        (None, "No such file"),
    ] {
        match damaged {
            Some(bytes) => fs::write(&shard, bytes).expect("written"),
            None => fs::remove_file(&shard).expect("removed"),
        }
        let message = refused(open(scratch.path()));
        assert!(message.contains("shard-00002") && message.contains(reason) && message.contains("again"), "{message}");
        write(&top_4(), &*PAIRS, scratch.path()).expect("a cache");
        assert!(files(scratch.path()) == whole, "only what is missing is written");
        assert_eq!(open(scratch.path()).expect("a cache").count(), 40);
    }
}

#[test]
fn a_torn_or_foreign_manifest_is_refused() {
    let scratch = folder();
    assert!(refused(open(scratch.path())).contains("cache.json cannot be used (there is no such file)"));
    write(&top_4(), &*PAIRS, scratch.path()).expect("a cache");
    let path = scratch.path().join("cache.json");
    let json = fs::read_to_string(&path).expect("a manifest");
    let elsewhere = json.replace("shard-00000.safetensors", "../shard-00000.safetensors");
    for (torn, reason) in [
        (&json[..json.len() / 2], "cache.json"),
        (&json.replace("\"format\": 1", "\"format\": 7"), "it has version 7, and this program reads version 1"),
        (&json.replace("\"format\": 1", "\"format\": \"one\""), "no version"),
        (&json.replace("\"top_k\": 4", "\"top_k\": 5"), "ids has the shape"),
        (&elsewhere, "its own folder"),
    ] {
        assert_ne!(torn, json);
        fs::write(&path, torn).expect("written");
        let message = refused(open(scratch.path()));
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn a_cache_serves_any_selection_of_its_pairs_and_no_others() {
    let scratch = folder();
    write(&top_4(), &*PAIRS, scratch.path()).expect("a cache");
    let all = open(scratch.path()).expect("a cache");
    let chosen: Vec<TokenPair> = [31, 2, 17].map(|index: usize| PAIRS.0[index].clone()).into();
    let part = TeacherCache::open(scratch.path(), &chosen, &Device::flex()).expect("its pairs");
    assert_eq!(part.read(&[2, 0]).expect("rows"), all.read(&[17, 31]).expect("rows"));

    // Another tokenizer gives other ids.
    let other: Vec<TokenPair> = vec![chosen[0].clone(), TokenPair { source: vec![5, 1], ..chosen[1].clone() }];
    let message = refused(TeacherCache::open(scratch.path(), &other, &Device::flex()));
    assert!(message.contains("lacks 1 of the 2 pairs of the data, the first of which is pair 1"), "{message}");
    assert!(message.contains("tokenizer"), "{message}");
}

#[test]
fn another_teacher_other_data_and_other_settings_are_refused() {
    let scratch = folder();
    let manifest = write(&top_4(), &*PAIRS, scratch.path()).expect("a cache");
    let before = files(scratch.path());
    let digest = weights_digest(&MODELS.teacher);
    assert_eq!(manifest.teacher, digest);
    assert!(manifest.check_teacher(scratch.path(), &digest).is_ok());

    let other: T5 = model(VOCAB, &Device::flex());
    let other_digest = weights_digest(&other);
    let message = refused(manifest.check_teacher(scratch.path(), &other_digest));
    assert!(message.contains(&digest) && message.contains(&other_digest), "{message}");
    let workers = Workers::new(1).expect("a thread");
    let writer = TeacherCacheWriter::new(top_4(), &*PAIRS, &other, &[0, HELP]);
    assert!(refused(writer.write(scratch.path(), &workers, &mut |_| ())).contains("another value of teacher ("));
    let fewer = PAIRS.0[1..].to_vec();
    assert!(refused(write(&top_4(), &fewer, scratch.path())).contains("another value of data ("));
    let hotter = top_4().with_teacher_temperature(1.0);
    assert!(refused(write(&hotter, &*PAIRS, scratch.path())).contains("teacher_temperature (0.7 there, 1.0 here)"));
    assert!(refused(write(&top_4(), &Vec::new(), scratch.path())).contains("no training pairs"));
    let none = top_4().with_content(CacheContent::TopK(0));
    assert!(refused(write(&none, &*PAIRS, scratch.path())).contains("at least one"));
    let cold = top_4().with_teacher_temperature(0.0);
    assert!(refused(write(&cold, &*PAIRS, scratch.path())).contains("a temperature of 0 has no distribution"));
    assert!(files(scratch.path()) == before, "a refused cache is not changed");
}

#[test]
fn a_teacher_whose_head_is_not_enough_is_refused() {
    let scratch = folder();
    let hidden = TeacherCacheConfig::new().with_content(CacheContent::HiddenStates);
    let student = MODELS.student.valid();
    let workers = Workers::new(1).expect("a thread");
    let writer = TeacherCacheWriter::new(hidden, &*PAIRS, &student, &[0, HELP]);
    let message = refused(writer.write(scratch.path(), &workers, &mut |_| ()));
    assert!(message.contains("keep the top k"), "{message}");
    let writer = TeacherCacheWriter::new(whole(), &*PAIRS, &student, &[0, HELP]);
    let manifest: CacheManifest =
        writer.write(scratch.path(), &workers, &mut |_| ()).expect("all log-probs are enough");
    assert_eq!(manifest.pairs, 40);
}
