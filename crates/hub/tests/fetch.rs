//! Models are fetched from a small hub on the loopback interface.

#![allow(clippy::unwrap_used)]

mod server;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use server::{COMMIT, Faults, Server, etag};
use tempfile::TempDir;
use wheels_hub::{AccessToken, Hub, HubConfig, HubError};

const WEIGHTS: &str = "model.safetensors";

/// The content of the weights: more than the client reads at once, and no block of it like another.
fn weights() -> Vec<u8> {
    (0..700_000_u32).map(|index| (index / 7 + index) as u8).collect()
}

/// A hub with a model that has all that is fetched and some files that are not.
fn model() -> Server {
    Server::start(&[
        ("README.md", b"# A model"),
        ("config.json", b"{}"),
        ("flax_model.msgpack", b"flax"),
        ("generation_config.json", b"{\"a\":1}"),
        ("heads.safetensors", b"heads"),
        ("onnx/model.onnx", b"onnx"),
        ("pytorch_model.bin", b"pickle"),
        ("spiece.model", b"pieces"),
        ("tokenizer.json", b"{\"b\":2}"),
        (WEIGHTS, &weights()),
    ])
}

/// A cache in a new folder.
struct Cache(TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn config(&self, endpoint: &str) -> HubConfig {
        let timeout = Duration::from_secs(5);
        HubConfig { endpoint: endpoint.into(), timeout, retries: 0, ..HubConfig::new(self.0.path()) }
    }

    fn fetch(&self, server: &Server, name: &str) -> Result<PathBuf, HubError> {
        fetch(self.config(&server.endpoint), name)
    }

    fn model(&self) -> PathBuf {
        self.0.path().join("models--owner--name")
    }

    fn snapshot(&self) -> PathBuf {
        self.model().join("snapshots").join(COMMIT)
    }

    /// The beginning of the weights.
    fn part(&self) -> PathBuf {
        self.model().join("blobs").join(etag(WEIGHTS, &weights()) + ".incomplete")
    }
}

fn fetch(config: HubConfig, name: &str) -> Result<PathBuf, HubError> {
    Hub::new(config)?.fetch(&name.parse()?, |_| ())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The bytes of each download of the weights.
fn downloads(server: &Server) -> Vec<(Option<String>, usize)> {
    let seen = server.take_seen();
    let gets =
        seen.into_iter().filter(|seen| seen.method == "GET" && seen.path.starts_with("cdn:/lfs/model.safetensors"));
    gets.map(|seen| (seen.range, seen.sent)).collect()
}

#[test]
fn only_what_is_needed_is_fetched_into_the_layout_of_python() {
    let (server, cache) = (model(), Cache::new());
    let mut reports = vec![];
    let hub = Hub::new(cache.config(&server.endpoint)).unwrap();
    let report =
        |progress: &wheels_hub::Progress<'_>| reports.push((progress.file.to_owned(), progress.done, progress.total));
    let folder = hub.fetch(&"owner/name".parse().unwrap(), report).unwrap();
    assert_eq!(folder, cache.snapshot());
    let expected = ["config.json", "generation_config.json", "heads.safetensors", WEIGHTS, "tokenizer.json"];
    assert_eq!(names(&folder), expected);
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(fs::read_to_string(cache.model().join("refs/main")).unwrap(), COMMIT);
    let blobs = names(&cache.model().join("blobs"));
    assert_eq!(blobs.len(), expected.len());
    assert!(blobs.contains(&etag(WEIGHTS, &weights())) && blobs.contains(&etag("config.json", b"{}")), "{blobs:?}");
    assert_eq!(names(&cache.0.path().join(".locks/models--owner--name")).len(), expected.len());
    #[cfg(unix)]
    {
        let link = fs::read_link(folder.join("config.json")).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(etag("config.json", b"{}")));
    }

    let total = weights().len() as u64;
    let weights: Vec<_> = reports.iter().filter(|report| report.0 == WEIGHTS).collect();
    assert!(weights.iter().all(|report| report.2 == Some(total)) && weights.is_sorted_by_key(|report| report.1));
    assert_eq!((weights[0].1, weights.last().unwrap().1), (0, total));
    assert_eq!(reports.last().unwrap().0, WEIGHTS, "the weights come last");

    // The second time, only the list is requested.
    server.take_seen();
    assert_eq!(cache.fetch(&server, "owner/name").unwrap(), folder);
    assert_eq!(server.take_seen().len(), 1);
    // Another revision with the same commit, and the commit itself.
    assert_eq!(cache.fetch(&server, "owner/name@refs/pr/1").unwrap(), folder);
    assert_eq!(cache.fetch(&server, &format!("owner/name@{COMMIT}")).unwrap(), folder);
    assert_eq!(server.take_seen().len(), 2);
    assert_eq!(fs::read_to_string(cache.model().join("refs/refs/pr/1")).unwrap(), COMMIT);
    assert_eq!(names(&cache.model().join("refs")), ["main", "refs"]);
}

#[test]
fn redirects_within_the_hub_are_followed() {
    let (server, cache) = (model(), Cache::new());
    server.set_faults(Faults { relative_redirects: true, ..Faults::default() });
    let folder = cache.fetch(&server, "owner/name").unwrap();
    assert_eq!(fs::read_to_string(folder.join("config.json")).unwrap(), "{}");
    assert!(cache.model().join("blobs").join(etag("config.json", b"{}")).exists());
}

#[test]
fn shards_are_fetched_by_their_index() {
    let index =
        br#"{ "weight_map": { "a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors" } }"#;
    let mut files: Vec<(&str, &[u8])> = vec![
        ("config.json", b"{}"),
        ("model-1.safetensors", b"one"),
        ("model-2.safetensors", b"two"),
        ("model-3.safetensors", b"three"),
        ("model.safetensors.index.json", index),
        ("tokenizer.json", b"{}"),
    ];
    let (server, cache) = (Server::start(&files), Cache::new());
    let folder = cache.fetch(&server, "owner/name").unwrap();
    let expected =
        ["config.json", "model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json", "tokenizer.json"];
    assert_eq!(names(&folder), expected);

    fs::remove_file(folder.join("model-2.safetensors")).unwrap();
    let offline = HubConfig { offline: true, ..cache.config("http://unused") };
    let message = fetch(offline, "owner/name").unwrap_err().to_string();
    assert!(message.contains("model-2.safetensors"), "{message}");

    files.remove(2);
    let message = Cache::new().fetch(&Server::start(&files), "owner/name").unwrap_err().to_string();
    assert!(message.contains("no model-2.safetensors"), "{message}");
    files.retain(|file| !file.0.ends_with("index.json"));
    files.push(("model.safetensors.index.json", br#"{ "weight_map": { "a": "../model-1.safetensors" } }"#));
    let message = Cache::new().fetch(&Server::start(&files), "owner/name").unwrap_err().to_string();
    assert!(message.contains("not the name of a safetensors file"), "{message}");
}

#[test]
fn the_sources_of_a_tokenizer_are_fetched_if_there_is_no_other() {
    let files: [(&str, &[u8]); 3] = [("config.json", b"{}"), (WEIGHTS, b"w"), ("spiece.model", b"pieces")];
    let (server, cache) = (Server::start(&files), Cache::new());
    let folder = cache.fetch(&server, "owner/name").unwrap();
    assert_eq!(names(&folder), ["config.json", WEIGHTS, "spiece.model"]);
}

#[test]
fn an_adapter_is_fetched_without_the_files_of_its_base_model() {
    let files: [(&str, &[u8]); 4] = [
        ("README.md", b"#"),
        ("adapter_config.json", b"{}"),
        ("adapter_model.safetensors", b"w"),
        ("prompt.json", b"{}"),
    ];
    let (server, cache) = (Server::start(&files), Cache::new());
    let folder = cache.fetch(&server, "owner/name").unwrap();
    assert_eq!(names(&folder), ["adapter_config.json", "adapter_model.safetensors", "prompt.json"]);
    let offline = HubConfig { offline: true, ..cache.config(&server.endpoint) };
    assert_eq!(fetch(offline.clone(), "owner/name").unwrap(), folder);
    fs::remove_file(folder.join("adapter_model.safetensors")).unwrap();
    let message = fetch(offline, "owner/name").unwrap_err().to_string();
    assert!(message.contains("no adapter_model.safetensors"), "{message}");

    let server = Server::start(&[("adapter_config.json", b"{}"), ("adapter_model.bin", b"pickle")]);
    let message = Cache::new().fetch(&server, "owner/name").unwrap_err().to_string();
    assert!(message.contains("owner/name has no adapter_model.safetensors"), "{message}");
}

#[test]
fn without_safetensors_or_config_nothing_is_fetched() {
    let server = Server::start(&[("config.json", b"{}"), ("pytorch_model.bin", b"pickle")]);
    let cache = Cache::new();
    let message = cache.fetch(&server, "owner/name").unwrap_err().to_string();
    assert!(message.contains("pytorch_model.bin only") && message.contains("save_pretrained"), "{message}");
    assert!(!cache.model().exists());
    let message = cache.fetch(&Server::start(&[("config.json", b"{}")]), "owner/name").unwrap_err().to_string();
    assert!(message.contains("owner/name has no model.safetensors"), "{message}");
    let message = cache.fetch(&Server::start(&[(WEIGHTS, b"w")]), "owner/name").unwrap_err().to_string();
    assert!(message.contains("owner/name has no config.json"), "{message}");
}

#[test]
fn a_download_that_breaks_is_continued_by_the_next_call() {
    let (server, cache) = (model(), Cache::new());
    server.set_faults(Faults { cut: Some((WEIGHTS.into(), 300_000, 1)), ..Faults::default() });
    let error = cache.fetch(&server, "owner/name").unwrap_err();
    let HubError::Interrupted { ref file, done, size, .. } = error else { panic!("{error}") };
    assert_eq!((file.as_str(), done, size), (WEIGHTS, 300_000, Some(700_000)));
    assert!(error.to_string().contains("300000 bytes of 700000"), "{error}");
    assert_eq!(fs::metadata(cache.part()).unwrap().len(), 300_000);
    assert!(!cache.snapshot().join(WEIGHTS).exists() && !cache.model().join("refs").exists());
    assert_eq!(downloads(&server), [(None, 300_000)]);

    let folder = cache.fetch(&server, "owner/name").unwrap();
    assert_eq!(downloads(&server), [(Some("bytes=300000-".into()), 400_000)]);
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights());
    assert!(!cache.part().exists());
}

#[test]
fn a_download_that_breaks_is_continued_by_the_same_call() {
    let (server, cache) = (model(), Cache::new());
    server.set_faults(Faults { cut: Some((WEIGHTS.into(), 250_000, 2)), ..Faults::default() });
    let config = HubConfig { retries: 1, ..cache.config(&server.endpoint) };
    let folder = fetch(config, "owner/name").unwrap();
    let ranges = [(None, 250_000), (Some("bytes=250000-".into()), 250_000), (Some("bytes=500000-".into()), 200_000)];
    assert_eq!(downloads(&server), ranges);
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights());
}

#[test]
fn a_server_that_ignores_ranges_sends_all_again() {
    let (server, cache) = (model(), Cache::new());
    let cut = Some((WEIGHTS.into(), 300_000, 3));
    server.set_faults(Faults { cut, ignore_range: true, ..Faults::default() });
    let config = HubConfig { retries: 1, ..cache.config(&server.endpoint) };
    // Bytes that were sent before are no progress, so the second break is the last one.
    assert!(matches!(fetch(config.clone(), "owner/name").unwrap_err(), HubError::Interrupted { .. }));
    assert_eq!(downloads(&server).len(), 2);
    let folder = fetch(config, "owner/name").unwrap();
    let range = Some("bytes=300000-".to_owned());
    assert_eq!(downloads(&server), [(range.clone(), 300_000), (range, 700_000)]);
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights());
}

#[test]
fn a_part_that_is_damaged_or_too_long_is_replaced() {
    for (part, requests) in [
        (vec![0; 1000], vec![(Some("bytes=1000-".into()), 699_000), (None, 700_000)]),
        (vec![0; 700_000], vec![(None, 700_000)]),
        (vec![0; 700_001], vec![(None, 700_000)]),
        (weights(), vec![]),
    ] {
        let (server, cache) = (model(), Cache::new());
        fs::create_dir_all(cache.part().parent().unwrap()).unwrap();
        fs::write(cache.part(), part).unwrap();
        let folder = cache.fetch(&server, "owner/name").unwrap();
        assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights());
        assert_eq!(downloads(&server), requests);
    }
}

#[test]
fn a_wrong_size_is_an_error() {
    let (server, cache) = (model(), Cache::new());
    for announced in [699_999, 700_001] {
        server.set_faults(Faults { sizes: [(WEIGHTS.into(), announced)].into(), ..Faults::default() });
        let message = cache.fetch(&server, "owner/name").unwrap_err().to_string();
        assert!(message.contains("has 700000 bytes") && message.contains(&announced.to_string()), "{message}");
        assert!(!cache.part().exists() && !cache.snapshot().join(WEIGHTS).exists());
    }
    server.set_faults(Faults { sizes: [("config.json".into(), 5)].into(), ..Faults::default() });
    let error = Cache::new().fetch(&server, "owner/name").unwrap_err();
    assert!(matches!(error, HubError::Size { expected: 5, actual: 2, .. }), "{error}");
}

#[test]
fn a_wrong_hash_is_an_error() {
    let (server, cache) = (model(), Cache::new());
    let mut wrong = weights();
    wrong[650_000] ^= 1;
    server.set_faults(Faults { contents: [(WEIGHTS.into(), wrong)].into(), ..Faults::default() });
    let message = cache.fetch(&server, "owner/name").unwrap_err().to_string();
    assert!(message.contains("SHA-256") && message.contains(&etag(WEIGHTS, &weights())), "{message}");
    assert!(!cache.part().exists() && !cache.snapshot().join(WEIGHTS).exists());
    server.set_faults(Faults::default());
    cache.fetch(&server, "owner/name").unwrap();
}

#[test]
fn a_model_or_revision_that_does_not_exist_is_named() {
    let (server, cache) = (model(), Cache::new());
    let message = cache.fetch(&server, "owner/other").unwrap_err().to_string();
    assert!(
        message.contains("no model owner/other at http://127") && message.contains("should be a folder"),
        "{message}"
    );
    let message = cache.fetch(&server, "owner/name@v2").unwrap_err().to_string();
    assert!(message.contains("owner/name at ") && message.contains("has no revision \"v2\""), "{message}");
    // A mirror may not send X-Error-Code.
    server.set_faults(Faults { list: Some((404, "")), ..Faults::default() });
    let message = cache.fetch(&server, "owner/name@v2").unwrap_err().to_string();
    assert!(message.contains("no model owner/name@v2 at"), "{message}");
    assert!(!cache.model().exists());
}

#[test]
fn a_gated_model_says_how_to_get_access() {
    let (server, cache) = (model(), Cache::new());
    let endpoint = server.endpoint.clone();
    for (status, code) in [(401, ""), (401, "GatedRepo"), (403, "GatedRepo"), (403, "")] {
        for faults in [
            Faults { list: Some((status, code)), ..Faults::default() },
            Faults { file: Some((status, code)), ..Faults::default() },
        ] {
            server.set_faults(faults);
            let message = cache.fetch(&server, "owner/name").unwrap_err().to_string();
            for part in ["no token", &format!("accept its licence at {endpoint}/owner/name,"), "HF_TOKEN"] {
                assert!(message.contains(part), "{message}");
            }
            let config = HubConfig { token: AccessToken::new("hf_secret"), ..cache.config(&endpoint) };
            let error = fetch(config, "owner/name").unwrap_err();
            assert!(error.to_string().contains("the token is invalid or has no access"), "{error}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}

#[test]
fn the_token_is_sent_to_the_hub_and_to_no_other_server() {
    let (server, cache) = (model(), Cache::new());
    let config = HubConfig { token: AccessToken::new("hf_secret"), ..cache.config(&server.endpoint) };
    let hub = Hub::new(config).unwrap();
    assert!(!format!("{hub:?}").contains("secret"), "{hub:?}");
    hub.fetch(&"owner/name".parse().unwrap(), |_| ()).unwrap();
    let seen = server.take_seen();
    assert!(seen.iter().any(|seen| seen.path.starts_with("cdn:")));
    for seen in seen {
        let expected = seen.path.starts_with("hub:").then_some("Bearer hf_secret");
        assert_eq!(seen.authorization.as_deref(), expected, "{seen:?}");
    }
}

#[test]
fn offline_uses_the_cache_and_sends_nothing() {
    let (server, cache) = (model(), Cache::new());
    let offline = HubConfig { offline: true, ..cache.config(&server.endpoint) };
    let message = fetch(offline.clone(), "owner/name").unwrap_err().to_string();
    assert!(message.contains("HF_HUB_OFFLINE is set") && message.contains("no config.json of owner/name"), "{message}");
    let folder = cache.fetch(&server, "owner/name").unwrap();
    server.take_seen();
    assert_eq!(fetch(offline.clone(), "owner/name").unwrap(), folder);
    assert_eq!(fetch(offline.clone(), &format!("owner/name@{COMMIT}")).unwrap(), folder);
    assert!(fetch(offline.clone(), "owner/name@v2").is_err());
    for file in [WEIGHTS, "tokenizer.json"] {
        fs::remove_file(folder.join(file)).unwrap();
        let message = fetch(offline.clone(), "owner/name").unwrap_err().to_string();
        assert!(message.contains(&format!("has no {file} of owner/name")), "{message}");
    }
    assert!(server.take_seen().is_empty());
}

#[test]
fn a_server_that_fails_is_replaced_by_a_complete_cache() {
    let (server, cache) = (model(), Cache::new());
    // A port on which nothing listens any more.
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let error = fetch(cache.config(&closed), "owner/name").unwrap_err();
    let HubError::Unreachable { server: ref name, .. } = error else { panic!("{error}") };
    assert_eq!(name, &closed);
    server.set_faults(Faults { list: Some((503, "")), ..Faults::default() });
    let message = cache.fetch(&server, "owner/name").unwrap_err().to_string();
    assert!(message.contains("status 503"), "{message}");

    server.set_faults(Faults::default());
    let folder = cache.fetch(&server, "owner/name").unwrap();
    server.set_faults(Faults { list: Some((503, "")), ..Faults::default() });
    assert_eq!(cache.fetch(&server, "owner/name").unwrap(), folder);
    assert_eq!(fetch(cache.config(&closed), "owner/name").unwrap(), folder);
    fs::remove_file(folder.join(WEIGHTS)).unwrap();
    assert!(matches!(fetch(cache.config(&closed), "owner/name").unwrap_err(), HubError::Unreachable { .. }));
}

#[test]
fn a_server_that_is_silent_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let config = HubConfig { timeout: Duration::from_millis(200), ..Cache::new().config(&endpoint) };
    let error = fetch(config, "owner/name").unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
}

#[test]
fn a_server_that_is_no_hub_is_an_error() {
    let server = Server::start(&[("config.json", b"{}"), (WEIGHTS, b"w")]);
    // A page of a network that asks for a login answers everything with 200.
    let config = Cache::new().config(&format!("{}/api/models/owner/name/revision/main?x=", server.endpoint));
    assert!(matches!(fetch(config, "owner/name").unwrap_err(), HubError::Endpoint { .. }));
    server.set_faults(Faults { list: Some((200, "")), ..Faults::default() });
    let message = Cache::new().fetch(&server, "owner/name").unwrap_err().to_string();
    assert!(message.contains("not answer owner/name as the hub does") && message.contains("HF_ENDPOINT"), "{message}");
}

#[test]
fn a_cache_of_python_is_used() {
    let (server, cache) = (model(), Cache::new());
    let (blobs, snapshot) = (cache.model().join("blobs"), cache.snapshot());
    for folder in [&blobs, &snapshot, &cache.model().join("refs")] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(cache.model().join("refs/main"), COMMIT).unwrap();
    // Python has linked the config, and has the weights from another commit.
    let config = etag("config.json", b"{}");
    fs::write(blobs.join(&config), "{}").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(Path::new("../../blobs").join(&config), snapshot.join("config.json")).unwrap();
    fs::write(blobs.join(etag(WEIGHTS, &weights())), weights()).unwrap();
    // A blob that a crash has cut off, and a link to nothing.
    fs::write(blobs.join(etag("tokenizer.json", b"{\"b\":2}")), "{").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../../blobs/nothing", snapshot.join("generation_config.json")).unwrap();

    let folder = cache.fetch(&server, "owner/name").unwrap();
    assert_eq!(folder, snapshot);
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(fs::read_to_string(folder.join("tokenizer.json")).unwrap(), "{\"b\":2}");
    assert_eq!(fs::read_to_string(folder.join("generation_config.json")).unwrap(), "{\"a\":1}");
    #[cfg(unix)]
    assert!(folder.join("generation_config.json").is_symlink());
    let gets: Vec<_> =
        server.take_seen().into_iter().filter(|seen| seen.method == "GET").map(|seen| seen.path).collect();
    assert!(!gets.iter().any(|path| path.contains("config.json") && !path.contains("generation")), "{gets:?}");
    assert!(!gets.iter().any(|path| path.contains(WEIGHTS)), "{gets:?}");
}

#[test]
fn two_calls_at_once_download_each_file_once() {
    let (server, cache) = (model(), Cache::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| cache.fetch(&server, "owner/name").unwrap());
        }
    });
    assert_eq!(downloads(&server), [(None, 700_000)]);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let (server, cache) = (model(), Cache::new());
    let file = cache.0.path().join("file");
    fs::write(&file, "").unwrap();
    let config = HubConfig { cache: file.clone(), ..cache.config(&server.endpoint) };
    let message = fetch(config, "owner/name").unwrap_err().to_string();
    assert!(message.contains(file.to_str().unwrap()) && message.contains("HF_HUB_CACHE"), "{message}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named() {
    let (server, cache) = (model(), Cache::new());
    fs::create_dir_all(cache.part().parent().unwrap()).unwrap();
    // Every write to this device finds no space.
    std::os::unix::fs::symlink("/dev/full", cache.part()).unwrap();
    let error = cache.fetch(&server, "owner/name").unwrap_err();
    let HubError::DiskFull { ref path, .. } = error else { panic!("{error:?}") };
    assert_eq!(path, &cache.part());
    assert!(error.to_string().contains("the disk is full"), "{error}");
}
