//! The rows that a task of a dense layer multiplies, as pointers to where they lie. In: the input and which of its words
//! belong to a row. Out: [`Rows`], of which every pointer has as many words behind it as are read.

use std::{cell::RefCell, ops::Range};

use super::ConvGeometry;

thread_local! {
    /// Pointers to the rows of a task; kept to save the allocation.
    static POINTERS: RefCell<Vec<*const f32>> = const { RefCell::new(Vec::new()) };
}

/// Rows of A, each in `taps` pieces of `depth` consecutive words.
pub(crate) struct Rows<'a> {
    /// Piece `tap` of row r begins at `pointers[tap * count + r]`: `depth` words that are borrowed meanwhile.
    pointers: &'a [*const f32],
    taps: usize,
    depth: usize,
    count: usize,
}

impl Rows<'_> {
    pub(super) fn taps(&self) -> usize {
        self.taps
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Pieces `tap` of R rows from `start` on: each has `depth` words.
    #[inline(always)]
    pub(super) fn pieces<const R: usize>(&self, tap: usize, start: usize) -> &[*const f32; R] {
        let (first, _) = self.pointers[tap * self.count + start..].as_chunks::<R>();
        &first[0]
    }

    /// Calls `run` with the first `depth` words of each row of `stride`.
    ///
    /// # Panics
    /// A depth beyond the stride.
    pub(crate) fn dense(rows: &[f32], stride: usize, depth: usize, run: impl FnOnce(&Rows<'_>)) {
        assert!(depth <= stride, "dense layer: {depth} words of rows of {stride}");
        POINTERS.with_borrow_mut(|pointers| {
            pointers.clear();
            pointers.extend(rows.chunks_exact(stride).map(<[f32]>::as_ptr));
            run(&Rows { pointers, taps: 1, depth, count: pointers.len() });
        });
    }

    /// Calls `run` with what every tap of some output pixels reads, tap after tap: `depth` words of pixels of `stride`, or
    /// `zeros`, which are as many.
    ///
    /// # Panics
    /// An input that ends before.
    pub(super) fn taps_of(
        geometry: &ConvGeometry,
        input: &[f32],
        stride: usize,
        zeros: &[f32],
        pixels: Range<usize>,
        run: impl FnOnce(&Rows<'_>),
    ) {
        POINTERS.with_borrow_mut(|pointers| {
            point_at_taps(geometry, input, stride, zeros, &pixels, pointers);
            let taps = geometry.kernel[0] * geometry.kernel[1];
            run(&Rows { pointers, taps, depth: zeros.len(), count: pixels.len() });
        });
    }
}

/// Pointers to what every tap of the pixels reads, tap after tap.
fn point_at_taps(
    geometry: &ConvGeometry,
    input: &[f32],
    pixel_stride: usize,
    zeros: &[f32],
    pixels: &Range<usize>,
    pointers: &mut Vec<*const f32>,
) {
    let ConvGeometry { input: [height, width], kernel, stride, before, output } = *geometry;
    pointers.clear();
    for ky in 0..kernel[0] {
        for kx in 0..kernel[1] {
            // The outputs of a row whose tap lies inside the image: column x · stride + kx − before of it.
            let inside = before[1].saturating_sub(kx).div_ceil(stride)
                ..(width + before[1]).saturating_sub(kx).div_ceil(stride);
            let mut pixel = pixels.start;
            while pixel < pixels.end {
                let (y, x) = (pixel / output[1], pixel % output[1]);
                let columns = x..output[1].min(x + pixels.end - pixel);
                pixel += columns.len();
                let row = (y * stride + ky).wrapping_sub(before[0]);
                let read = if row < height {
                    inside.start.clamp(columns.start, columns.end)
                        ..inside.end.clamp(columns.start, columns.end)
                } else {
                    columns.start..columns.start
                };
                let read = read.start..read.end.max(read.start);
                pointers.extend(std::iter::repeat_n(zeros.as_ptr(), read.start - columns.start));
                if !read.is_empty() {
                    let first = (row * width + read.start * stride + kx - before[1]) * pixel_stride;
                    let step = stride * pixel_stride;
                    let last = first + (read.len() - 1) * step;
                    // The words of all of them lie in the slice because those of the last one do.
                    let start = input[first..last + zeros.len()].as_ptr();
                    pointers.extend((0..read.len()).map(|i| start.wrapping_add(i * step)));
                }
                pointers.extend(std::iter::repeat_n(zeros.as_ptr(), columns.end - read.end));
            }
        }
    }
}
