//! Which instruction set the kernels use: detected once, lowered on request.

use std::sync::OnceLock;

/// An instruction-set level; every kernel exists for each, from one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the target guarantees: SSE2 on x86-64, the compiler's default elsewhere.
    Baseline,
    /// AVX2 and FMA, and the instructions on bits that came with them (BMI1, BMI2, LZCNT, POPCNT).
    Avx2,
    /// Those of AVX2, and AVX-512 F (which includes F16C), BW, DQ and VL.
    Avx512,
}

impl Level {
    /// The name `RUSTGRAD_ISA` knows the level by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// The level in use: the best the processor has, or the lower one that the environment variable
/// `RUSTGRAD_ISA` (`baseline`, `avx2` or `avx512`) asks for.
#[inline]
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let wanted = match std::env::var("RUSTGRAD_ISA").as_deref() {
            Ok("baseline") => Level::Baseline,
            Ok("avx2") => Level::Avx2,
            _ => Level::Avx512,
        };
        wanted.min(detect())
    })
}

#[cfg(target_arch = "x86_64")]
pub(super) fn detect() -> Level {
    macro_rules! has {
        ($($feature:tt)*) => { $(is_x86_feature_detected!($feature))&&* };
    }
    // Every feature that a level's functions are compiled for, and by that the registers that the system
    // keeps: the macro asks XGETBV for those of AVX and of AVX-512.
    if !has!("avx2" "fma" "bmi1" "bmi2" "lzcnt" "popcnt") {
        Level::Baseline
    } else if has!("f16c" "avx512f" "avx512bw" "avx512dq" "avx512vl") {
        Level::Avx512
    } else {
        Level::Avx2
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn detect() -> Level {
    Level::Baseline
}
