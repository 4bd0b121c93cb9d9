//! From what a strip unpacks to, to samples as a sink takes them.

use tiff::decoder::DecodingResult;

use super::directory::COLOUR_MAP;
use super::page::{Meaning, Page};
use crate::decode::sink::{Range, Sink};

/// Puts whole rows into the sink; of planes, all of them at once. `given` samples come for each pixel.
pub(super) fn put(
    piece: DecodingResult,
    page: &Page,
    given: usize,
    sink: &mut dyn Sink,
) -> Result<(), String> {
    match piece {
        DecodingResult::U8(v) if page.packed() => put_packed(&v, page, given, sink),
        DecodingResult::U8(v) => put_u8(chosen(v, page, given), page, sink),
        DecodingResult::U16(v) => put_u16(chosen(v, page, given), page, sink),
        DecodingResult::I8(v) => put_f32(v, page, given, sink, f32::from),
        DecodingResult::I16(v) => put_f32(v, page, given, sink, f32::from),
        DecodingResult::U32(v) => put_f32(v, page, given, sink, |v| v as f32),
        DecodingResult::I32(v) => put_f32(v, page, given, sink, |v| v as f32),
        DecodingResult::U64(v) => put_f32(v, page, given, sink, |v| v as f32),
        DecodingResult::I64(v) => put_f32(v, page, given, sink, |v| v as f32),
        DecodingResult::F16(v) => put_f32(v, page, given, sink, |v| v.to_f32()),
        DecodingResult::F32(v) => put_f32(v, page, given, sink, |v| v),
        DecodingResult::F64(v) => put_f32(v, page, given, sink, |v| v as f32),
    }
}

fn put_u8(mut v: Vec<u8>, page: &Page, sink: &mut dyn Sink) -> Result<(), String> {
    match page.meaning {
        Meaning::Gray { inverted: true } => {
            v.chunks_exact_mut(page.stored.channels.count()).for_each(|pixel| pixel[0] = 255 - pixel[0]);
        }
        Meaning::Gray { .. } | Meaning::Rgb => {}
        Meaning::Palette => v = coloured(&v, page)?,
        Meaning::Cmyk => {
            v = v
                .as_chunks::<4>()
                .0
                .iter()
                .flat_map(|&inks| from_inks(inks.map(f32::from), 255.0))
                .map(|v| v as u8)
                .collect()
        }
        Meaning::YCbCr => v = v.as_chunks::<3>().0.iter().flat_map(from_luma).collect(),
    }
    sink.u8(&v);
    Ok(())
}

fn put_u16(mut v: Vec<u16>, page: &Page, sink: &mut dyn Sink) -> Result<(), String> {
    match page.meaning {
        Meaning::Gray { inverted: true } => {
            let white = match page.stored.range {
                Range::Named(white) => white as u16,
                _ => u16::MAX,
            };
            v.chunks_exact_mut(page.stored.channels.count())
                .for_each(|pixel| pixel[0] = white.saturating_sub(pixel[0]));
        }
        Meaning::Cmyk => {
            v = v
                .as_chunks::<4>()
                .0
                .iter()
                .flat_map(|&inks| from_inks(inks.map(f32::from), 65_535.0))
                .map(|v| v as u16)
                .collect();
        }
        _ => {}
    }
    sink.u16(&v);
    Ok(())
}

fn put_f32<T: Copy>(
    v: Vec<T>,
    page: &Page,
    given: usize,
    sink: &mut dyn Sink,
    number: impl Fn(T) -> f32,
) -> Result<(), String> {
    let v: Vec<f32> = chosen(v, page, given).into_iter().map(number).collect();
    sink.f32(&v);
    Ok(())
}

/// Rows of packed samples, the first bit first, each row from a whole byte on.
fn put_packed(bytes: &[u8], page: &Page, given: usize, sink: &mut dyn Sink) -> Result<(), String> {
    let bits = u32::from(page.stored.bits);
    let mask = (1u32 << bits) - 1;
    let row_samples = page.stored.width as usize * given;
    let mut values = Vec::with_capacity(bytes.len() * 8 / bits as usize);
    for row in bytes.chunks_exact((page.row_bytes() as usize).max(1)) {
        let (mut buffer, mut held, mut next) = (0u32, 0, row.iter());
        for _ in 0..row_samples {
            while held < bits {
                buffer = buffer << 8 | u32::from(next.next().copied().unwrap_or(0));
                held += 8;
            }
            held -= bits;
            values.push((buffer >> held & mask) as u16);
        }
    }
    let values = chosen(values, page, given);
    if bits > 8 {
        return put_u16(values, page, sink);
    }
    let palette = page.meaning == Meaning::Palette;
    let to8 = |v: u16| if palette { v as u8 } else { ((u32::from(v) * 510 + mask) / (2 * mask)) as u8 };
    put_u8(values.into_iter().map(to8).collect(), page, sink)
}

/// Interleaved, and without the samples that are not shown.
fn chosen<T: Copy>(samples: Vec<T>, page: &Page, given: usize) -> Vec<T> {
    let shown = match page.meaning {
        Meaning::Cmyk => 4,
        Meaning::Palette => 1,
        _ => page.stored.channels.count(),
    };
    if page.planar {
        let pixels = samples.len() / given.max(1);
        return (0..pixels)
            .flat_map(|i| (0..shown).map(move |plane| plane * pixels + i))
            .map(|at| samples[at])
            .collect();
    }
    if given <= shown {
        return samples;
    }
    samples.chunks_exact(given).flat_map(|pixel| &pixel[..shown]).copied().collect()
}

/// Colours of a palette: 16 bits each, all red ones first. Some programs write 8 bits.
fn coloured(places: &[u8], page: &Page) -> Result<Vec<u8>, String> {
    let map = page.directory.values(COLOUR_MAP);
    let count = 1usize << page.stored.bits;
    if map.len() < 3 * count {
        return Err("its palette is cut short".into());
    }
    let shift = if map.iter().all(|&v| v < 256) { 0 } else { 8 };
    let colours: Vec<[u8; 3]> =
        (0..count).map(|i| [0, 1, 2].map(|channel| (map[channel * count + i] >> shift) as u8)).collect();
    Ok(places.iter().flat_map(|&place| colours.get(usize::from(place)).copied().unwrap_or([0; 3])).collect())
}

/// Four inks to colours, as the crate `image` does it.
fn from_inks([c, m, y, k]: [f32; 4], white: f32) -> [f32; 3] {
    let light = 1.0 - k / white;
    [c, m, y].map(|ink| (white - ink) * light)
}

/// Full-range BT.601, as JPEG files have it (JFIF 1.02).
fn from_luma(&[y, cb, cr]: &[u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|v| v.round().clamp(0.0, 255.0) as u8)
}
