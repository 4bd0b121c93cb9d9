//! `pictures.jsonl`: the report's pictures of a result, one line a line of predictions.jsonl.
//!
//! In: [`Layers`] as the photographs are inspected, when they are at hand anyway. Out: a file that appears whole or not
//! at all (or one without a name, where only this run needs it), and its lines again, one at a time: a report of thousands of
//! photographs never holds more than one.

use super::OutputError;
use super::atomic::AtomicFile;
use super::layers::Layers;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file's name.
pub const PICTURES_FILE: &str = "pictures.jsonl";

/// Writes the pictures of a result.
#[derive(Debug)]
pub struct LayersWriter {
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Kept(AtomicFile),
    Passing(BufWriter<File>, PathBuf),
}

impl LayersWriter {
    /// A file that is kept, in a result's folder.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(folder: &Path) -> Result<Self, OutputError> {
        Ok(Self { sink: Sink::Kept(AtomicFile::create(&folder.join(PICTURES_FILE))?) })
    }

    /// A file without a name in this folder, which goes with what [`Self::passing`] gives.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn unnamed(folder: &Path) -> Result<Self, OutputError> {
        let file = tempfile::tempfile_in(folder).map_err(OutputError::io("write a file in", folder))?;
        Ok(Self { sink: Sink::Passing(BufWriter::new(file), folder.to_path_buf()) })
    }

    /// Appends the line of a photograph, from [`Layers::to_json`]; `None` for one without pictures.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn push(&mut self, line: Option<&str>) -> Result<(), OutputError> {
        for part in [line.unwrap_or("{}"), "\n"] {
            match &mut self.sink {
                Sink::Kept(file) => file.write(part.as_bytes())?,
                Sink::Passing(file, folder) => {
                    file.write_all(part.as_bytes()).map_err(OutputError::io("write a file in", folder))?;
                }
            }
        }
        Ok(())
    }

    /// Gives a kept file its name; what passes is gone.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn finish(self) -> Result<(), OutputError> {
        match self.sink {
            Sink::Kept(file) => file.commit(),
            Sink::Passing(..) => Ok(()),
        }
    }

    /// What was written to a file without a name; `None` of one that is kept.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn passing(self) -> Result<Option<LayersReader>, OutputError> {
        match self.sink {
            Sink::Kept(_) => Ok(None),
            Sink::Passing(file, folder) => {
                let file = file
                    .into_inner()
                    .map_err(|e| OutputError::io("write a file in", &folder)(e.into_error()))?;
                LayersReader::index(file, folder).map(Some)
            }
        }
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

    fn index(mut file: File, path: PathBuf) -> Result<Self, OutputError> {
        let read = |file: &mut File| -> std::io::Result<Vec<u64>> {
            file.seek(SeekFrom::Start(0))?;
            let mut file = BufReader::with_capacity(1 << 16, file);
            let (mut starts, mut at) = (vec![0], 0);
            loop {
                let length = file.skip_until(b'\n')?;
                if length == 0 {
                    return Ok(starts);
                }
                at += length as u64;
                starts.push(at);
            }
        };
        let starts = read(&mut file).map_err(OutputError::io("read", &path))?;
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

    #[test]
    fn lines_come_back_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        for kept in [true, false] {
            let mut writer = match kept {
                true => LayersWriter::create(dir.path()).unwrap(),
                false => LayersWriter::unnamed(dir.path()).unwrap(),
            };
            for line in [Some(layers("one")), None, Some(layers("three"))] {
                writer.push(line.map(|l| l.to_json().unwrap()).as_deref()).unwrap();
            }
            let mut reader = match kept {
                true => {
                    writer.finish().unwrap();
                    LayersReader::open(dir.path()).unwrap().unwrap()
                }
                false => writer.passing().unwrap().unwrap(),
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
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [PICTURES_FILE], "a file without a name leaves nothing");
        let other = tempfile::tempdir().unwrap();
        assert!(LayersReader::open(other.path()).unwrap().is_none());
    }
}
