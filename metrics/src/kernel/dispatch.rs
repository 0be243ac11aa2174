//! The choice between compilations of a kernel, made once per slice at run time.
//!
//! Lanes matter more than instruction sets: fixed lanes let the baseline vectorise too, and beyond AVX2 nothing was
//! gained, so one more tier is enough. Closures are not inlined into functions with other target features, hence the
//! macro: it repeats the body in both.

/// Which compilation of the kernels this machine can run. Can only be had by asking the machine, so a value of the
/// faster tier is the proof that its instructions are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tier {
    avx2: bool,
}

impl Tier {
    /// The best tier of this machine. The standard library remembers what it found.
    #[inline]
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        let avx2 = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("lzcnt");
        #[cfg(not(target_arch = "x86_64"))]
        let avx2 = false;
        Self { avx2 }
    }

    /// Every tier of this machine, for tests.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let mut tiers = vec![Self { avx2: false }, Self::best()];
        tiers.dedup();
        tiers
    }

    pub(crate) const fn is_avx2(self) -> bool {
        self.avx2
    }
}

/// Defines `fn name(tier, args)` from `body::<FMA>(args)`, an `#[inline(always)]` function that is compiled for each tier.
/// `FMA` tells it whether a fused multiply-add is one instruction.
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $body:ident) => {
        $(#[$meta])*
        $vis fn $name(tier: crate::kernel::Tier, $($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            if tier.is_avx2() {
                #[target_feature(enable = "avx2,fma,lzcnt")]
                fn avx2($($arg: $type),*) $(-> $result)? {
                    $body::<true>($($arg),*)
                }
                // SAFETY: a tier with AVX2 exists only after all features were found at run time.
                #[expect(unsafe_code, reason = "calls a function with target features")]
                return unsafe { avx2($($arg),*) };
            }
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}
pub(crate) use dispatch;
