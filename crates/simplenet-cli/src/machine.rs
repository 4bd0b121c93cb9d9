//! Facts about the machine and the process: peak and free memory, threads, CPU.

use simplenet_inference::InferencePrecision;
use simplenet_model::compute::{Isa, release_free_memory};

/// Highest resident memory of this process since its start or the last `reset_peak_memory`, in MiB; `None` where the
/// system does not tell (only Linux does, in /proc).
pub fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// Bytes of memory that this process may still take: what the machine has free, or what its control group leaves it.
pub fn free_memory() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let of_group = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(of_group)
}

/// Starts a new measurement of the peak, so that each category has its own: what earlier work freed is given back to the
/// system first. False where the system refuses: then [`peak_memory_mib`] stays that of the whole process.
pub fn reset_peak_memory() -> bool {
    release_free_memory();
    // 5 resets the high-water mark (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// One line about the machine: CPU, threads used, system.
pub fn description() -> String {
    format!("{}, {} {}", cpu(), std::env::consts::OS, std::env::consts::ARCH)
}

/// The CPU and the threads used.
pub fn cpu() -> String {
    let threads = rayon::current_num_threads();
    let cpu = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            text.lines()
                .find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|x| x.1.trim().to_string()))
        })
        .unwrap_or_else(|| "unknown processor".into());
    format!("{cpu}, {threads} threads")
}

/// What to say before computing in numbers that an instruction set does not multiply itself.
pub fn precision_note(precision: InferencePrecision, isa: Isa) -> Option<String> {
    let name = precision.name();
    let note = || {
        format!(
            "this processor has no instructions for {name} ({}): f32 may be as fast, or faster",
            isa.name()
        )
    };
    (!precision.is_native(isa)).then(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_the_processor_does_not_multiply_are_mentioned() {
        use InferencePrecision::{Bf16, F32, Int8};
        assert_eq!(precision_note(F32, Isa::Scalar), None);
        assert_eq!(precision_note(Int8, Isa::Avx2Vnni), None);
        assert_eq!(
            precision_note(Bf16, Isa::Avx2Vnni).unwrap(),
            "this processor has no instructions for bf16 (AVX2 with VNNI): f32 may be as fast, or faster"
        );
    }

    #[test]
    fn some_memory_is_free() {
        let free = free_memory();
        assert!((1 << 20..1 << 50).contains(&free), "{free} bytes");
    }

    /// One test: another one beside it would reset the same peak.
    #[test]
    #[cfg(target_os = "linux")]
    fn peak_memory_follows_an_allocation_and_is_without_what_earlier_work_has_freed() {
        if !reset_peak_memory() {
            return eprintln!("skipped: the system does not reset the peak");
        }
        let before = peak_memory_mib().unwrap();
        // Blocks too small to be mapped one by one stay in the heap when they are freed; the last one keeps it from shrinking.
        let mut blocks: Vec<Vec<u8>> = (0..2000).map(|i| vec![i as u8; 64 << 10]).collect();
        let last = blocks.pop();
        let with_blocks = peak_memory_mib().unwrap();
        assert!(with_blocks > before + 100.0, "{before} {with_blocks}");
        drop(blocks);
        assert!(reset_peak_memory());
        let after = peak_memory_mib().unwrap();
        assert!(after < with_blocks - 80.0, "{with_blocks} MiB, then {after}");
        assert_eq!(last.unwrap().len(), 64 << 10);
    }
}
