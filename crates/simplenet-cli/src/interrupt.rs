//! Ctrl-C as a question that a run may ask: should I stop?
//!
//! In: the signals SIGINT (Ctrl-C) and SIGTERM. Out: at the first one the answer yes, so that the run can keep what is done
//! and say how to go on; a second one ends the program at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::error::{CliError, INTERRUPTED};

/// Whether the person at the terminal wants the run to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Says so from the first Ctrl-C or SIGTERM on; the next one ends the program with [`INTERRUPTED`].
    ///
    /// # Errors
    /// Signals that the system does not let a program handle.
    pub fn on_signals() -> Result<Self, CliError> {
        let asked = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal must not find the flag set that it sets itself.
            flag::register_conditional_shutdown(signal, INTERRUPTED.into(), asked.0.clone())
                .and_then(|_| flag::register(signal, asked.0.clone()))
                .map_err(|e| CliError::Usage(format!("cannot handle Ctrl-C: {e}")))?;
        }
        Ok(asked)
    }

    /// Whether to stop.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
