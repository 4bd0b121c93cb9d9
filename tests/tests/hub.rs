//! The Hub's client against a small HTTP server on loopback: real sockets, no network, no environment variables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use simplenet_model::{
    BackboneId, ModelError,
    weights::{DownloadProgress, HubConfig, HubFile, NetworkUse, Silent, fetch, sha256_hex},
};

const ID: BackboneId = BackboneId::WideResNet50x2;
/// Larger than what socket buffers swallow, so that a cut is seen as one.
const LENGTH: usize = 3_000_000;

#[test]
fn a_file_is_downloaded_once_and_then_comes_from_the_cache() {
    let hub = Hub::start(Behaviour::default());
    let home = tempfile::tempdir().expect("folder");
    let (file, progress) = (file(&content()), Counter::default());
    let path = fetch(ID, &file, &hub.config(home.path()), &progress).expect("download");
    assert_eq!(std::fs::read(&path).expect("file"), content());
    assert_eq!(progress.total.load(Ordering::SeqCst), LENGTH as u64);
    assert_eq!(progress.come.load(Ordering::SeqCst), LENGTH as u64);
    let requests = hub.requests().len();
    assert!(hub.requests()[0].path.ends_with("/owner/net/resolve/abc1234/model.safetensors"));

    let again = fetch(ID, &file, &hub.config(home.path()), &Silent).expect("cached");
    assert_eq!(
        (again, hub.requests().len()),
        (path.clone(), requests),
        "the second call must not ask the Hub"
    );
    let offline = HubConfig { network: NetworkUse::Forbidden, ..hub.config(home.path()) };
    assert_eq!(fetch(ID, &file, &offline, &Silent).expect("cached, offline"), path);
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let half = LENGTH / 2;
    for retries in [0, 1] {
        let hub = Hub::start(Behaviour { cut_once_at: Some(half), ..Behaviour::default() });
        let home = tempfile::tempdir().expect("folder");
        let config = HubConfig { retries, ..hub.config(home.path()) };
        let first = fetch(ID, &file(&content()), &config, &Silent);
        let path = if retries == 0 {
            assert!(matches!(first, Err(ModelError::WeightsUnavailable { .. })), "{first:?}");
            let progress = Counter::default();
            let path = fetch(ID, &file(&content()), &config, &progress).expect("second call");
            let come = progress.come.load(Ordering::SeqCst) as usize;
            assert!(come <= LENGTH - half, "the second call fetched {come} of {LENGTH} bytes");
            path
        } else {
            first.expect("goes on by itself")
        };
        assert_eq!(std::fs::read(path).expect("file"), content());
        let ranges: Vec<usize> = hub.requests().iter().filter_map(|r| r.start).collect();
        assert!(ranges.contains(&half), "no request for the second half: {ranges:?}");
    }
}

#[test]
fn a_partial_file_that_cannot_be_continued_is_thrown_away() {
    let hub = Hub::start(Behaviour { cut_once_at: Some(LENGTH / 2), ..Behaviour::default() });
    let home = tempfile::tempdir().expect("folder");
    let config = HubConfig { retries: 0, ..hub.config(home.path()) };
    fetch(ID, &file(&content()), &config, &Silent).expect_err("cut");
    let blobs = config.cache.join("models--owner--net/blobs");
    let part = std::fs::read_dir(&blobs).expect("blobs").filter_map(Result::ok).map(|entry| entry.path());
    let part = part.filter(|p| p.extension().is_some_and(|e| e == "part")).collect::<Vec<_>>();
    assert_eq!(part.len(), 1);
    for length in [LENGTH, LENGTH + 1] {
        std::fs::write(&part[0], vec![7; length]).expect("whole in length, or too long");
        let config = HubConfig { retries: 1, ..config.clone() };
        let path = fetch(ID, &file(&content()), &config, &Silent).expect("starts again");
        assert_eq!(std::fs::read(&path).expect("file"), content());
        std::fs::remove_file(path).expect("for the next round");
    }
}

#[test]
fn a_wrong_hash_names_both_and_removes_the_file() {
    let hub = Hub::start(Behaviour::default());
    let home = tempfile::tempdir().expect("folder");
    let expected = "0".repeat(64);
    let file = HubFile { sha256: expected.clone().into(), ..file(&content()) };
    for _ in 0..2 {
        let error = fetch(ID, &file, &hub.config(home.path()), &Silent).expect_err("wrong hash");
        let ModelError::HashMismatch { file: path, .. } = &error else { panic!("{error:?}") };
        assert!(!path.exists());
        let message = error.to_string();
        assert!(message.contains(&expected) && message.contains(&sha256_hex(&content())), "{message}");
    }
    let left = walk(home.path()).into_iter().filter(|(_, length)| *length as usize == LENGTH).count();
    assert_eq!(left, 0, "the wrong bytes must not stay in the cache");
}

#[test]
fn a_cached_file_that_was_changed_is_noticed() {
    let hub = Hub::start(Behaviour::default());
    let home = tempfile::tempdir().expect("folder");
    let path = fetch(ID, &file(&content()), &hub.config(home.path()), &Silent).expect("download");
    std::fs::write(&path, b"changed").expect("write");
    let error = fetch(ID, &file(&content()), &hub.config(home.path()), &Silent).expect_err("changed");
    assert!(matches!(error, ModelError::HashMismatch { .. }), "{error:?}");
    fetch(ID, &file(&content()), &hub.config(home.path()), &Silent).expect("downloaded again");
}

#[test]
fn refusals_say_what_was_asked_and_what_to_do() {
    for (status, advice) in
        [(404, "no file model.safetensors"), (401, "HF_TOKEN"), (403, "HF_TOKEN"), (500, "500")]
    {
        let hub = Hub::start(Behaviour { status: Some(status), ..Behaviour::default() });
        let home = tempfile::tempdir().expect("folder");
        let error = fetch(ID, &file(&content()), &hub.config(home.path()), &Silent).expect_err("refused");
        assert!(matches!(error, ModelError::Hub { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("/owner/net/resolve/abc1234/") && message.contains(advice), "{message}");
    }
}

#[test]
fn without_a_network_one_sentence_names_the_three_ways_out() {
    let home = tempfile::tempdir().expect("folder");
    // A port that was just free: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("port").port();
    let unreachable = config(home.path(), &format!("http://127.0.0.1:{port}"));
    let offline = HubConfig { network: NetworkUse::Forbidden, ..unreachable.clone() };
    for (config, reason) in [(unreachable, "could not be downloaded"), (offline, "HF_HUB_OFFLINE")] {
        let message = fetch(ID, &file(&content()), &config, &Silent).expect_err("no network").to_string();
        for part in
            ["wide-resnet50-2", reason, "--backbone efficientnet-lite0", "--weights FILE", "HF_ENDPOINT"]
        {
            assert!(message.contains(part), "`{part}` is missing in: {message}");
        }
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn the_token_is_sent_and_only_if_there_is_one() {
    for token in [None, Some("hf_secret".to_string())] {
        let hub = Hub::start(Behaviour::default());
        let home = tempfile::tempdir().expect("folder");
        let config = HubConfig { token: token.clone(), ..hub.config(home.path()) };
        fetch(ID, &file(&content()), &config, &Silent).expect("download");
        let expected = token.map(|token| format!("Bearer {token}"));
        assert!(
            hub.requests().iter().all(|request| request.authorization == expected),
            "{:?}",
            hub.requests()
        );
    }
}

fn content() -> Vec<u8> {
    (0..LENGTH).map(|i| (i * 31 % 251) as u8).collect()
}

fn file(content: &[u8]) -> HubFile {
    HubFile {
        repo: "owner/net".into(),
        revision: "abc1234".into(),
        file: "model.safetensors".into(),
        sha256: sha256_hex(content).into(),
        bytes: content.len() as u64,
    }
}

fn config(home: &Path, endpoint: &str) -> HubConfig {
    let variables = |name: &str| match name {
        "HF_HOME" => Some(home.into()),
        "HF_ENDPOINT" => Some(endpoint.into()),
        _ => None,
    };
    HubConfig::from_variables(variables, None)
}

/// Every file below a folder with its length.
fn walk(folder: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder").filter_map(Result::ok) {
        match entry.metadata() {
            Ok(data) if data.is_dir() => found.extend(walk(&entry.path())),
            Ok(data) => found.push((entry.path(), data.len())),
            Err(_) => {}
        }
    }
    found
}

#[derive(Default)]
struct Counter {
    total: AtomicU64,
    come: AtomicU64,
}

impl DownloadProgress for Counter {
    fn start(&self, _: &str, total: u64, _: u64) {
        self.total.store(total, Ordering::SeqCst);
    }
    fn advance(&self, bytes: u64) {
        self.come.fetch_add(bytes, Ordering::SeqCst);
    }
    fn finish(&self) {}
}

#[derive(Default)]
struct Behaviour {
    /// Break the first transfer off after this many bytes.
    cut_once_at: Option<usize>,
    /// Answer everything with this status.
    status: Option<u16>,
}

#[derive(Debug, Clone)]
struct Request {
    path: String,
    authorization: Option<String>,
    /// Start of an open range: `bytes=N-`.
    start: Option<usize>,
}

/// Serves one file the way the Hub does: ETag, commit, ranges.
struct Hub {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Hub {
    fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, shared) = (requests.clone(), Arc::new(Mutex::new(behaviour)));
        // Lives as long as the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let (log, shared) = (log.clone(), shared.clone());
                thread::spawn(move || serve(stream, &log, &shared));
            }
        });
        Self { port, requests }
    }

    fn config(&self, home: &Path) -> HubConfig {
        config(home, &format!("http://127.0.0.1:{}", self.port))
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("log").clone()
    }
}

/// Answers requests on one connection until it closes.
fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, behaviour: &Mutex<Behaviour>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let body = content();
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim_end().is_empty() {
                break;
            }
            lines.push(line.trim_end().to_string());
        }
        let header = |name: &str| {
            let mut found = lines.iter().filter_map(|line| line.split_once(": "));
            found.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_string())
        };
        let range = header("range").unwrap_or_default();
        let (start, end) = range.strip_prefix("bytes=").and_then(|r| r.split_once('-')).unwrap_or(("0", ""));
        let start: usize = start.parse().ok()?;
        let end = end.parse::<usize>().map_or(LENGTH, |last| (last + 1).min(LENGTH));
        log.lock().ok()?.push(Request {
            path: lines.first()?.split(' ').nth(1)?.to_string(),
            authorization: header("authorization"),
            start: range.ends_with('-').then_some(start),
        });
        let mut behaviour = behaviour.lock().ok()?;
        let status = if start >= LENGTH { Some(416) } else { behaviour.status };
        if let Some(status) = status {
            write!(stream, "HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        }
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nETag: \"blob\"\r\nX-Repo-Commit: {}\r\nContent-Length: {}\r\n\
             Content-Range: bytes {start}-{}/{LENGTH}\r\n\r\n",
            "c".repeat(40),
            end - start,
            end - 1
        )
        .ok()?;
        let whole = end - start == LENGTH;
        match behaviour.cut_once_at.filter(|_| whole) {
            Some(cut) => {
                behaviour.cut_once_at = None;
                stream.write_all(&body[..cut]).ok()?;
                stream.flush().ok()?;
                stream.shutdown(Shutdown::Both).ok()?;
                return None;
            }
            None => stream.write_all(&body[start..end]).ok()?,
        }
    }
}
