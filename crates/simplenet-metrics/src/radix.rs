//! Least-significant-digit radix sort of `u32` keys: the time does not depend on the values, and the order of
//! memory accesses suits a batch that fits the cache.

/// Bits a pass; 2^11 counters and as many write positions still fit the first-level cache.
const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 1 << DIGIT_BITS;

/// Sorts `keys` ascending; only their lowest `bits` bits may be set. `scratch` is overwritten.
pub(crate) fn sort(keys: &mut Vec<u32>, scratch: &mut Vec<u32>, bits: u32) {
    scratch.clear();
    scratch.resize(keys.len(), 0);
    for shift in (0..bits).step_by(DIGIT_BITS as usize) {
        let digit = |key: u32| (key >> shift) as usize % DIGITS;
        let mut positions = [0u32; DIGITS];
        for &key in keys.iter() {
            positions[digit(key)] += 1;
        }
        let mut start = 0;
        for position in &mut positions {
            start += std::mem::replace(position, start);
        }
        for &key in keys.iter() {
            let position = &mut positions[digit(key)];
            scratch[*position as usize] = key;
            *position += 1;
        }
        std::mem::swap(keys, scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts() {
        let mut state = 1u64;
        for bits in [0, 1, 10, 11, 12, 22, 23, 31, 32] {
            for length in [0, 1, 2, 1000, 5000] {
                let mut keys: Vec<u32> = (0..length)
                    .map(|_| {
                        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        ((state >> 32) & ((1u64 << bits) - 1)) as u32
                    })
                    .collect();
                let mut want = keys.clone();
                want.sort_unstable();
                sort(&mut keys, &mut vec![7; 3], bits);
                assert_eq!(keys, want, "{length} keys of {bits} bits");
            }
        }
    }
}
