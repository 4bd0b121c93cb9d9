//! The terminal's progress as the libraries' progress traits: they report, only this crate prints.

use simplenet_model::weights::DownloadProgress;
use simplenet_train::Reporter;

use crate::progress::TerminalProgress;

impl Reporter for TerminalProgress {
    fn start(&self, what: &str, total: u64) {
        TerminalProgress::start(self, what, total);
    }

    fn advance(&self, n: u64) {
        TerminalProgress::advance(self, n);
    }

    fn finish(&self) {
        TerminalProgress::finish(self);
    }

    fn note(&self, text: &str) {
        TerminalProgress::note(self, text);
    }

    fn warn(&self, text: &str) {
        TerminalProgress::warn(self, text);
    }
}

impl DownloadProgress for TerminalProgress {
    fn start(&self, file: &str, total: u64, present: u64) {
        TerminalProgress::note(self, &format!("downloading {file} ({:.1} MB)", total as f64 / 1e6));
        TerminalProgress::start_bytes(self, "downloading", total, present);
    }

    fn advance(&self, bytes: u64) {
        TerminalProgress::advance(self, bytes);
    }

    fn finish(&self) {
        TerminalProgress::finish(self);
    }
}
