//! What a model needs in memory, from its header, before anything is loaded: pure.
//!
//! llama.cpp says of a CPU that all its memory is free, and the width of a model divided by its heads is not the width of a head where
//! the header gives one (Qwen3-0.6B: 64 by division, 128 in truth), so this is our own arithmetic.

use super::gguf::Header;

/// Weights, keys and values, and work space of a loaded model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The weights.
    pub weights: u64,
    /// Keys and values of all tokens of the context.
    pub cache: u64,
    /// Work space of a step, and the process itself.
    pub work: u64,
}

impl Estimate {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.weights.saturating_add(self.cache).saturating_add(self.work)
    }
}

/// How a model is run so that it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Prompt tokens that are computed together.
    pub micro_batch: u32,
    /// Keys and values with 8 bits instead of 16.
    pub is_cache_small: bool,
    /// What it needs then.
    pub estimate: Estimate,
}

impl Fit {
    /// What is saved, and at what cost, where memory is short; nothing where it is plenty. For the operator.
    #[must_use]
    pub const fn saving(&self) -> Option<&'static str> {
        match (self.is_cache_small, self.micro_batch < MICRO_BATCHES[0]) {
            (true, _) => Some("keys and values have 8 bits, and prompts are computed in smaller parts"),
            (false, true) => Some("prompts are computed in smaller parts"),
            (false, false) => None,
        }
    }
}

/// It does not fit, however it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFit {
    /// The least it needs.
    pub needed: u64,
    /// A quantisation that would fit.
    pub nearest: Option<&'static str>,
}

/// Bits of a weight, with what is kept in higher precision.
const QUANTISATIONS: &[(&str, f64)] = &[
    ("Q8_0", 8.5),
    ("Q6_K", 6.6),
    ("Q5_K_M", 5.7),
    ("Q4_K_M", 4.9),
    ("Q3_K_M", 3.9),
    ("Q2_K", 3.0),
];
/// The process, its graphs and its tokenizer.
const PROCESS: u64 = 48 * 1024 * 1024;
/// Prompt tokens computed together, where memory is plenty and where it is not.
const MICRO_BATCHES: [u32; 2] = [512, 128];

/// What a model needs for a context of so many tokens.
#[must_use]
pub fn estimate(header: &Header, cells: u64, micro_batch: u32, is_cache_small: bool) -> Estimate {
    let shape = |key: &str| header.shape(key);
    let layers = shape("block_count").unwrap_or(0);
    let width = shape("embedding_length").unwrap_or(0);
    let heads = shape("attention.head_count").unwrap_or(1).max(1);
    let key_heads = shape("attention.head_count_kv").unwrap_or(heads);
    let key = shape("attention.key_length").unwrap_or(width / heads);
    let value = shape("attention.value_length").unwrap_or(width / heads);
    let per_token = layers
        .saturating_mul(key_heads)
        .saturating_mul(key.saturating_add(value));
    // 32 numbers take 64 bytes, or 34 with their scale.
    let bytes = if is_cache_small { 34 } else { 64 };
    let cache = u128::from(cells) * u128::from(per_token) * bytes / 32;
    let words = match header.keys.get("tokenizer.ggml.tokens") {
        Some(super::gguf::HeaderValue::List(count)) => *count,
        _ => shape("vocab_size").unwrap_or(0),
    };
    let inner = shape("feed_forward_length").unwrap_or(width * 4);
    let row = words
        .saturating_add(inner.saturating_mul(2))
        .saturating_add(width.saturating_mul(8));
    let work = row.saturating_mul(4).saturating_mul(u64::from(micro_batch));
    Estimate {
        weights: header.weights(),
        cache: u64::try_from(cache).unwrap_or(u64::MAX),
        work: work.saturating_add(PROCESS),
    }
}

/// How a model fits into so many bytes, with as little saving as possible.
///
/// # Errors
/// When it does not.
pub fn fit(header: &Header, cells: u64, available: u64) -> Result<Fit, NoFit> {
    let ways = [
        (MICRO_BATCHES[0], false),
        (MICRO_BATCHES[1], false),
        (MICRO_BATCHES[1], true),
    ];
    let mut least = u64::MAX;
    for (micro_batch, is_cache_small) in ways {
        if is_cache_small && !can_shrink(header) {
            continue;
        }
        let estimate = estimate(header, cells, micro_batch, is_cache_small);
        if estimate.total() <= available {
            return Ok(Fit {
                micro_batch,
                is_cache_small,
                estimate,
            });
        }
        least = least.min(estimate.total());
    }
    let besides = least.saturating_sub(header.weights());
    let for_weights = available.saturating_sub(besides) as f64;
    let now = header.weights() as f64;
    let nearest = QUANTISATIONS.iter().find(|(_, bits)| {
        let bytes = header.parameters() as f64 * bits / 8.0;
        bytes <= for_weights && bytes < now
    });
    Err(NoFit {
        needed: least,
        nearest: nearest.map(|(name, _)| *name),
    })
}

/// The least that a model needs for a context of so many tokens.
#[must_use]
pub fn least(header: &Header, cells: u64) -> u64 {
    match fit(header, cells, 0) {
        Ok(fit) => fit.estimate.total(),
        Err(refused) => refused.needed,
    }
}

/// Eight-bit keys and values come in blocks of 32.
fn can_shrink(header: &Header) -> bool {
    let in_blocks = |key| header.shape(key).is_some_and(|length| length % 32 == 0);
    in_blocks("attention.key_length") && in_blocks("attention.value_length")
}

#[cfg(test)]
mod tests {
    use super::{
        super::gguf::{HeaderValue, Tensor},
        *,
    };

    /// The shape of Qwen3-0.6B with 8-bit weights.
    fn qwen() -> Header {
        let mut header = Header::default();
        header
            .keys
            .insert("general.architecture".into(), HeaderValue::Text("qwen3".into()));
        for (key, value) in [
            ("block_count", 28),
            ("embedding_length", 1024),
            ("attention.head_count", 16),
            ("attention.head_count_kv", 8),
            ("attention.key_length", 128),
            ("attention.value_length", 128),
            ("feed_forward_length", 3072),
        ] {
            header.keys.insert(format!("qwen3.{key}"), HeaderValue::Integer(value));
        }
        header
            .keys
            .insert("tokenizer.ggml.tokens".into(), HeaderValue::List(151_936));
        header.tensors.push(Tensor {
            name: "all".into(),
            elements: 596_000_000,
            bytes: 633_000_000,
        });
        header
    }

    #[test]
    fn the_given_length_of_a_head_counts() {
        // 112 KiB a token, measured; dividing the width by the heads would give half of it.
        assert_eq!(estimate(&qwen(), 1, 512, false).cache, 112 * 1024);
        let work = estimate(&qwen(), 1, 512, false).work;
        assert!((313_000_000..440_000_000).contains(&work), "{work}");
    }

    #[test]
    fn memory_is_saved_only_where_it_is_short_and_what_does_not_fit_is_told_what_would() {
        let way = |available| {
            let fit = fit(&qwen(), 8192, available).unwrap();
            (
                fit.micro_batch,
                fit.is_cache_small,
                fit.saving().map(|saving| saving.contains("8 bits")),
            )
        };
        assert_eq!(way(4_000_000_000), (512, false, None));
        assert_eq!(way(1_750_000_000), (128, false, Some(false)));
        assert_eq!(way(1_300_000_000), (128, true, Some(true)));
        let way = |available| fit(&qwen(), 8192, available);
        let refused = way(1_000_000_000).unwrap_err();
        assert!(refused.needed > 1_000_000_000, "{refused:?}");
        assert_eq!(refused.nearest, Some("Q4_K_M"));
        assert_eq!(way(500_000_000).unwrap_err().nearest, None);
    }
}
