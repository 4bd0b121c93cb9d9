//! Servers that do not answer as the Hub does, on loopback: one case a kind of lie. Whatever they send, the download ends in
//! an error within its time limit, writes nothing outside its cache, and gives the token to nobody else.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use simplenet_model::{
    BackboneId, ModelError,
    weights::{HubConfig, HubFile, NetworkUse, Silent, fetch, sha256_hex},
};

const ID: BackboneId = BackboneId::WideResNet50x2;
const CONTENT: &[u8] = b"the bytes of a network's weights, of which there are few";
const TOKEN: &str = "hf_secret";
/// Longest time without enough bytes, and what a case may take in all: two of them, and the machine's own slowness.
const STALL: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(10);

type Answer = dyn Fn(&mut TcpStream, &Request) -> std::io::Result<()> + Send + Sync;

#[derive(Debug, Clone)]
struct Request {
    authorization: Option<String>,
    range: Option<String>,
}

struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers one request a connection. Lives as long as the test's process.
    fn start(
        answer: impl Fn(&mut TcpStream, &Request) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, answer): (_, Arc<Answer>) = (requests.clone(), Arc::new(answer));
        thread::spawn(move || {
            for mut stream in listener.incoming().filter_map(Result::ok) {
                let (log, answer) = (log.clone(), answer.clone());
                thread::spawn(move || {
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                    let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                    let header = |name: &str| {
                        let mut fields = lines.iter().filter_map(|line| line.split_once(": "));
                        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_string())
                    };
                    let request = Request { authorization: header("authorization"), range: header("range") };
                    log.lock().unwrap().push(request.clone());
                    // Whoever is lied to may hang up.
                    let _ = answer(&mut stream, &request);
                });
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// A cache beside something that must stay as it is.
struct Home {
    folder: tempfile::TempDir,
    before: Vec<(PathBuf, Vec<u8>)>,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("mine")).unwrap();
        std::fs::write(folder.path().join("mine/profile"), "precious").unwrap();
        let before = files(folder.path());
        Self { folder, before }
    }

    fn config(&self, server: &Server) -> HubConfig {
        HubConfig {
            cache: self.folder.path().join("hub"),
            endpoint: format!("http://127.0.0.1:{}", server.port),
            token: Some(TOKEN.into()),
            network: NetworkUse::Allowed,
            retries: 1,
            stall: STALL,
        }
    }

    /// Every file outside the cache is what it was.
    fn check(&self, what: &str) {
        let cache = self.folder.path().join("hub");
        let outside: Vec<_> =
            files(self.folder.path()).into_iter().filter(|(path, _)| !path.starts_with(&cache)).collect();
        assert_eq!(outside, self.before, "{what}: something outside the cache was touched");
    }
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(path).unwrap_or_default()));
        }
    }
    found.sort();
    found
}

fn file() -> HubFile {
    HubFile {
        repo: "owner/net".into(),
        revision: "abc1234".into(),
        file: "model.safetensors".into(),
        sha256: sha256_hex(CONTENT).into(),
        bytes: CONTENT.len() as u64,
    }
}

fn whole(stream: &mut TcpStream, headers: &str, body: &[u8]) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    )?;
    stream.write_all(body)
}

fn redirect(stream: &mut TcpStream, location: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 302 Found\r\n{location}Content-Length: 0\r\nX-Repo-Commit: ../../../mine\r\nConnection: close\r\n\r\n"
    )
}

/// Asks a lying server; the error must come in time and say `words` in one line.
fn check(
    what: &str,
    words: &str,
    answer: impl Fn(&mut TcpStream, &Request) -> std::io::Result<()> + Send + Sync + 'static,
) {
    let (home, server) = (Home::new(), Server::start(answer));
    let begun = Instant::now();
    let error = fetch(ID, &file(), &home.config(&server), &Silent).unwrap_err();
    assert!(begun.elapsed() < LIMIT, "{what}: took {:?}", begun.elapsed());
    let text = error.to_string();
    assert!(text.contains(words) && !text.contains('\n') && !text.contains(TOKEN), "{what}: {text}");
    assert!(text.len() < 1000, "{what}: {text}");
    home.check(what);
    let left: u64 = files(&home.folder.path().join("hub")).iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let may_go_on = text.contains("could not be downloaded") || text.contains("next to nothing");
    assert!(left <= if may_go_on { file().bytes } else { 0 }, "{what}: {left} bytes are left in the cache");
}

/// What a server calls the file and the commit names no path here: the bytes come to lie where their hash says.
#[test]
fn names_from_the_server_lead_nowhere() {
    for name in ["/mine/profile", "../../../mine/new", "a/b", "", ".", "..", "a\\b", &"a".repeat(5000)] {
        let (home, headers) = (
            Home::new(),
            format!("ETag: \"{name}\"\r\nX-Linked-Etag: \"{name}\"\r\nX-Repo-Commit: {name}\r\n"),
        );
        let headers = headers.replace("/mine", &format!("{}/mine", home.folder.path().display()));
        let server = Server::start(move |stream, _| whole(stream, &headers, CONTENT));
        let path = fetch(ID, &file(), &home.config(&server), &Silent).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), CONTENT, "{name}");
        assert!(path.ends_with("snapshots/abc1234/model.safetensors"), "{name}: {}", path.display());
        assert!(home.folder.path().join("hub/models--owner--net/blobs").join(sha256_hex(CONTENT)).is_file());
        home.check(name);
        // And the same names beside the wrong bytes.
        let (home, headers) = (Home::new(), format!("ETag: \"{name}\"\r\nX-Repo-Commit: {name}\r\n"));
        let server = Server::start(move |stream, _| whole(stream, &headers, &[b'z'; CONTENT.len()]));
        let error = fetch(ID, &file(), &home.config(&server), &Silent).unwrap_err();
        assert!(matches!(error, ModelError::HashMismatch { .. }), "{name}: {error}");
        home.check(name);
        assert_eq!(files(&home.folder.path().join("hub")), [], "{name}: wrong bytes are left");
    }
}

/// The Hub itself redirects to another host for the bytes; that host gets no token, the Hub's own address does.
#[test]
fn the_token_goes_to_no_other_host() {
    for first_within_the_hub in [false, true] {
        let other = Server::start(|stream, _| whole(stream, "", CONTENT));
        let to = format!("Location: http://localhost:{}/f\r\n", other.port);
        let step = Mutex::new(first_within_the_hub);
        let hub = Server::start(move |stream, _| {
            if std::mem::take(&mut *step.lock().unwrap()) {
                return redirect(stream, "Location: /elsewhere\r\n");
            }
            redirect(stream, &to)
        });
        let home = Home::new();
        let path = fetch(ID, &file(), &home.config(&hub), &Silent).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), CONTENT);
        let bearer = Some(format!("Bearer {TOKEN}"));
        assert!(hub.requests().iter().all(|request| request.authorization == bearer));
        assert_eq!(hub.requests().len(), 1 + usize::from(first_within_the_hub));
        assert_eq!(other.requests().len(), 1);
        assert!(other.requests().iter().all(|request| request.authorization.is_none()), "the token was sent");
        home.check("another host");
    }
}

#[test]
fn redirects_end() {
    check("a loop", "redirects more than 5 times", |stream, _| redirect(stream, "Location: /loop\r\n"));
    check("no location", "redirects to nowhere", |stream, _| redirect(stream, ""));
    check("not text", "redirects to nowhere", |stream, _| {
        stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /\xff\xfe\r\nContent-Length: 0\r\n\r\n")
    });
    for location in ["", "*", "#x", "x/y", "file:///etc/passwd", "gopher://127.0.0.1:1/x", "http://"] {
        let headers = format!("Location: {location}\r\n");
        check(location, "redirects to", move |stream, _| redirect(stream, &headers));
    }
    for status in [300, 304, 305] {
        let head = format!("HTTP/1.1 {status} Some\r\nETag: \"x\"\r\nContent-Length: 0\r\n\r\n");
        check(&head.clone(), &status.to_string(), move |stream, _| stream.write_all(head.as_bytes()));
    }
}

#[test]
fn another_size_than_the_registered_one_is_refused() {
    for (what, announced, sent) in [
        ("less than registered", 10, 10),
        ("more than registered", 5000, 5000),
        ("nothing", 0, 0),
        ("announced, but not sent", CONTENT.len(), 10),
    ] {
        let words = if announced == CONTENT.len() { "could not be downloaded" } else { "announces" };
        check(what, words, move |stream, _| {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n")?;
            stream.write_all(&vec![b'z'; sent])
        });
    }
    for length in ["-1", "18446744073709551616", "many"] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        check(length, "", move |stream, _| stream.write_all(head.as_bytes()));
    }
    let ranges = ["bytes 999-1098/56", "bytes 0-55/99", "bytes 0-55/18446744073709551616", "bytes */56", "x"];
    for range in ranges {
        let head = format!("HTTP/1.1 206 Some\r\nContent-Range: {range}\r\nContent-Length: 56\r\n\r\n");
        check(range, "sends the range", move |stream, _| {
            stream.write_all(head.as_bytes())?;
            stream.write_all(CONTENT)
        });
    }
}

/// No length is announced, and it does not end.
#[test]
fn an_endless_body_is_cut_off() {
    check("endless", "more than the registered 56 bytes", |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&[b'z'; 1 << 16])?;
        }
    });
    check("endless chunks", "more than the registered 56 bytes", |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            stream.write_all(b"10\r\nzzzzzzzzzzzzzzzz\r\n")?;
        }
    });
}

/// A few bytes that would become very many.
#[test]
fn nothing_is_decompressed() {
    for encoding in ["gzip", "br", "deflate", "zstd"] {
        let headers = format!("Content-Encoding: {encoding}\r\n");
        check(encoding, "compressed", move |stream, _| whole(stream, &headers, CONTENT));
    }
}

#[test]
fn a_server_that_sends_nothing_or_next_to_nothing_is_given_up() {
    check("silent", "next to nothing", |_, _| {
        thread::sleep(LIMIT);
        Ok(())
    });
    let drip = |stream: &mut TcpStream, bytes: &[u8]| {
        for byte in bytes {
            stream.write_all(&[*byte])?;
            thread::sleep(Duration::from_millis(300));
        }
        Ok(())
    };
    check("a dripping header", "next to nothing", move |stream, _| {
        drip(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 56\r\nConnection: close\r\n\r\n")
    });
    check("a dripping body", "next to nothing", move |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 56\r\nConnection: close\r\n\r\n")?;
        drip(stream, CONTENT)
    });
    check("a body that stops", "next to nothing", |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 56\r\nConnection: close\r\n\r\nthe")?;
        thread::sleep(LIMIT);
        Ok(())
    });
}

#[test]
fn headers_without_end_and_what_is_no_http_are_refused() {
    check("many headers", "", |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        for i in 0..100_000 {
            write!(stream, "X-{i}: y\r\n")?;
        }
        stream.write_all(b"\r\n")
    });
    check("a long header", "", |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
        loop {
            stream.write_all(&[b'y'; 1 << 16])?;
        }
    });
    check("junk", "", |stream, _| {
        stream.write_all(
            &(0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>(),
        )
    });
    check("hung up", "could not be downloaded", |_, _| Ok(()));
}

/// A server that does not go on where the last transfer stopped, but begins anew, is taken at its word.
#[test]
fn a_server_without_ranges_begins_anew() {
    let first = Mutex::new(true);
    let server = Server::start(move |stream, _| {
        if std::mem::take(&mut *first.lock().unwrap()) {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 56\r\nConnection: close\r\n\r\n")?;
            return stream.write_all(&CONTENT[..20]);
        }
        whole(stream, "", CONTENT)
    });
    let home = Home::new();
    let path = fetch(ID, &file(), &home.config(&server), &Silent).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), CONTENT);
    let ranges: Vec<_> = server.requests().into_iter().map(|request| request.range).collect();
    assert_eq!(ranges, [None, Some("bytes=20-".into())]);
}
