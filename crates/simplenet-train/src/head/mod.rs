//! Training the head: adaptor and discriminator learn on features that are kept.
//!
//! In: a feature cache and a configuration. Out: the trained numbers. [`trainer`] has the loop, `steps` who does a step,
//! [`head_step`] and [`tensor_head_step`] the step itself, [`training_state`] and [`resume`] what goes on after a stop.

pub mod head_step;
pub mod loss;
pub mod optimizer;
pub mod resume;
mod steps;
pub mod tensor_head_step;
pub mod trained_head;
pub mod trainer;
pub mod training_state;
