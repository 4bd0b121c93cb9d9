//! `predictions.jsonl`: one JSON object a line, written as the predictions come and read back whole.
//!
//! In: [`PredictionLine`]s. Out: a file that appears only when it is complete; and, for reports and resumed runs, its
//! lines again.

use super::OutputError;
use super::atomic::AtomicFile;
use super::prediction::PredictionLine;
use std::path::Path;

/// Writes a predictions file; memory does not grow with the number of lines.
#[derive(Debug)]
pub struct PredictionWriter {
    file: AtomicFile,
}

impl PredictionWriter {
    /// Begin the file; nothing is visible under `path` before [`finish`](Self::finish).
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        Ok(Self { file: AtomicFile::create(path)? })
    }

    /// Append one line.
    pub fn push(&mut self, line: &PredictionLine) -> Result<(), OutputError> {
        let mut json = line.to_json()?;
        json.push('\n');
        self.file.write(json.as_bytes())
    }

    /// Sync and publish the file.
    pub fn finish(self) -> Result<(), OutputError> {
        self.file.commit()
    }
}

/// Read a predictions file; empty lines are skipped. An error names the line.
pub fn read_predictions(path: &Path) -> Result<Vec<PredictionLine>, OutputError> {
    let text = std::fs::read_to_string(path).map_err(OutputError::io("read", path))?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|source| OutputError::Json {
                path: path.to_path_buf(),
                line: index + 1,
                source,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::prediction::{JsonPath, PredictionError};

    fn error_line(name: &str) -> PredictionLine {
        PredictionLine::Error(PredictionError {
            path: JsonPath::new(Path::new(name)),
            error: "not a picture\nat all".into(),
        })
    }

    #[test]
    fn lines_come_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out/predictions.jsonl");
        let lines = [error_line("a.png"), error_line("b.png")];
        let mut writer = PredictionWriter::create(&path).unwrap();
        for line in &lines {
            writer.push(line).unwrap();
        }
        assert!(!path.exists(), "no half file");
        writer.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(read_predictions(&path).unwrap(), lines);
    }

    #[test]
    fn a_broken_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.jsonl");
        std::fs::write(&path, "{\"path\":\"a\",\"error\":\"x\"}\n\n{\"path\":\"b\"\n").unwrap();
        let message = read_predictions(&path).unwrap_err().to_string();
        assert!(message.contains("p.jsonl, line 3"), "{message}");
        assert!(read_predictions(&dir.path().join("none")).unwrap_err().to_string().contains("cannot read"));
    }
}
