//! ndarray views as input (feature `ndarray`).
//!
//! Comes in: two-dimensional views, rows x columns. Goes out: an [`AnomalyMap`] over the same memory, or an image
//! taken in by a [`PixelAccumulator`].

use ndarray::ArrayView2;

use crate::{AnomalyMap, MetricError, PixelAccumulator};

impl<'a> AnomalyMap<'a> {
    /// A map over two views of one shape (height, width), without copying.
    ///
    /// # Errors
    /// Shapes that differ; a view that is not contiguous row by row (a transposed or strided one):
    /// `as_standard_layout()` makes a copy that is, and so does [`PixelAccumulator::add_views`] by itself.
    pub fn from_views(scores: ArrayView2<'a, f32>, mask: ArrayView2<'a, u8>) -> Result<Self, MetricError> {
        same_shape(&scores, &mask)?;
        let (height, width) = scores.dim();
        match (scores.to_slice(), mask.to_slice()) {
            (Some(scores), Some(mask)) => Ok(Self { scores, mask, width, height }),
            (scores, _) => {
                Err(MetricError::ViewLayout { view: if scores.is_none() { "scores" } else { "mask" } })
            }
        }
    }
}

impl PixelAccumulator {
    /// Takes an image in from two views of one shape (height, width), of any strides; those that are not contiguous
    /// row by row are copied for the call.
    ///
    /// # Errors
    /// Shapes that differ; and as [`Self::add`].
    pub fn add_views(
        &self,
        scores: ArrayView2<'_, f32>,
        mask: ArrayView2<'_, u8>,
    ) -> Result<(), MetricError> {
        same_shape(&scores, &mask)?;
        let (scores, mask) = (scores.as_standard_layout(), mask.as_standard_layout());
        self.add(&AnomalyMap::from_views(scores.view(), mask.view())?)
    }
}

fn same_shape(scores: &ArrayView2<'_, f32>, mask: &ArrayView2<'_, u8>) -> Result<(), MetricError> {
    let (scores, mask) = (scores.dim(), mask.dim());
    if scores == mask { Ok(()) } else { Err(MetricError::ViewShapes { scores, mask }) }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis, array};

    use super::*;
    use crate::pixel_metrics;

    #[test]
    fn views_are_the_slices_they_show() {
        let scores = array![[0.1f32, 0.9, 0.3], [0.2, 0.4, 0.8]];
        let mask = array![[0u8, 1, 0], [0, 0, 1]];
        let map = AnomalyMap::from_views(scores.view(), mask.view()).unwrap();
        assert_eq!((map.width, map.height), (3, 2));
        assert_eq!(map.scores, [0.1, 0.9, 0.3, 0.2, 0.4, 0.8]);
        assert_eq!(map.mask, [0, 1, 0, 0, 0, 1]);
        let want = pixel_metrics(&[map], &[0.3]);
        // The same image through a transpose of a transposed copy, and cut out of a larger one.
        let transposed = scores.t().as_standard_layout().into_owned();
        let mut larger = Array2::from_elem((4, 5), 7u8);
        larger.slice_axis_mut(Axis(0), (1..3).into()).slice_axis_mut(Axis(1), (1..4).into()).assign(&mask);
        let set = PixelAccumulator::new();
        let cut = larger.slice_axis(Axis(0), (1..3).into());
        set.add_views(transposed.t(), cut.slice_axis(Axis(1), (1..4).into())).unwrap();
        assert_eq!(set.finish().unwrap().metrics(&[0.3]), want);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let (scores, mask) = (Array2::<f32>::zeros((2, 3)), Array2::<u8>::zeros((3, 2)));
        let shapes = MetricError::ViewShapes { scores: (2, 3), mask: (3, 2) };
        assert_eq!(AnomalyMap::from_views(scores.view(), mask.view()).err(), Some(shapes.clone()));
        assert_eq!(PixelAccumulator::new().add_views(scores.view(), mask.view()), Err(shapes));
        let layout = |view| Some(MetricError::ViewLayout { view });
        let same = Array2::<u8>::zeros((2, 3));
        assert_eq!(AnomalyMap::from_views(scores.view(), mask.t()).err(), layout("mask"));
        let turned = Array2::<f32>::zeros((3, 2));
        assert_eq!(AnomalyMap::from_views(turned.t(), same.view()).err(), layout("scores"));
    }
}
