//! How long-running functions tell about their progress: a trait, so that libraries never print.

/// Receives progress. Only the command line prints; libraries call these.
///
/// Phases do not nest: `start` begins one, `advance` counts within it, `finish` ends it.
pub trait Reporter: Send + Sync {
    /// A phase begins: what it does, and how many steps it has.
    fn start(&self, what: &str, total: u64);
    /// `n` more steps of the phase are done.
    fn advance(&self, n: u64);
    /// The phase is over.
    fn finish(&self);
    /// Something that a person should know, one sentence.
    fn note(&self, text: &str);
}

/// Reports nothing: for tests and for programs that do not care.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, _n: u64) {}
    fn finish(&self) {}
    fn note(&self, _text: &str) {}
}
