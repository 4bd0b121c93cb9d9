//! `predictions.jsonl`: one line for each photograph, in input order.
//!
//! In: records as they are made. Out: the file, which grows by a whole line at a time: whatever ends the run, all lines
//! before are there. It is the exception from "whole or not at all" ([`super::atomic`]): [`super::run_folder`] says whether
//! it is complete. A last line that was torn is cut off when a run goes on.

use super::OutputError;
use super::atomic::{parent_folder, sync_folder};
use super::error::is_disk_full;
use super::prediction::PredictionLine;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Writes a predictions file; memory does not grow with the number of lines. No second writer of the same file is let in.
#[derive(Debug)]
pub struct PredictionWriter {
    file: File,
    path: PathBuf,
    /// Bytes of whole lines.
    length: u64,
    /// Space that is kept on the disk for lines, given free when the disk is full.
    reserve: Option<File>,
}

impl PredictionWriter {
    /// Opens the file, as it is, and locks it; the folder is created when it is missing.
    ///
    /// # Errors
    /// A file that cannot be written, or that another run is writing.
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        let folder = parent_folder(path);
        std::fs::create_dir_all(folder).map_err(OutputError::io("create the folder", folder))?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(OutputError::io("write", path))?;
        // Elsewhere locks would keep readers out too.
        #[cfg(unix)]
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(OutputError::InUse { path: path.to_path_buf() });
        }
        Ok(Self { file, path: path.to_path_buf(), length: 0, reserve: None })
    }

    /// Begins anew: the file is empty.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn restart(&mut self) -> Result<(), OutputError> {
        self.cut(0).map_err(OutputError::io("write", &self.path))
    }

    /// Goes on behind the lines that are there, and gives them. What is behind the last line end is cut off.
    ///
    /// # Errors
    /// A line that is no prediction; a file that cannot be read or written.
    pub fn go_on(&mut self) -> Result<Vec<PredictionLine>, OutputError> {
        let mut bytes = vec![];
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_to_end(&mut bytes));
        read.map_err(OutputError::io("read", &self.path))?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let lines = parse(&String::from_utf8_lossy(&bytes[..whole]), &self.path)?;
        self.cut(whole as u64).map_err(OutputError::io("write", &self.path))?;
        Ok(lines)
    }

    /// Keeps space for about so many lines: on a full disk, verdicts are still written when nothing else can be.
    pub fn reserve(&mut self, lines: usize) {
        let bytes = lines.saturating_mul(BYTES_PER_LINE).clamp(LEAST_RESERVE, MOST_RESERVE);
        let kept = tempfile::tempfile_in(parent_folder(&self.path)).and_then(|mut file| {
            file.write_all(&vec![0x20; bytes])?;
            Ok(file)
        });
        // Where there is no space for it, there is none to keep.
        self.reserve = kept.ok();
    }

    /// Appends one line, whole: where that fails, nothing of it is left.
    ///
    /// # Errors
    /// A score that is not finite; a disk that is full, also after the reserve.
    pub fn push(&mut self, line: &PredictionLine) -> Result<(), OutputError> {
        let mut json = line.to_json()?;
        json.push('\n');
        let mut written = self.append(json.as_bytes());
        if written.as_ref().is_err_and(is_disk_full) && self.reserve.take().is_some() {
            written = self.append(json.as_bytes());
        }
        written.map_err(OutputError::io("write", &self.path))
    }

    /// Gives the reserve free and syncs. The lock goes with the writer.
    ///
    /// # Errors
    /// A file that cannot be synced.
    pub fn finish(&mut self) -> Result<(), OutputError> {
        self.reserve = None;
        self.file.sync_all().map_err(OutputError::io("sync", &self.path))?;
        sync_folder(parent_folder(&self.path));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let written = self.file.write_all(bytes);
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            Err(_) => self.cut(self.length)?,
        }
        written
    }

    fn cut(&mut self, length: u64) -> std::io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length))?;
        self.length = length;
        Ok(())
    }
}

/// What a line comes to, generously.
const BYTES_PER_LINE: usize = 1 << 10;
/// The least space that is kept.
const LEAST_RESERVE: usize = 64 << 10;
/// The most.
const MOST_RESERVE: usize = 16 << 20;

/// Read a predictions file; empty lines are skipped. An error names the line.
pub fn read_predictions(path: &Path) -> Result<Vec<PredictionLine>, OutputError> {
    parse(&std::fs::read_to_string(path).map_err(OutputError::io("read", path))?, path)
}

fn parse(text: &str, path: &Path) -> Result<Vec<PredictionLine>, OutputError> {
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
        let mut writer = PredictionWriter::open(&path).unwrap();
        writer.reserve(lines.len());
        for (count, line) in lines.iter().enumerate() {
            assert_eq!(read_predictions(&path).unwrap(), lines[..count], "each is there at once");
            writer.push(line).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(read_predictions(&path).unwrap(), lines);
    }

    #[test]
    fn a_run_goes_on_behind_the_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.jsonl");
        let lines = ["a.png", "b.png", "c.png"].map(error_line);
        let mut writer = PredictionWriter::open(&path).unwrap();
        lines.iter().for_each(|line| writer.push(line).unwrap());
        drop(writer);
        let whole = std::fs::read(&path).unwrap();
        let second = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut writer = PredictionWriter::open(&path).unwrap();
            let before = writer.go_on().unwrap();
            assert_eq!(before, lines[..before.len()], "{length} bytes were left");
            assert_eq!(before.is_empty(), length < second, "{length} bytes were left");
            lines[before.len()..].iter().for_each(|line| writer.push(line).unwrap());
            writer.finish().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole, "{length} bytes were left");
        }
        let mut writer = PredictionWriter::open(&path).unwrap();
        writer.restart().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[cfg(unix)]
    #[test]
    fn two_runs_do_not_write_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.jsonl");
        let first = PredictionWriter::open(&path).unwrap();
        let error = PredictionWriter::open(&path).unwrap_err();
        assert!(matches!(error, OutputError::InUse { .. }), "{error}");
        drop(first);
        PredictionWriter::open(&path).unwrap();
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
