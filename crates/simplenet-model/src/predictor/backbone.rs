//! The frozen half of a compiled network. In: an image of one size. Out: its tapped maps, channels-last, in reused memory.
//!
//! A backbone that has a compiled form is a [`Program`]. One that has none runs its literal layers, in f32; the head
//! behind it is compiled all the same.

use candle_core::Tensor;

use super::{
    image::{COLOURS, Image},
    network::Value,
    precision::Precision,
    program::{Builder, Map, Program, Workspace},
};
use crate::{
    backbone::{Backbone, Tap},
    error::ModelError,
    ops::{Isa, team::Team},
    simplenet::FeatureExtractor,
};

/// A backbone for one image size.
#[derive(Debug)]
pub(super) struct CompiledBackbone {
    height: usize,
    width: usize,
    /// One a tap.
    maps: Vec<Map>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Program { program: Program, taps: Vec<Value> },
    Literal(Box<Backbone>),
}

/// What one run keeps its values in.
#[derive(Debug)]
pub(super) enum Memory {
    Program(Workspace),
    /// The taps.
    Literal(Vec<Vec<f32>>),
}

impl CompiledBackbone {
    /// # Errors
    /// Sides that the network cannot take; a precision that it has not; weights that do not fit.
    pub(super) fn compile(
        extractor: &FeatureExtractor,
        [height, width]: [usize; 2],
        isa: Isa,
        precision: &Precision,
    ) -> Result<Self, ModelError> {
        let backbone = extractor.backbone();
        let id = backbone.id();
        id.check_sides(height, width)?;
        let mut builder = Builder::new(isa, precision);
        if let Some(taps) = backbone.compile([height, width], &mut builder)? {
            let program = builder.finish(&taps)?;
            let maps = taps.iter().map(|&tap| program.map(tap)).collect();
            return Ok(Self { height, width, maps, kind: Kind::Program { program, taps } });
        }
        if *precision != Precision::F32 {
            return Err(ModelError::Configuration {
                what: "precision",
                reason: format!("{}: {id} is not compiled and runs in f32 only; use f32", precision.name()),
            });
        }
        let map =
            |tap: &Tap| Map::dense(height.div_ceil(tap.stride), width.div_ceil(tap.stride), tap.channels);
        let maps = backbone.taps().iter().map(map).collect();
        Ok(Self { height, width, maps, kind: Kind::Literal(Box::new(backbone.clone())) })
    }

    /// Rows and columns of patches.
    pub(super) fn grid(&self) -> (usize, usize) {
        self.maps.first().map_or((0, 0), |map| (map.height, map.width))
    }

    /// The shape of each tap.
    pub(super) fn maps(&self) -> &[Map] {
        &self.maps
    }

    /// Whether it computes in f32 throughout.
    pub(super) fn is_f32(&self) -> bool {
        match &self.kind {
            Kind::Program { program, .. } => program.is_f32(),
            Kind::Literal(_) => true,
        }
    }

    /// What one run needs.
    pub(super) fn memory(&self) -> Memory {
        match &self.kind {
            Kind::Program { program, .. } => Memory::Program(program.workspace()),
            Kind::Literal(_) => Memory::Literal(Vec::new()),
        }
    }

    /// Checks the image and does what must be done outside of a team: candle's layers share their work by rayon, whose
    /// workers would compete with the team's helpers.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values; a device that is out of memory.
    pub(super) fn prepare(&self, image: Image<'_>, memory: &mut Memory) -> Result<(), ModelError> {
        image.check(self.height, self.width)?;
        if let (Kind::Literal(backbone), Memory::Literal(taps)) = (&self.kind, memory) {
            let shape = (1, COLOURS, self.height, self.width);
            let images = Tensor::from_vec(image.to_planes(), shape, backbone.device())?;
            let numbers = |tap: Tensor| tap.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1::<f32>();
            *taps = backbone.forward(&images)?.into_iter().map(numbers).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// The rest of a run. `observe` is given the words of each compiled layer's output.
    pub(super) fn run(
        &self,
        team: &mut Team<'_>,
        image: Image<'_>,
        memory: &mut Memory,
        observe: impl FnMut(usize, &[f32]),
    ) {
        if let (Kind::Program { program, .. }, Memory::Program(workspace)) = (&self.kind, memory) {
            program.run(team, image, workspace, observe);
        }
    }

    /// The taps of the last run.
    pub(super) fn taps<'a>(&'a self, memory: &'a Memory) -> Vec<&'a [f32]> {
        match (&self.kind, memory) {
            (Kind::Program { program, taps }, Memory::Program(workspace)) => {
                taps.iter().map(|&tap| workspace.get(program.map(tap))).collect()
            }
            (_, Memory::Literal(taps)) => taps.iter().map(Vec::as_slice).collect(),
            (Kind::Literal(_), Memory::Program(_)) => Vec::new(),
        }
    }
}
