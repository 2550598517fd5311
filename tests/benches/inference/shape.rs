//! A model file with the exact shape of Qwen3-0.6B in 8 bits and random weights: what it says is noise, what it costs is real. The
//! tokenizer is the built-in model's, its vocabulary filled up to the real size.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

const BUILT_IN: &[u8] = include_bytes!("../../../inference/models/built-in.gguf");
const WIDTH: u64 = 1024;
const LAYERS: u64 = 28;
const HEADS: u64 = 16;
const KEY_HEADS: u64 = 8;
const HEAD: u64 = 128;
const INNER: u64 = 3072;
const WORDS: u64 = 151_936;
const Q8_0: u32 = 8;
const F32: u32 = 0;

/// Writes it.
pub fn write(path: &Path) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
    let tensors = tensors();
    let keys = keys();
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
        head.extend(kind.to_le_bytes());
        head.extend(u64::to_le_bytes(offset));
        offset = (offset + bytes(shape, *kind)).next_multiple_of(32);
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

fn bytes(shape: &[u64], kind: u32) -> u64 {
    let elements: u64 = shape.iter().product();
    if kind == F32 { elements * 4 } else { elements / 32 * 34 }
}

fn fill(file: &mut impl Write, shape: &[u64], kind: u32, state: &mut u64) -> io::Result<()> {
    let elements: u64 = shape.iter().product();
    if kind == F32 {
        for _ in 0..elements {
            file.write_all(&1_f32.to_le_bytes())?;
        }
    } else {
        for _ in 0..elements / 32 {
            // The scale 0.0003 as a half.
            let mut block = [0; 34];
            block[..2].copy_from_slice(&0x0cea_u16.to_le_bytes());
            for part in block[2..].chunks_mut(8) {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                part.copy_from_slice(&state.to_le_bytes());
            }
            file.write_all(&block)?;
        }
    }
    let written = bytes(shape, kind);
    let padding = written.next_multiple_of(32) - written;
    file.write_all(&vec![0; usize::try_from(padding).unwrap_or(0)])
}

type TensorShape = (String, Vec<u64>, u32);

fn tensors() -> Vec<TensorShape> {
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), vec![WIDTH, WORDS], Q8_0),
        ("output_norm.weight".to_owned(), vec![WIDTH], F32),
    ];
    for layer in 0..LAYERS {
        let parts: [(&str, Vec<u64>, u32); 11] = [
            ("attn_norm", vec![WIDTH], F32),
            ("attn_q", vec![WIDTH, HEADS * HEAD], Q8_0),
            ("attn_k", vec![WIDTH, KEY_HEADS * HEAD], Q8_0),
            ("attn_v", vec![WIDTH, KEY_HEADS * HEAD], Q8_0),
            ("attn_output", vec![HEADS * HEAD, WIDTH], Q8_0),
            ("attn_q_norm", vec![HEAD], F32),
            ("attn_k_norm", vec![HEAD], F32),
            ("ffn_norm", vec![WIDTH], F32),
            ("ffn_gate", vec![WIDTH, INNER], Q8_0),
            ("ffn_up", vec![WIDTH, INNER], Q8_0),
            ("ffn_down", vec![INNER, WIDTH], Q8_0),
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
fn keys() -> Vec<Vec<u8>> {
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
        ("embedding_length", WIDTH),
        ("block_count", LAYERS),
        ("feed_forward_length", INNER),
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
