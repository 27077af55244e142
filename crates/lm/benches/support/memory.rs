//! The memory of a bench.

use std::fs;

/// The resident memory of this process, bytes; NaN on systems other than Linux. "VmRSS:" is the memory now, and
/// "VmHWM:" the largest so far.
pub(crate) fn resident(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok()).map_or(f64::NAN, |kb| kb * 1024.0)
}
