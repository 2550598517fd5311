//! Model files with the exact shapes of Qwen3 models and random weights: what they say is noise, what they cost is real. The tokenizer is
//! the built-in model's, its vocabulary filled up to the real size.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

pub const BUILT_IN: &[u8] = include_bytes!("../../../inference/models/built-in.gguf");
const LAYERS: u64 = 28;
const HEADS: u64 = 16;
const KEY_HEADS: u64 = 8;
const HEAD: u64 = 128;
const WORDS: u64 = 151_936;

/// How numbers are kept: with the numbers that the format has for them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    F32 = 0,
    Q8_0 = 8,
    Q4K = 12,
    Q6K = 14,
}

impl Kind {
    /// Numbers in a block and its bytes.
    const fn block(self) -> (u64, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q6K => (256, 210),
        }
    }

    /// Where in a block its scales are, and what they are, as halves: small, so that sums stay finite.
    const fn scales(self) -> &'static [(usize, u16)] {
        match self {
            Self::F32 => &[],
            // 0.0003
            Self::Q8_0 => &[(0, 0x0cea)],
            // 0.0002, and 0.001 for the least.
            Self::Q4K => &[(0, 0x0a8e), (2, 0x1419)],
            // 0.00002
            Self::Q6K => &[(208, 0x0150)],
        }
    }

    fn bytes(self, shape: &[u64]) -> u64 {
        let (numbers, bytes) = self.block();
        shape.iter().product::<u64>() / numbers * bytes as u64
    }
}

/// A model of the Qwen3 family.
#[derive(Clone, Copy)]
pub struct Shape {
    name: &'static str,
    width: u64,
    inner: u64,
    /// Four bits, with six where Q4_K_M has them; else eight.
    is_four_bits: bool,
}

impl Shape {
    /// Qwen3-0.6B in Q8_0: 640 MB.
    pub const QWEN_600M: Self = Self {
        name: "qwen3-0.6b-q8_0",
        width: 1024,
        inner: 3072,
        is_four_bits: false,
    };
    /// Qwen3-1.7B in Q4_K_M: 1.1 GB.
    pub const QWEN_1700M: Self = Self {
        name: "qwen3-1.7b-q4_k",
        width: 2048,
        inner: 6144,
        is_four_bits: true,
    };

    /// Its file in the target folder, made when it is not there.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(self) -> PathBuf {
        let program = std::env::current_exe().expect("this program");
        let shapes = program.ancestors().nth(2).expect("the target folder").join("shapes");
        std::fs::create_dir_all(&shapes).expect("the target folder can be written");
        let path = shapes.join(format!("{}.gguf", self.name));
        if !path.exists() {
            eprintln!("making {}", path.display());
            write(&path, self).expect("the model can be written");
        }
        path
    }
}

fn write(path: &Path, shape: Shape) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
    let tensors = tensors(shape);
    let keys = keys(shape);
    let mut head = b"GGUF".to_vec();
    head.extend(3_u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((keys.len() as u64).to_le_bytes());
    head.extend(keys.concat());
    let mut offset = 0;
    for (name, shape, kind) in &tensors {
        text(&mut head, name);
        head.extend((shape.len() as u32).to_le_bytes());
        for dimension in shape {
            head.extend(dimension.to_le_bytes());
        }
        head.extend((*kind as u32).to_le_bytes());
        head.extend(u64::to_le_bytes(offset));
        offset = (offset + kind.bytes(shape)).next_multiple_of(32);
    }
    head.resize(head.len().next_multiple_of(32), 0);
    file.write_all(&head)?;
    let mut state = 1_u64;
    for (_, shape, kind) in &tensors {
        fill(&mut file, shape, *kind, &mut state)?;
    }
    file.flush()?;
    std::fs::rename(partial, path)
}

fn fill(file: &mut impl Write, shape: &[u64], kind: Kind, state: &mut u64) -> io::Result<()> {
    let written = kind.bytes(shape);
    let (numbers, bytes) = kind.block();
    let mut block = vec![0; bytes];
    for _ in 0..shape.iter().product::<u64>() / numbers {
        if kind == Kind::F32 {
            block.copy_from_slice(&1_f32.to_le_bytes());
        } else {
            for part in block.chunks_mut(8) {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                part.copy_from_slice(&state.to_le_bytes()[..part.len()]);
            }
        }
        for (at, scale) in kind.scales() {
            block[*at..*at + 2].copy_from_slice(&scale.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    let padding = written.next_multiple_of(32) - written;
    file.write_all(&vec![0; usize::try_from(padding).unwrap_or(0)])
}

type TensorShape = (String, Vec<u64>, Kind);

fn tensors(shape: Shape) -> Vec<TensorShape> {
    let Shape { width, inner, .. } = shape;
    let (most, some) = if shape.is_four_bits {
        (Kind::Q4K, Kind::Q6K)
    } else {
        (Kind::Q8_0, Kind::Q8_0)
    };
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), vec![width, WORDS], some),
        ("output_norm.weight".to_owned(), vec![width], Kind::F32),
    ];
    for layer in 0..LAYERS {
        let finer = if layer % 2 == 0 { some } else { most };
        let parts: [(&str, Vec<u64>, Kind); 11] = [
            ("attn_norm", vec![width], Kind::F32),
            ("attn_q", vec![width, HEADS * HEAD], most),
            ("attn_k", vec![width, KEY_HEADS * HEAD], most),
            ("attn_v", vec![width, KEY_HEADS * HEAD], finer),
            ("attn_output", vec![HEADS * HEAD, width], most),
            ("attn_q_norm", vec![HEAD], Kind::F32),
            ("attn_k_norm", vec![HEAD], Kind::F32),
            ("ffn_norm", vec![width], Kind::F32),
            ("ffn_gate", vec![width, inner], most),
            ("ffn_up", vec![width, inner], most),
            ("ffn_down", vec![inner, width], finer),
        ];
        for (name, shape, kind) in parts {
            tensors.push((format!("blk.{layer}.{name}.weight"), shape, kind));
        }
    }
    tensors
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// The keys of the shape, and the tokenizer's of the built-in model.
fn keys(shape: Shape) -> Vec<Vec<u8>> {
    let key = |name: &str, kind: u32, value: &[u8]| {
        let mut key = Vec::new();
        text(&mut key, name);
        key.extend(kind.to_le_bytes());
        key.extend(value);
        key
    };
    let mut architecture = Vec::new();
    text(&mut architecture, "qwen3");
    let mut keys = vec![
        key("general.architecture", 8, &architecture),
        key("qwen3.rope.freq_base", 6, &1e6_f32.to_le_bytes()),
        key("qwen3.attention.layer_norm_rms_epsilon", 6, &1e-6_f32.to_le_bytes()),
    ];
    for (name, value) in [
        ("context_length", 40_960),
        ("embedding_length", shape.width),
        ("block_count", LAYERS),
        ("feed_forward_length", shape.inner),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KEY_HEADS),
        ("attention.key_length", HEAD),
        ("attention.value_length", HEAD),
    ] {
        let value = u32::try_from(value).unwrap_or(0);
        keys.push(key(&format!("qwen3.{name}"), 4, &value.to_le_bytes()));
    }
    keys.extend(tokenizer());
    keys
}

/// Reads the built-in model's keys, which are known to be sound.
struct Cursor(usize);

impl Cursor {
    fn number<const N: usize>(&mut self) -> [u8; N] {
        let bytes = BUILT_IN[self.0..self.0 + N].try_into().unwrap_or([0; N]);
        self.0 += N;
        bytes
    }

    fn u64(&mut self) -> usize {
        usize::try_from(u64::from_le_bytes(self.number())).unwrap_or(usize::MAX)
    }

    fn skip(&mut self, kind: u32) {
        match kind {
            8 => {
                let length = self.u64();
                self.0 += length;
            }
            9 => {
                let inner = u32::from_le_bytes(self.number());
                for _ in 0..self.u64() {
                    self.skip(inner);
                }
            }
            0 | 1 | 7 => self.0 += 1,
            2 | 3 => self.0 += 2,
            10..=12 => self.0 += 8,
            _ => self.0 += 4,
        }
    }
}

fn tokenizer() -> Vec<Vec<u8>> {
    let mut cursor = Cursor(16);
    let mut found = Vec::new();
    for _ in 0..cursor.u64() {
        let start = cursor.0;
        let length = cursor.u64();
        let name = String::from_utf8_lossy(&BUILT_IN[cursor.0..cursor.0 + length]).into_owned();
        cursor.0 += length;
        let kind = u32::from_le_bytes(cursor.number());
        let value = cursor.0;
        cursor.skip(kind);
        if !name.starts_with("tokenizer.") {
            continue;
        }
        let mut key = BUILT_IN[start..cursor.0].to_vec();
        // Kind of the elements, their number, and then they: filled up to the size of the real vocabulary.
        let count_at = value - start + 4;
        if name == "tokenizer.ggml.tokens" || name == "tokenizer.ggml.token_type" {
            let count = u64::from_le_bytes(key[count_at..count_at + 8].try_into().unwrap_or([0; 8]));
            key[count_at..count_at + 8].copy_from_slice(&WORDS.to_le_bytes());
            for word in count..WORDS {
                match name.ends_with("tokens") {
                    true => text(&mut key, &format!("<x{word}>")),
                    // Unused.
                    false => key.extend(5_i32.to_le_bytes()),
                }
            }
        }
        found.push(key);
    }
    found
}
