//! TensorBoard event files: curves of a training, one point a step.
//!
//! In: the numbers of each step. Out: `events.out.tfevents.…` in a folder, which `tensorboard --logdir` reads while it grows.
//! The format is TFRecord (length, masked CRC-32C of the length, bytes, masked CRC-32C of the bytes) around protocol buffers
//! of TensorFlow's `event.proto` and `summary.proto`, of which a few fields are needed. Each step is one write, so that a
//! killed run leaves whole records.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message;
use simplenet_train::reporter::StepScalars;

use super::OutputError;

/// The content of the first record.
const VERSION: &str = "brain.Event:2";
/// TFRecord's mask of a checksum: rotated right by 15, and this added.
const MASK_DELTA: u32 = 0xa282_ead8;
/// `SessionLog.START`.
const START: i32 = 1;

/// `Event` of event.proto.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, optional, tag = "1")]
    wall_time: Option<f64>,
    #[prost(int64, optional, tag = "2")]
    step: Option<i64>,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `Summary.Value` of summary.proto.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, optional, tag = "1")]
    tag: Option<String>,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, optional, tag = "1")]
    status: Option<i32>,
}

/// An event file being written.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    path: PathBuf,
    begun: bool,
}

impl EventFile {
    /// A new file in `folder`, which is made if it is missing. Files of earlier runs stay beside it: TensorBoard shows those
    /// of one folder as one run.
    ///
    /// # Errors
    /// A folder or file that cannot be written.
    pub fn create(folder: &Path) -> Result<Self, OutputError> {
        std::fs::create_dir_all(folder).map_err(OutputError::io("create the folder", folder))?;
        let seconds = now().as_secs();
        // The names' order is the files' order; two runs may begin within a second.
        let (file, path) = (0..)
            .map(|n| {
                folder.join(format!("events.out.tfevents.{seconds:010}.simplenet.{}.{n}", std::process::id()))
            })
            .find_map(|path| match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
                opened => {
                    Some(opened.map(|file| (file, path.clone())).map_err(OutputError::io("write", &path)))
                }
            })
            .unwrap_or_else(|| Err(OutputError::NotAFileName { path: folder.to_path_buf() }))?;
        let mut events = Self { file, path, begun: false };
        events.push(Event { file_version: Some(VERSION.into()), ..Event::default() })?;
        Ok(events)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The numbers of a step.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_step(&mut self, step: &StepScalars) -> Result<(), OutputError> {
        let at = Event { step: Some(step.step as i64), ..Event::default() };
        if !self.begun {
            // Steps that an interrupted run has taken beyond the state that this one goes on from are dropped by it.
            self.begun = true;
            self.push(Event { session_log: Some(SessionLog { status: Some(START) }), ..at.clone() })?;
        }
        let scalars = [
            ("training/loss", step.loss),
            ("training/p_true", step.p_true),
            ("training/p_fake", step.p_fake),
            ("rate/adaptor", step.adaptor_rate),
            ("rate/discriminator", step.discriminator_rate),
        ];
        let value = scalars
            .map(|(tag, value)| Value { tag: Some(tag.into()), simple_value: Some(value as f32) })
            .into();
        self.push(Event { summary: Some(Summary { value }), ..at })
    }

    fn push(&mut self, event: Event) -> Result<(), OutputError> {
        let event = Event { wall_time: Some(now().as_secs_f64()), ..event };
        self.file.write_all(&record(&event.encode_to_vec())).map_err(OutputError::io("write", &self.path))
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// One TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(data.len() + 16);
    bytes.extend(length);
    bytes.extend(masked_crc(&length).to_le_bytes());
    bytes.extend(data);
    bytes.extend(masked_crc(data).to_le_bytes());
    bytes
}

fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK_DELTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of a file, with every checksum checked bit by bit.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        fn crc(data: &[u8]) -> u32 {
            let mut crc = !0u32;
            for &byte in data {
                crc ^= u32::from(byte);
                for _ in 0..8 {
                    crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
                }
            }
            let crc = !crc;
            crc.rotate_right(15).wrapping_add(0xa282_ead8)
        }
        let mut found = vec![];
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(u32::from_le_bytes(bytes[8..12].try_into().unwrap()), crc(&bytes[..8]));
            let data = &bytes[12..12 + length];
            assert_eq!(u32::from_le_bytes(bytes[12 + length..16 + length].try_into().unwrap()), crc(data));
            found.push(data.to_vec());
            bytes = &bytes[16 + length..];
        }
        found
    }

    #[test]
    fn records_are_framed_and_steps_are_what_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("made/on/demand");
        let step = |step: usize| StepScalars {
            step,
            loss: 0.75,
            p_true: 0.5,
            p_fake: 0.25,
            adaptor_rate: 1e-3,
            discriminator_rate: 2e-3,
        };
        let mut events = EventFile::create(&folder).unwrap();
        for number in [300, 301] {
            events.write_step(&step(number)).unwrap();
        }
        let found = records(&std::fs::read(events.path()).unwrap());
        // Field 1 of each is the time of day: one byte and a double.
        let after_time = |i: usize| &found[i][9..];
        assert_eq!(found.len(), 4, "version, start, two steps");
        assert_eq!(after_time(0), [&[0x1a, 13][..], b"brain.Event:2"].concat());
        // 300 = 0b10_0101100
        assert_eq!(after_time(1), [0x10, 0xac, 0x02, 0x3a, 2, 0x08, 1]);
        let first = [&[0x0a, 20, 0x0a, 13][..], b"training/loss", &[0x15], &0.75f32.to_le_bytes()].concat();
        let body = after_time(2);
        assert_eq!(&body[..3], [0x10, 0xac, 0x02]);
        assert_eq!((body[3], usize::from(body[4])), (0x2a, body.len() - 5));
        assert_eq!(body[5..5 + first.len()], first);
        for (tag, value) in [
            ("training/p_true", 0.5f32),
            ("training/p_fake", 0.25),
            ("rate/adaptor", 1e-3),
            ("rate/discriminator", 2e-3),
        ] {
            let entry = [&[tag.len() as u8][..], tag.as_bytes(), &[0x15], &value.to_le_bytes()].concat();
            assert!(body.windows(entry.len()).any(|window| window == entry), "{tag}");
        }
        assert_eq!(after_time(3)[..3], [0x10, 0xad, 0x02]);
        // A second run in the same folder has a file of its own, which comes after it by name.
        let second = EventFile::create(&folder).unwrap();
        assert!(second.path() > events.path());
    }
}
