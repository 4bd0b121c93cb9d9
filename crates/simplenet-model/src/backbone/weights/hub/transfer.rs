//! One request to a Hub. In: an address, how much of the file is here. Out: the rest of the file's bytes, or what kind of
//! failure it was.
//!
//! Nothing that a server answers is trusted: redirects are few and followed by hand, so that the token goes to the Hub's own
//! server only; sizes are compared with the registered one; nothing is decompressed; every wait has an end.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body, Error, Timeout,
    http::{HeaderMap, HeaderName, Response, header},
};

use super::address::Address;
use crate::error::ModelError;

/// Longest time to reach a server.
const CONNECT: Duration = Duration::from_secs(10);
/// A server that sends less than this on average, in bytes per second, is as good as silent.
const LEAST_RATE: u64 = 3 << 10;
/// Redirects from the first address to the file.
const MAX_REDIRECTS: usize = 5;
/// Most bytes of an answer's header.
const MAX_HEADER: usize = 64 << 10;
/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// How a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server answered with this HTTP status.
    Status(u16),
    /// No server could be reached.
    Unreachable(String),
    /// The transfer broke off after it had begun.
    Interrupted(String),
    /// The server answers, but not as a Hub does.
    Refused(String),
    /// The server sends nothing, or next to nothing.
    Stalled(Duration),
    /// What came could not be kept.
    Local(ModelError),
}

/// What to ask for.
pub(super) struct Question<'a> {
    /// The file's address at the Hub.
    pub(super) address: &'a Address,
    pub(super) token: Option<&'a str>,
    /// Bytes of the file that are here.
    pub(super) present: u64,
    /// Bytes of the whole file.
    pub(super) size: u64,
    /// Longest time without enough bytes.
    pub(super) stall: Duration,
}

/// The beginning of an answer.
pub(super) struct Answer {
    body: Body,
    /// Where in the file its bytes begin: at what is here, or at 0 if the server does not go on.
    pub(super) start: u64,
    size: u64,
    stall: Duration,
    /// What the Hub calls the commit.
    pub(super) commit: Option<String>,
}

/// Asks, and follows redirects to the file.
pub(super) fn ask(question: &Question) -> Result<Answer, Failure> {
    let Question { address: hub, token, present, size, stall } = *question;
    let config = Agent::config_builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_response_header_size(MAX_HEADER)
        .user_agent(concat!("simplenet/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_send_request(Some(stall))
        .timeout_recv_response(Some(stall))
        .timeout_per_read(Some(stall))
        .timeout_recv_body(Some(stall + Duration::from_secs(size / LEAST_RATE)))
        .build();
    let agent = Agent::new_with_config(config);
    let (mut address, mut commit) = (hub.clone(), None);
    for _ in 0..=MAX_REDIRECTS {
        let mut request = agent.get(address.as_str());
        if present > 0 {
            request = request.header(header::RANGE, format!("bytes={present}-"));
        }
        let own = address.is_on_the_server_of(hub);
        if let Some(token) = token.filter(|_| own) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = request.call().map_err(|error| failure(error, stall))?;
        let headers = response.headers();
        if own && commit.is_none() {
            commit = text(headers, HeaderName::from_static("x-repo-commit")).map(str::to_string);
        }
        match response.status().as_u16() {
            200 | 206 => {
                let start = checked_start(&response, present, size)?;
                return Ok(Answer { body: response.into_body(), start, size, stall, commit });
            }
            301 | 302 | 303 | 307 | 308 => {
                let location = text(headers, header::LOCATION)
                    .ok_or_else(|| Failure::Refused("it redirects to nowhere that can be read".into()))?;
                address = address.follow(location).map_err(Failure::Refused)?;
            }
            status => return Err(Failure::Status(status)),
        }
    }
    Err(Failure::Refused(format!("it redirects more than {MAX_REDIRECTS} times")))
}

impl Answer {
    /// Hands every chunk to `keep`, until the file is whole.
    pub(super) fn receive(
        self,
        mut keep: impl FnMut(&[u8]) -> Result<(), ModelError>,
    ) -> Result<(), Failure> {
        let Self { body, start, size, stall, .. } = self;
        let mut reader = body.into_reader();
        let (mut chunk, mut length) = (vec![0; CHUNK], start);
        let (mut since, mut come) = (Instant::now(), 0);
        while length < size {
            let n = reader.read(&mut chunk).map_err(|error| match failure(Error::from(error), stall) {
                Failure::Unreachable(why) => Failure::Interrupted(why),
                other => other,
            })?;
            if n == 0 {
                return Err(Failure::Interrupted(format!("it broke off after {length} of {size} bytes")));
            }
            length += n as u64;
            if length > size {
                return Err(Failure::Refused(format!("it sends more than the registered {size} bytes")));
            }
            keep(&chunk[..n]).map_err(Failure::Local)?;
            come += n as u64;
            if since.elapsed() >= stall {
                if come < LEAST_RATE * stall.as_secs().max(1) {
                    return Err(Failure::Stalled(stall));
                }
                (since, come) = (Instant::now(), 0);
            }
        }
        Ok(())
    }
}

/// Where in the file an answer's bytes begin, if it is the registered file that it announces.
fn checked_start(response: &Response<Body>, present: u64, size: u64) -> Result<u64, Failure> {
    let headers = response.headers();
    let refused = |what: String| Err(Failure::Refused(what));
    if let Some(encoding) = text(headers, header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return refused(format!("it sends the file compressed ({encoding:?}), which was not asked for"));
    }
    let start = if response.status() == 206 {
        let range = text(headers, header::CONTENT_RANGE).unwrap_or_default();
        let parts = range.strip_prefix("bytes ").and_then(|range| range.split_once('/'));
        let start =
            parts.and_then(|(range, _)| range.split_once('-')).and_then(|(start, _)| start.parse().ok());
        let total = parts.and_then(|(_, total)| total.parse().ok());
        if (start, total) != (Some(present), Some(size)) {
            return refused(format!(
                "it sends the range {range:?} instead of what comes after byte {present} of the registered {size}"
            ));
        }
        present
    } else {
        0
    };
    let length = text(headers, header::CONTENT_LENGTH).map(|length| length.parse::<u64>().ok());
    match length {
        Some(Some(length)) if length != size - start => refused(format!(
            "it announces {length} bytes where {} of the registered {size} are due",
            size - start
        )),
        Some(None) => refused("it announces a length that is no number".into()),
        _ => Ok(start),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn failure(error: Error, stall: Duration) -> Failure {
    match error {
        Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            Failure::Unreachable(format!("no connection within {} s", CONNECT.as_secs()))
        }
        Error::Timeout(_) => Failure::Stalled(stall),
        Error::Protocol(_) | Error::LargeResponseHeader(..) | Error::Http(_) | Error::BadUri(_) => {
            Failure::Refused(error.to_string())
        }
        Error::Io(io) if io.kind() == std::io::ErrorKind::TimedOut => Failure::Stalled(stall),
        Error::Io(io) => Failure::Unreachable(io.to_string()),
        other => Failure::Unreachable(other.to_string()),
    }
}
