//! One pickle at the head of a byte slice, read by candle's stack machine under limits. In: bytes. Out: the object and
//! what is left of the bytes.

use candle_core::{
    DType,
    pickle::{Object, Stack},
};

use crate::error::sentence;

/// Deepest nesting that is accepted; a checkpoint has about ten levels.
const MAX_DEPTH: usize = 200;
/// Sum over all steps of the nodes of the newest object. A network of a thousand tensors needs about two million;
/// a pickle that doubles an object again and again passes it before it fills the memory.
const MAX_NODES: usize = 5_000_000;
const BIN_UNICODE: u8 = b'X';
const LONG1: u8 = 0x8a;

/// Reads one pickle from the head of `rest` and moves `rest` behind it.
pub(super) fn read(rest: &mut &[u8]) -> Result<Object, String> {
    let mut stack = Stack::empty();
    let mut nodes = 0;
    loop {
        // candle's reader would reserve whatever length the file states, and shift beyond 64 bits.
        match **rest {
            [BIN_UNICODE, a, b, c, d, ref text @ ..]
                if text.len() < u32::from_le_bytes([a, b, c, d]) as usize =>
            {
                return Err("it ends in the middle of a name".into());
            }
            [LONG1, bytes, ..] if bytes > 8 => return Err("an integer of more than 64 bits".into()),
            [] => return Err("its table of contents is cut short".into()),
            _ => {}
        }
        let done = stack.read(rest).map_err(|e| sentence(&e))?;
        if done {
            return stack.finalize().map_err(|e| sentence(&e));
        }
        if let Some(newest) = stack.stack().last() {
            nodes += measure(newest)?;
            if nodes > MAX_NODES {
                return Err("its table of contents is too large".into());
            }
        }
    }
}

/// Number of nodes in an object; an error if it is nested too deeply.
fn measure(object: &Object) -> Result<usize, String> {
    let mut nodes = 0;
    let mut open = vec![(object, 0)];
    while let Some((object, depth)) = open.pop() {
        nodes += 1;
        if depth > MAX_DEPTH || nodes > MAX_NODES {
            return Err("its table of contents is nested too deeply or too large".into());
        }
        children(object, |child| open.push((child, depth + 1)));
    }
    Ok(nodes)
}

fn children<'a>(object: &'a Object, mut visit: impl FnMut(&'a Object)) {
    match object {
        Object::Tuple(items) | Object::List(items) => items.iter().for_each(visit),
        Object::Dict(entries) => entries.iter().for_each(|(key, value)| {
            visit(key);
            visit(value);
        }),
        Object::Reduce { callable, args } | Object::Build { callable, args } => {
            visit(callable);
            visit(args);
        }
        Object::PersistentLoad(id) => visit(id),
        _ => {}
    }
}

/// Key and element type of a storage: ("storage", class, key, device, elements, …).
pub(super) fn storage_reference(object: &Object) -> Option<(&str, Result<DType, String>)> {
    let Object::PersistentLoad(id) = object else { return None };
    let Object::Tuple(id) = id.as_ref() else { return None };
    match id.as_slice() {
        [_, Object::Class { class_name, .. }, Object::Unicode(key), ..] => {
            Some((key, super::storage_type(class_name)))
        }
        _ => None,
    }
}

/// Every storage that an object refers to.
pub(super) fn storage_references(object: &Object) -> Vec<(&str, Result<DType, String>)> {
    let mut found = Vec::new();
    let mut open = vec![object];
    while let Some(object) = open.pop() {
        found.extend(storage_reference(object));
        children(object, |child| open.push(child));
    }
    found
}
