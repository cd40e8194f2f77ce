//! SHA-256's compression function (FIPS 180-4, section 6.2.2) over eight messages at once: one in each 32-bit part of a
//! vector register.
//!
//! A message is hashed from front to back, so one upload goes as fast as one core can compress. Where the processor has no
//! SHA instructions, eight uploads together go several times as fast as one after the other: 1.7 GiB/s with AVX-512's
//! instructions and 1.1 with AVX2's against 0.3 (`docs/benchmarks.md`).

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::sha256_blocks::{BLOCK, Words};

/// Messages that are compressed at once.
pub(super) const MESSAGES: usize = 8;

/// Instructions that this processor has for it. [`sha256_blocks::compress_together`](super::sha256_blocks::compress_together)
/// takes this for a proof of that: [`all`](Self::all) looks, and nothing else makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kernel(Set);

/// A set of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// With AVX-512's rotations and three-way logic on the same registers.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// All that this processor can run, the fastest first.
    pub(super) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2");
            let avx512 = avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
            [(avx512, Set::Avx512), (avx2, Set::Avx2)]
                .into_iter()
                .filter(|(can, _)| *can)
                .map(|(_, set)| Self(set))
                .collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        Vec::new()
    }

    /// The one to use. None where one message after the other is as quick: with SHA instructions, or without these.
    pub(super) fn best() -> Option<Self> {
        static BEST: OnceLock<Option<Kernel>> = OnceLock::new();
        *BEST.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("sha") {
                return None;
            }
            Self::all().into_iter().next()
        })
    }

    /// From how many messages on it is clearly quicker than one after the other on the same core. One more than it takes to
    /// be even: idle cores could hash the others meanwhile.
    pub(super) const fn at_least(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => 4,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => 3,
        }
    }

    pub(super) const fn set(self) -> Set {
        self.0
    }
}

/// FIPS 180-4, section 4.2.2; a row for each eight rounds.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const CONSTANTS: [[u32; 8]; 8] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// The function for one set of instructions, in a module of its own with what differs between them. A vector holds the same
/// word of all messages.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    ($set:ident, $features:literal, { $($differs:item)* }) => {
        pub(super) mod $set {
            use std::arch::x86_64::*;

            use super::{BLOCK, CONSTANTS, MESSAGES, Words};

            $($differs)*

            /// Hashes whole blocks into each message's state: as many as each of them has.
            #[target_feature(enable = $features)]
            pub(in super::super) fn compress(states: &mut [Words; MESSAGES], blocks: [&[[u8; BLOCK]]; MESSAGES]) {
                let [a, b, c, d, e, f, g, h] = *states;
                let rows = [vector(a), vector(b), vector(c), vector(d), vector(e), vector(f), vector(g), vector(h)];
                let mut state = transposed(rows);
                let [first, second, third, fourth, fifth, sixth, seventh, eighth] = blocks.map(|blocks| blocks.iter());
                let all = first.zip(second).zip(third.zip(fourth)).zip(fifth.zip(sixth).zip(seventh.zip(eighth)));
                for (((a, b), (c, d)), ((e, f), (g, h))) in all {
                    let (mut low, mut high) = (halves([a, b, c, d, e, f, g, h], 0), halves([a, b, c, d, e, f, g, h], 1));
                    let mut next = state;
                    let (now, later) = CONSTANTS.split_at(2);
                    for (constants, words) in now.iter().zip([low, high]) {
                        next = eight_rounds(next, constants, words);
                    }
                    for constants in later.as_chunks::<2>().0 {
                        low = scheduled(low, high);
                        next = eight_rounds(next, &constants[0], low);
                        high = scheduled(high, low);
                        next = eight_rounds(next, &constants[1], high);
                    }
                    for (word, more) in state.iter_mut().zip(next) {
                        *word = _mm256_add_epi32(*word, more);
                    }
                }
                for (words, row) in states.iter_mut().zip(transposed(state)) {
                    *words = row_of(row);
                }
            }

            /// The first or the second eight words of each block.
            // Spelled out: a closure of `map` is not inlined here.
            #[inline]
            #[target_feature(enable = $features)]
            fn halves(blocks: [&[u8; BLOCK]; MESSAGES], which: usize) -> [__m256i; 8] {
                let [a, b, c, d, e, f, g, h] = blocks;
                let low = [half(a, which), half(b, which), half(c, which), half(d, which)];
                let high = [half(e, which), half(f, which), half(g, which), half(h, which)];
                transposed([low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]])
            }

            /// Half a block: eight words, big-endian.
            #[inline]
            #[target_feature(enable = $features)]
            fn half(block: &[u8; BLOCK], which: usize) -> __m256i {
                let (words, _) = block.as_chunks::<4>();
                let (halves, _) = words.as_chunks::<8>();
                vector(halves[which].map(u32::from_be_bytes))
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn vector(words: Words) -> __m256i {
                let [a, b, c, d, e, f, g, h] = words.map(u32::cast_signed);
                _mm256_setr_epi32(a, b, c, d, e, f, g, h)
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn row_of(row: __m256i) -> Words {
                [
                    _mm256_extract_epi32::<0>(row),
                    _mm256_extract_epi32::<1>(row),
                    _mm256_extract_epi32::<2>(row),
                    _mm256_extract_epi32::<3>(row),
                    _mm256_extract_epi32::<4>(row),
                    _mm256_extract_epi32::<5>(row),
                    _mm256_extract_epi32::<6>(row),
                    _mm256_extract_epi32::<7>(row),
                ]
                .map(i32::cast_unsigned)
            }

            /// Rows become columns.
            #[inline]
            #[target_feature(enable = $features)]
            fn transposed(rows: [__m256i; 8]) -> [__m256i; 8] {
                let pairs = |at: usize| {
                    let (one, other) = (rows[at], rows[at + 1]);
                    (_mm256_unpacklo_epi32(one, other), _mm256_unpackhi_epi32(one, other))
                };
                let fours = |at: usize| {
                    let ((low, high), (low_2, high_2)) = (pairs(at), pairs(at + 2));
                    [
                        _mm256_unpacklo_epi64(low, low_2),
                        _mm256_unpackhi_epi64(low, low_2),
                        _mm256_unpacklo_epi64(high, high_2),
                        _mm256_unpackhi_epi64(high, high_2),
                    ]
                };
                let ([a, b, c, d], [e, f, g, h]) = (fours(0), fours(4));
                [
                    _mm256_permute2x128_si256::<0x20>(a, e),
                    _mm256_permute2x128_si256::<0x20>(b, f),
                    _mm256_permute2x128_si256::<0x20>(c, g),
                    _mm256_permute2x128_si256::<0x20>(d, h),
                    _mm256_permute2x128_si256::<0x31>(a, e),
                    _mm256_permute2x128_si256::<0x31>(b, f),
                    _mm256_permute2x128_si256::<0x31>(c, g),
                    _mm256_permute2x128_si256::<0x31>(d, h),
                ]
            }

            /// The message schedule's next eight words, which replace `old`; `new` are the eight between.
            #[inline]
            #[target_feature(enable = $features)]
            fn scheduled(old: [__m256i; 8], new: [__m256i; 8]) -> [__m256i; 8] {
                let [w0, w1, w2, w3, w4, w5, w6, w7] = old;
                let [w8, w9, w10, w11, w12, w13, w14, w15] = new;
                let w16 = word(w0, w1, w9, w14);
                let w17 = word(w1, w2, w10, w15);
                let w18 = word(w2, w3, w11, w16);
                let w19 = word(w3, w4, w12, w17);
                let w20 = word(w4, w5, w13, w18);
                let w21 = word(w5, w6, w14, w19);
                let w22 = word(w6, w7, w15, w20);
                let w23 = word(w7, w8, w16, w21);
                [w16, w17, w18, w19, w20, w21, w22, w23]
            }

            /// Of the words 16, 15, 7 and 2 before it.
            #[inline]
            #[target_feature(enable = $features)]
            fn word(w16: __m256i, w15: __m256i, w7: __m256i, w2: __m256i) -> __m256i {
                let sigma_0 = xor(right::<7, 25>(w15), right::<18, 14>(w15), _mm256_srli_epi32::<3>(w15));
                let sigma_1 = xor(right::<17, 15>(w2), right::<19, 13>(w2), _mm256_srli_epi32::<10>(w2));
                _mm256_add_epi32(_mm256_add_epi32(w16, sigma_0), _mm256_add_epi32(w7, sigma_1))
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn eight_rounds(state: [__m256i; 8], constants: &[u32; 8], words: [__m256i; 8]) -> [__m256i; 8] {
                let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
                (d, h) = round([a, b, c, d, e, f, g, h], constants[0], words[0]);
                (c, g) = round([h, a, b, c, d, e, f, g], constants[1], words[1]);
                (b, f) = round([g, h, a, b, c, d, e, f], constants[2], words[2]);
                (a, e) = round([f, g, h, a, b, c, d, e], constants[3], words[3]);
                (h, d) = round([e, f, g, h, a, b, c, d], constants[4], words[4]);
                (g, c) = round([d, e, f, g, h, a, b, c], constants[5], words[5]);
                (f, b) = round([c, d, e, f, g, h, a, b], constants[6], words[6]);
                (e, a) = round([b, c, d, e, f, g, h, a], constants[7], words[7]);
                [a, b, c, d, e, f, g, h]
            }

            /// One round: the two words that it changes, where they stand now (`d` and `h`).
            #[inline]
            #[target_feature(enable = $features)]
            fn round(state: [__m256i; 8], constant: u32, word: __m256i) -> (__m256i, __m256i) {
                let [a, b, c, d, e, f, g, h] = state;
                let sum_1 = xor(right::<6, 26>(e), right::<11, 21>(e), right::<25, 7>(e));
                let sum_0 = xor(right::<2, 30>(a), right::<13, 19>(a), right::<22, 10>(a));
                let given = _mm256_add_epi32(_mm256_set1_epi32(constant.cast_signed()), word);
                let one = _mm256_add_epi32(_mm256_add_epi32(_mm256_add_epi32(h, sum_1), given), choice(e, f, g));
                let two = _mm256_add_epi32(sum_0, majority(a, b, c));
                (_mm256_add_epi32(d, one), _mm256_add_epi32(one, two))
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel!(avx2, "avx2", {
    /// Rotates to the right by `BY`; `BACK` is 32 less `BY`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn right<const BY: i32, const BACK: i32>(word: __m256i) -> __m256i {
        _mm256_or_si256(_mm256_srli_epi32::<BY>(word), _mm256_slli_epi32::<BACK>(word))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn xor(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        _mm256_xor_si256(_mm256_xor_si256(a, b), c)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn choice(e: __m256i, f: __m256i, g: __m256i) -> __m256i {
        _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn majority(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)))
    }
});

// The third operand of `vpternlogd` is the result's bit for each combination of the three words' bits.
#[cfg(target_arch = "x86_64")]
kernel!(avx512, "avx2,avx512f,avx512vl", {
    /// Rotates to the right by `BY`.
    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512vl")]
    fn right<const BY: i32, const BACK: i32>(word: __m256i) -> __m256i {
        _mm256_ror_epi32::<BY>(word)
    }

    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512vl")]
    fn xor(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        _mm256_ternarylogic_epi32::<0x96>(a, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512vl")]
    fn choice(e: __m256i, f: __m256i, g: __m256i) -> __m256i {
        _mm256_ternarylogic_epi32::<0xca>(e, f, g)
    }

    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512vl")]
    fn majority(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        _mm256_ternarylogic_epi32::<0xe8>(a, b, c)
    }
});
