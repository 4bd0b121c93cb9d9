//! Checkpoints of both forms, written here byte by byte, and broken in every place.

use std::{
    io::{Cursor, Write},
    path::Path,
};

use super::*;

/// A pickle of {"net": {"weight": tensor of `size` and `stride` at `offset`, "epoch": 3}}.
fn pickle_of(size: &[u8], stride: &[u8], offset: u8, elements: u8) -> Vec<u8> {
    let text = |s: &str| [&b"X"[..], &(s.len() as u32).to_le_bytes(), s.as_bytes()].concat();
    let small = |v: u8| vec![b'K', v];
    let tuple = |items: Vec<Vec<u8>>| [vec![b'('], items.concat(), vec![b't']].concat();
    let ints = |values: &[u8]| tuple(values.iter().map(|v| small(*v)).collect());
    let class = |module: &str, name: &str| format!("c{module}\n{name}\n").into_bytes();
    let storage = [
        tuple(vec![
            text("storage"),
            class("torch", "FloatStorage"),
            text("0"),
            text("cpu"),
            small(elements),
            b"N".to_vec(),
        ]),
        b"Q".to_vec(),
    ]
    .concat();
    let tensor = [
        class("torch._utils", "_rebuild_tensor_v2"),
        tuple(vec![storage, small(offset), ints(size), ints(stride), vec![0x89], b"}".to_vec()]),
        b"R".to_vec(),
    ]
    .concat();
    let inner = [b"}(".to_vec(), text("weight"), tensor, text("epoch"), small(3), b"u".to_vec()].concat();
    [vec![0x80, 2], b"}(".to_vec(), text("net"), inner, b"u.".to_vec()].concat()
}

fn data() -> Vec<u8> {
    (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect()
}

fn plain(pickle: &[u8]) -> Vec<u8> {
    let machine = [&[0x80, 2][..], b"}(X\x0d\x00\x00\x00little_endian\x88u."].concat();
    let magic = [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];
    let version = [0x80, 2, b'M', 0xe9, 3, b'.'];
    let keys = b"\x80\x02](X\x01\x00\x00\x000e.";
    [&magic[..], &version, &machine, pickle, keys, &6u64.to_le_bytes(), &data()].concat()
}

fn zipped(pickle: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("ckpt/data.pkl", pickle), ("ckpt/data/0", &data())] {
        writer.start_file(name, stored).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn read(bytes: &[u8]) -> Result<Vec<f32>, String> {
    let tensors = read_tensors(bytes, Path::new("x.pth"), |_| true).map_err(|e| e.to_string())?;
    let tensor = tensors.get("net.weight").ok_or("no net.weight")?;
    Ok(tensor.flatten_all().unwrap().to_vec1().unwrap())
}

#[test]
fn both_forms_give_the_tensors_with_their_strides_and_offsets() {
    for form in [plain, zipped] {
        for (size, stride, offset, expected) in [
            (&[2, 3][..], &[3, 1][..], 0, vec![0., 1., 2., 3., 4., 5.]),
            (&[3, 2], &[1, 3], 0, vec![0., 3., 1., 4., 2., 5.]),
            (&[2], &[1], 4, vec![4., 5.]),
            (&[], &[], 5, vec![5.]),
        ] {
            assert_eq!(read(&form(&pickle_of(size, stride, offset, 6))), Ok(expected));
        }
    }
}

#[test]
fn a_tensor_that_reaches_beyond_its_storage_is_refused() {
    for form in [plain, zipped] {
        for (size, stride, offset) in
            [(&[7][..], &[1][..], 0), (&[2, 3], &[3, 1], 1), (&[200, 200], &[0, 0], 0), (&[2], &[255], 0)]
        {
            let message = read(&form(&pickle_of(size, stride, offset, 6))).unwrap_err();
            assert!(message.contains("net.weight") && message.contains("does not fit"), "{message}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_with_the_file_name() {
    for form in [plain, zipped] {
        let whole = form(&pickle_of(&[2, 3], &[3, 1], 0, 6));
        for end in 0..whole.len() {
            let message = read(&whole[..end]).unwrap_err();
            assert!(message.contains("x.pth"), "cut at {end}: {message}");
        }
    }
}

#[test]
fn a_flipped_byte_never_panics() {
    for form in [plain, zipped] {
        let whole = form(&pickle_of(&[2, 3], &[3, 1], 0, 6));
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[at] ^= flip;
                let _ = read(&broken);
            }
        }
    }
}

#[test]
fn nesting_and_doubling_are_refused_before_they_fill_the_stack_or_the_memory() {
    let deep = [&[0x80, 2, b')'][..], &[0x85; 100_000], b"."].concat();
    // Put the newest object in the memo, fetch it, pair the two: twice as large each time.
    let doubling = [&[0x80, 2, b')'][..], &b"q\x00h\x00\x86".repeat(60), b"."].concat();
    for pickle in [deep, doubling] {
        for form in [plain, zipped] {
            let message = read(&form(&pickle)).unwrap_err();
            assert!(message.contains("too"), "{message}");
        }
    }
}
