//! `pictures.jsonl`: the report's pictures of a result, one line a line of predictions.jsonl.
//!
//! In: [`Layers`] as the photographs are inspected, when they are at hand anyway. Out: a file that grows by a line with each
//! (so that a run that goes on has those of the photographs before), and its lines again, one at a time: a report of
//! thousands of photographs never holds more than one.

use super::OutputError;
use super::layers::Layers;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file's name.
pub const PICTURES_FILE: &str = "pictures.jsonl";

/// A line without pictures.
const NONE: &str = "{}\n";

/// Writes the pictures of a result.
#[derive(Debug)]
pub struct LayersWriter {
    file: File,
    path: PathBuf,
}

impl LayersWriter {
    /// The file of a result in `folder`, behind the pictures of its first `lines` photographs, where an earlier run has left
    /// them: those of others are cut off, missing ones are none.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn open(folder: &Path, lines: usize) -> Result<Self, OutputError> {
        let path = folder.join(PICTURES_FILE);
        let open = || -> std::io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            let starts = line_starts(&file)?;
            // The last one may be torn.
            let whole = starts.len() - 1;
            let kept = whole.min(lines);
            let length = starts.get(kept).copied().unwrap_or_default();
            file.set_len(length)?;
            (&file).seek(SeekFrom::Start(length))?;
            (kept..lines).try_for_each(|_| (&file).write_all(NONE.as_bytes()))?;
            Ok(file)
        };
        let file = open().map_err(OutputError::io("write", &path))?;
        Ok(Self { file, path })
    }

    /// Appends the line of a photograph, from [`Layers::to_json`]; `None` for one without pictures.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn push(&mut self, line: Option<&str>) -> Result<(), OutputError> {
        let line = line.map_or(NONE.to_string(), |line| format!("{line}\n"));
        self.file.write_all(line.as_bytes()).map_err(OutputError::io("write", &self.path))
    }

    /// Syncs.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn finish(self) -> Result<(), OutputError> {
        self.file.sync_all().map_err(OutputError::io("sync", &self.path))
    }

    /// What was written.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn into_reader(self) -> Result<LayersReader, OutputError> {
        LayersReader::index(self.file, self.path)
    }

    /// Removes the file.
    pub fn remove(self) {
        let Self { file, path } = self;
        drop(file);
        // What cannot be removed is only in the way.
        let _left = std::fs::remove_file(path);
    }
}

/// Where each whole line starts, and where the last one ends.
fn line_starts(mut file: &File) -> std::io::Result<Vec<u64>> {
    file.seek(SeekFrom::Start(0))?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let (mut starts, mut at, mut line) = (vec![0], 0, vec![]);
    loop {
        line.clear();
        let length = file.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(starts);
        }
        at += length as u64;
        starts.push(at);
    }
}

/// Reads pictures back, in any order.
#[derive(Debug)]
pub struct LayersReader {
    file: BufReader<File>,
    path: PathBuf,
    /// Where each line starts, and where the last one ends.
    starts: Vec<u64>,
}

impl LayersReader {
    /// The pictures of the result in `folder`; `None` when it has none.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(folder: &Path) -> Result<Option<Self>, OutputError> {
        let path = folder.join(PICTURES_FILE);
        match File::open(&path) {
            Ok(file) => Self::index(file, path).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(OutputError::io("read", &path)(e)),
        }
    }

    fn index(file: File, path: PathBuf) -> Result<Self, OutputError> {
        let starts = line_starts(&file).map_err(OutputError::io("read", &path))?;
        Ok(Self { file: BufReader::new(file), path, starts })
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes of a page the pictures of a line are; 0 where there are none.
    pub fn page_bytes(&self, line: usize) -> usize {
        match (self.starts.get(line), self.starts.get(line + 1)) {
            // A line without pictures is `{}`.
            (Some(from), Some(to)) if to - from > 3 => (to - from) as usize,
            _ => 0,
        }
    }

    /// The pictures of a line; `None` where there are none.
    ///
    /// # Errors
    /// A file that cannot be read, or holds something else.
    pub fn read(&mut self, line: usize) -> Result<Option<Layers>, OutputError> {
        if self.page_bytes(line) == 0 {
            return Ok(None);
        }
        let mut text = String::new();
        let read =
            self.file.seek(SeekFrom::Start(self.starts[line])).and_then(|_| self.file.read_line(&mut text));
        read.map_err(OutputError::io("read", &self.path))?;
        let layers = serde_json::from_str(&text);
        layers.map(Some).map_err(|source| OutputError::Json {
            path: self.path.clone(),
            line: line + 1,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(name: &str) -> Layers {
        Layers { photograph: name.into(), heat: None, truth: Some("M0 0Z".into()) }
    }

    fn push(writer: &mut LayersWriter, lines: &[Option<&str>]) {
        for line in lines {
            writer.push(line.map(|name| layers(name).to_json().unwrap()).as_deref()).unwrap();
        }
    }

    #[test]
    fn lines_come_back_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        for kept in [true, false] {
            let mut writer = LayersWriter::open(dir.path(), 0).unwrap();
            push(&mut writer, &[Some("one"), None, Some("three")]);
            let mut reader = if kept {
                writer.finish().unwrap();
                LayersReader::open(dir.path()).unwrap().unwrap()
            } else {
                writer.into_reader().unwrap()
            };
            assert_eq!(reader.len(), 3);
            for (line, want) in [
                (2, Some(layers("three"))),
                (0, Some(layers("one"))),
                (1, None),
                (2, Some(layers("three"))),
                (9, None),
            ] {
                assert_eq!(reader.read(line).unwrap(), want, "line {line}");
            }
            assert!(reader.page_bytes(0) > 20 && reader.page_bytes(1) == 0);
        }
        LayersWriter::open(dir.path(), 0).unwrap().remove();
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is left");
        assert!(LayersReader::open(dir.path()).unwrap().is_none());
    }

    #[test]
    fn a_run_goes_on_behind_the_pictures_of_its_predictions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PICTURES_FILE);
        let mut writer = LayersWriter::open(dir.path(), 0).unwrap();
        push(&mut writer, &[Some("one"), None, Some("three")]);
        drop(writer);
        let whole = std::fs::read(&path).unwrap();
        // One more than there are predictions; as many; the last one torn; the last one missing.
        for (bytes, lines) in [(whole.len(), 2), (whole.len(), 3), (whole.len() - 2, 3), (whole.len() - 2, 4)]
        {
            std::fs::write(&path, &whole[..bytes]).unwrap();
            let mut writer = LayersWriter::open(dir.path(), lines).unwrap();
            push(&mut writer, &[Some("new")]);
            let mut reader = writer.into_reader().unwrap();
            assert_eq!(reader.len(), lines + 1, "{bytes} bytes");
            assert_eq!(reader.read(0).unwrap(), Some(layers("one")), "{bytes} bytes");
            assert_eq!(reader.read(lines).unwrap(), Some(layers("new")), "{bytes} bytes");
            let third = reader.read(2).unwrap();
            assert_eq!(third == Some(layers("three")), lines == 3 && bytes == whole.len(), "{bytes} bytes");
        }
    }
}
